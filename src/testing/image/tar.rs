use bytes::Bytes;

use crate::error::{Error, ErrorCode};
use crate::spec::name::shortened;

/// The size in bytes of a tar's header, and what contents are filled up to.
const BLOCK: usize = 512;

/// A file, a directory or a symbolic link in an image layer. It belongs to root and was changed in 1970.
#[derive(Clone, Debug)]
#[must_use]
pub struct File {
    path: String,
    mode: u32,
    kind: u8,
    link: String,
    content: Bytes,
}

impl File {
    /// A file that everybody may read. `path` has no slash in front.
    pub fn new(path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self { path: path.into(), mode: 0o644, kind: b'0', link: String::new(), content }
    }

    /// A file that everybody may execute.
    pub fn executable(path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self { mode: 0o755, ..Self::new(path, content) }
    }

    /// A directory.
    pub fn directory(path: impl Into<String>) -> Self {
        let path = path.into();
        let path = format!("{}/", path.trim_end_matches('/'));
        Self { mode: 0o755, kind: b'5', ..Self::new(path, "") }
    }

    /// A symbolic link to `target`, of at most 100 bytes.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { mode: 0o777, kind: b'2', link: target.into(), ..Self::new(path, "") }
    }

    /// With these permissions.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

/// A tar of these files, in the POSIX format `ustar`.
///
/// # Errors
///
/// When a path or a link's target is too long for the format.
pub fn tar(files: &[File]) -> Result<Bytes, Error> {
    let mut tar = Vec::new();
    for file in files {
        tar.extend_from_slice(&header(file)?);
        tar.extend_from_slice(&file.content);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    // The end is two empty blocks.
    tar.resize(tar.len() + 2 * BLOCK, 0);
    Ok(tar.into())
}

fn header(file: &File) -> Result<Vec<u8>, Error> {
    let too_long = || {
        let text = shortened(&file.path);
        Error::invalid(
            ErrorCode::Unsupported,
            format!("the tar format has no place for `{text}` or its target"),
        )
    };
    let (prefix, name) = split(&file.path).ok_or_else(too_long)?;
    let mut header = Vec::with_capacity(BLOCK);
    text(&mut header, name, 100).ok_or_else(too_long)?;
    number(&mut header, u64::from(file.mode), 8);
    number(&mut header, 0, 8);
    number(&mut header, 0, 8);
    number(&mut header, file.content.len() as u64, 12);
    number(&mut header, 0, 12);
    // The sum is over the header with spaces in its own place.
    let sum_at = header.len();
    header.extend_from_slice(&[b' '; 8]);
    header.push(file.kind);
    text(&mut header, &file.link, 100).ok_or_else(too_long)?;
    header.extend_from_slice(b"ustar\x0000");
    text(&mut header, "root", 32).ok_or_else(too_long)?;
    text(&mut header, "root", 32).ok_or_else(too_long)?;
    number(&mut header, 0, 8);
    number(&mut header, 0, 8);
    text(&mut header, prefix, 155).ok_or_else(too_long)?;
    header.resize(BLOCK, 0);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in header.iter_mut().skip(sum_at).zip(format!("{sum:06o}\0 ").bytes()) {
        *to = from;
    }
    Ok(header)
}

/// The path in the two parts that the format has for it, which meet at a slash.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    path.match_indices('/')
        .map(|(at, _)| path.split_at(at))
        .map(|(prefix, name)| (prefix, name.trim_start_matches('/')))
        .find(|(prefix, name)| prefix.len() <= 155 && !name.is_empty() && name.len() <= 100)
}

fn text(header: &mut Vec<u8>, text: &str, width: usize) -> Option<()> {
    let padding = width.checked_sub(text.len())?;
    header.extend_from_slice(text.as_bytes());
    header.resize(header.len() + padding, 0);
    Some(())
}

fn number(header: &mut Vec<u8>, value: u64, width: usize) {
    let digits = width - 1;
    header.extend_from_slice(format!("{value:0digits$o}\0").as_bytes());
}
