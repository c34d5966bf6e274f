use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::layout::{Layout, is_absent, make_directory, names, private_file, remove_file};

/// The place in `partial/` where one opened store writes: `<id>/`, and beside it `<id>.lock`, which is locked as long as
/// the store lives. The system lets go of the lock however the process ends.
///
/// A store that comes in sweeps the places whose lock it gets. It holds the gate for that until its own lock is taken,
/// so that nobody sweeps a place between its making and its locking. One that leaves needs no gate: it removes its
/// place first, then its lock's file.
#[derive(Debug)]
pub(super) struct Instance {
    directory: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

const LOCK_SUFFIX: &str = ".lock";

impl Instance {
    pub(super) fn start(layout: &Layout) -> io::Result<Self> {
        make_directory(&layout.blobs())?;
        make_directory(&layout.partial())?;
        let gate = private_file(&layout.gate(), false)?;
        gate.lock()?;
        sweep(layout)?;
        let id = format!("{:016x}", getrandom::u64().map_err(io::Error::other)?);
        let lock_path = layout.partial().join(format!("{id}{LOCK_SUFFIX}"));
        let lock = private_file(&lock_path, true)?;
        lock.try_lock()?;
        let instance = Self { directory: layout.partial().join(id), lock_path, _lock: lock };
        make_directory(&instance.directory)?;
        Ok(instance)
    }

    /// The path of the `number`th file that this store writes.
    pub(super) fn partial(&self, number: u64) -> PathBuf {
        self.directory.join(number.to_string())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // What can't be removed now is swept by the next to come.
        if remove_directory(&self.directory).is_ok() {
            let _ = remove_file(&self.lock_path);
        }
    }
}

/// Removes what was left by those that no longer live.
fn sweep(layout: &Layout) -> io::Result<()> {
    let partial = layout.partial();
    let all = names(&partial)?;
    for id in all.iter().filter_map(|name| name.strip_suffix(LOCK_SUFFIX)).filter(|id| is_id(id)) {
        let lock_path = partial.join(format!("{id}{LOCK_SUFFIX}"));
        let lock = match File::options().read(true).write(true).open(&lock_path) {
            Ok(lock) => lock,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            Ok(()) => {
                remove_directory(&partial.join(id))?;
                remove_file(&lock_path)?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    // A place is made after its lock and removed before it: without one it is nobody's.
    for id in all.iter().filter(|name| is_id(name)) {
        if !all.contains(&format!("{id}{LOCK_SUFFIX}")) {
            remove_directory(&partial.join(id))?;
        }
    }
    Ok(())
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

fn is_id(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
