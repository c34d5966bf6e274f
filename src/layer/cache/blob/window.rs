use std::collections::VecDeque;

use bytes::Bytes;

/// How many bytes of a transfer are kept in memory. A blob of up to so many is checked there and answered before it
/// touches the store.
pub(super) const MAX_BYTES: u64 = 256 * 1024;

/// How many frames are kept at most: small ones cost more than their bytes.
pub(super) const MAX_FRAMES: usize = 1024;

/// The end of what a transfer has brought, in the very frames in which it came. Whoever keeps up is given those.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Each with its position.
    frames: VecDeque<(u64, Bytes)>,
    bytes: u64,
    end: u64,
}

impl Window {
    pub(super) fn push(&mut self, frame: Bytes) {
        let start = self.end;
        self.end += frame.len() as u64;
        self.bytes += frame.len() as u64;
        self.frames.push_back((start, frame));
    }

    /// Whether it holds more than it may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > MAX_BYTES || self.frames.len() > MAX_FRAMES
    }

    /// Lets go of what is too much. The last frame stays, however large it is.
    pub(super) fn trim(&mut self) {
        while self.is_full() && self.frames.len() > 1 {
            let Some((_, frame)) = self.frames.pop_front() else { return };
            self.bytes -= frame.len() as u64;
        }
    }

    /// Some bytes from `offset` on, at most `max`, of one frame; none when they aren't here.
    pub(super) fn read(&self, offset: u64, max: u64) -> Option<Bytes> {
        let behind = self.frames.partition_point(|(start, _)| *start <= offset);
        let (start, frame) = self.frames.get(behind.checked_sub(1)?)?;
        let skip = usize::try_from(offset - start).ok()?;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let end = skip.saturating_add(max).min(frame.len());
        (skip < end).then(|| frame.slice(skip..end))
    }

    /// The frames, from the first to the last that is here.
    pub(super) fn frames(&self) -> Vec<Bytes> {
        self.frames.iter().map(|(_, frame)| frame.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_in_the_frames_that_came() {
        let mut window = Window::default();
        assert_eq!(window.read(0, 1), None);
        let first = Bytes::from(vec![1; 200 << 10]);
        window.push(first.clone());
        window.push(Bytes::from(vec![2; 56 << 10]));
        assert!(!window.is_full());
        let read = window.read(3, 1 << 20).unwrap();
        assert_eq!((read.len(), read.as_ptr()), ((200 << 10) - 3, first[3..].as_ptr()), "no copy");
        assert_eq!(window.read(200 << 10, 2).unwrap(), [2, 2][..]);
        window.push(Bytes::from_static(&[3]));
        assert!(window.is_full());
        assert_eq!(window.frames().len(), 3);
        window.trim();
        assert_eq!((window.read(0, 1), window.read((200 << 10) - 1, 1)), (None, None));
        assert_eq!(window.read(256 << 10, 9).unwrap(), [3][..]);
        assert_eq!(window.read((256 << 10) + 1, 9), None);
        window.push(Bytes::from(vec![4; 1 << 20]));
        window.trim();
        assert_eq!(window.frames().len(), 1, "one that is too large by itself");
        assert_eq!(window.read((256 << 10) + 1, 2).unwrap(), [4, 4][..]);
        let frame = Bytes::from_static(b"x");
        let mut window = Window::default();
        for _ in 0..MAX_FRAMES {
            window.push(frame.clone());
        }
        assert!(!window.is_full());
        window.push(frame);
        assert!(window.is_full());
    }
}
