use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::layout::fill_at;
use super::read::BLOCK;
use crate::error::Error;
use crate::rt::blocking;
use crate::store::blobs::reading::PIECE;
use crate::store::recent::lock;

/// How much is read from the disk itself at once, so that what follows is there when it is wanted.
const AHEAD: usize = 1024 * 1024;

/// Up to so many bytes have memory of their own: a buffer would be held by too few.
const LITTLE: usize = PIECE / 2;

/// How many buffers are kept for those who read next.
const SPARE: usize = 32;

/// Buffers of [`PIECE`] bytes that are used again: new memory would be cleared first, which costs about as much as the
/// read.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// Up to `length` bytes at `offset`, fewer only at the end of the file; at most [`PIECE`].
    ///
    /// What is in the page cache is read on the spot: it costs less than to ask another thread for it. The rest is
    /// waited for elsewhere.
    pub(super) async fn read(
        &self,
        file: &Arc<File>,
        offset: u64,
        length: usize,
    ) -> Result<io::Result<Bytes>, Error> {
        // A reader that never waits must let others run.
        tokio::task::coop::consume_budget().await;
        let length = length.min(PIECE);
        let mut buffer = self.take(length);
        buffer.filled = read_cached(file, buffer.rest(length), offset);
        if buffer.filled == length {
            return Ok(Ok(Bytes::from_owner(buffer)));
        }
        let file = Arc::clone(file);
        let rest = move || {
            read_ahead(&file, offset);
            let start = offset + buffer.filled as u64;
            let rest = buffer.rest(length);
            buffer.filled += fill_at(&file, start, rest)?;
            Ok(Bytes::from_owner(buffer))
        };
        blocking(rest).await
    }

    /// Has `length` bytes at `offset` in the page cache, most likely. What is wrong with them shows where they are sent.
    pub(super) async fn bring_in(&self, file: &Arc<File>, offset: u64, length: usize) -> Result<(), Error> {
        tokio::task::coop::consume_budget().await;
        let end = offset + length as u64;
        // They came in one after the other: where one byte in so many is there, those between are as well.
        let is_absent = |offset: &u64| read_cached(file, &mut [0], *offset) == 0;
        let mut looked_at = (offset..end).step_by(BLOCK).chain([end.saturating_sub(1)]);
        let Some(offset) = looked_at.find(is_absent) else { return Ok(()) };
        let (file, buffers) = (Arc::clone(file), self.clone());
        let read = move || {
            read_ahead(&file, offset);
            let mut buffer = buffers.take(PIECE);
            let mut next = offset;
            while next < end {
                buffer.filled = 0;
                match fill_at(&file, next, buffer.rest(PIECE)) {
                    Ok(read) if read > 0 => next += read as u64,
                    _ => return,
                }
            }
        };
        blocking(read).await
    }

    /// Memory for `length` bytes, at most twice as much.
    fn take(&self, length: usize) -> Buffer {
        let bytes = match length {
            0..=LITTLE => vec![0; length],
            _ => lock(&self.0).pop().unwrap_or_else(|| vec![0; PIECE]),
        };
        Buffer { bytes, filled: 0, home: self.clone() }
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").field("spare", &lock(&self.0).len()).finish()
    }
}

/// Bytes that were read. When nobody needs them any more, others are read into the same memory.
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
    home: Buffers,
}

impl Buffer {
    /// Where the next of `length` bytes go.
    fn rest(&mut self, length: usize) -> &mut [u8] {
        self.bytes.get_mut(self.filled..length).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == PIECE {
            let mut spare = lock(&self.home.0);
            if spare.len() < SPARE {
                spare.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

/// Reads what can be had without waiting for the disk: perhaps nothing.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> usize {
    use rustix::io::{ReadWriteFlags, preadv2};

    let mut parts = [io::IoSliceMut::new(buffer)];
    // Whatever is wrong shows again where it can be told.
    preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

/// Has the system read what begins at `offset`. It may decline.
#[cfg(target_os = "linux")]
fn read_ahead(file: &File, offset: u64) {
    use rustix::fs::{Advice, fadvise};

    let _ = fadvise(file, offset, std::num::NonZeroU64::new(AHEAD as u64), Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn read_ahead(_: &File, _: u64) {}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> usize {
    0
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn memory_is_used_again_and_not_without_end() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..PIECE + 1000).map(|index| (index % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let (file, buffers) = (Arc::new(file), Buffers::default());
        let read = async |offset: u64, length| buffers.read(&file, offset, length).await.unwrap().unwrap();
        let spare = || lock(&buffers.0).len();

        let first = read(0, PIECE).await;
        let (place, part) = (first.as_ptr(), first.slice(5..10));
        assert_eq!(first, content[..PIECE]);
        drop(first);
        assert_eq!((spare(), &part[..]), (0, &content[5..10]), "somebody still has a part of it");
        drop(part);
        assert_eq!(spare(), 1);
        let second = read(1000, PIECE).await;
        assert_eq!((second.as_ptr(), &second[..]), (place, &content[1000..]));

        // Small pieces have memory of their size.
        let (end, small) = (read(2000, PIECE).await, read(7, 100).await);
        assert_eq!((&end[..], &small[..]), (&content[2000..], &content[7..107]));
        assert_eq!(read(PIECE as u64 + 1000, 5).await, "");
        drop((second, end, small));
        assert_eq!(spare(), 2);
        drop(read(3, LITTLE + 1).await);
        assert_eq!(spare(), 2);

        let mut many = Vec::new();
        for _ in 0..SPARE + 2 {
            many.push(read(0, PIECE).await);
        }
        assert_eq!(spare(), 0);
        drop(many);
        assert_eq!(spare(), SPARE);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_just_written_is_there_without_waiting() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let mut buffer = [0; 4000];
        assert_eq!((read_cached(&file, &mut buffer, 0), buffer), (4000, [7; 4000]));
        assert_eq!(read_cached(&file, &mut buffer, 4500), 500);
        assert_eq!(read_cached(&file, &mut buffer, 5000), 0);
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        assert_eq!(read_cached(&pipe, &mut buffer, 0), 0, "an error");
    }
}
