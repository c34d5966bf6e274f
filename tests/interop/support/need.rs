//! Programs that a machine may lack, and the crate's own example, which a narrow build leaves out.

use std::io::Write as _;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "examples/";
/// Every test that mounts file systems or runs containers asks for one of these.
const AS_ROOT: [&str; 3] = ["containerd", "runc", "umoci"];

/// Ends the test, as a visible skip, where one of the programs isn't there.
macro_rules! need {
    ($($program:literal),+ $(,)?) => {
        $( if $crate::support::need::need($program).is_none() { return; } )+
    };
}

/// Where `program` is; `None` after having said that the test is skipped.
///
/// # Panics
///
/// Where `TOWER_OCI_REQUIRE_CLIENTS=1` asks for every client and this one can't be used.
pub(crate) fn need(program: &str) -> Option<PathBuf> {
    let found = find(program);
    let reason = match &found {
        None if program.starts_with(EXAMPLES) => "is not built",
        None => "is not installed",
        Some(_) if AS_ROOT.contains(&program) && !is_root() => "needs root",
        Some(_) => return found,
    };
    let line = format!("skipped: {program} {reason}");
    assert!(setting("TOWER_OCI_REQUIRE_CLIENTS").as_deref() != Some("1"), "{line}, and is required here");
    let thread = std::thread::current();
    // Past the capture of `println!`, which would hide the line as long as the test passes.
    let _ = writeln!(std::io::stderr(), "{line} ({})", thread.name().unwrap_or_default());
    None
}

/// The path of a program that [`need`] has seen.
pub(crate) fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not there; ask need!(\"{name}\") first"))
}

/// The distribution's own directories come first: other versions may lie about on the path. Cargo puts
/// the examples beside the directory of this test.
fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with(EXAMPLES) {
        let this = std::env::current_exe().ok()?;
        return Some(this.parent()?.parent()?.join(program)).filter(|file| is_program(file));
    }
    let path = setting("PATH").unwrap_or_default();
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(program))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|meta| meta.uid() == 0)
}

#[expect(clippy::disallowed_methods, reason = "the one place of this suite that reads the environment")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
