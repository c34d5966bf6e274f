use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

use super::injected::LayerKind;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::{Algorithm, Digest, Hasher};

/// How much content may be looked at and inflated, so that a small request can't keep a core busy for long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of a layer as it is served. 64 MiB by default.
    pub max_size: u64,
    /// The most bytes of its tar. 1 GiB by default.
    pub max_inflated: u64,
    /// The most times that the tar may be larger than the layer, which counts once the tar has more than
    /// [`Limits::RATIO_FROM`] bytes. 100 by default.
    pub max_ratio: u64,
}

impl Limits {
    /// From where the ratio counts: 16 MiB. Small archives consist of zeros for the most part.
    pub const RATIO_FROM: u64 = 16 * 1024 * 1024;

    /// The same limits with another size of a layer, in bytes.
    #[must_use]
    pub fn with_max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// The same limits with another size of a tar, in bytes.
    #[must_use]
    pub fn with_max_inflated(mut self, bytes: u64) -> Self {
        self.max_inflated = bytes;
        self
    }

    /// The same limits with another ratio.
    #[must_use]
    pub fn with_max_ratio(mut self, ratio: u64) -> Self {
        self.max_ratio = ratio;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_size: 64 * 1024 * 1024, max_inflated: 1024 * 1024 * 1024, max_ratio: 100 }
    }
}

/// What a layer turned out to be.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: Digest,
}

/// Reads a layer of `total` bytes to its end, inflates it, and takes digests and size.
pub(super) fn measure(
    content: impl BufRead,
    total: u64,
    kind: LayerKind,
    limits: &Limits,
) -> Result<Measured, Error> {
    let Limits { max_size, max_inflated, max_ratio } = *limits;
    if total > max_size {
        return Err(too_large(format!("the layer has {total} bytes, more than {max_size}")));
    }
    let by_ratio = total.saturating_mul(max_ratio).max(Limits::RATIO_FROM);
    // What is read is bounded too: a file may have grown, or be no file.
    let mut packed =
        Hashed { inner: content.take(max_size), hasher: Hasher::new(Algorithm::Sha256), size: 0 };
    let mut tar = Tar { hasher: Hasher::new(Algorithm::Sha256), size: 0, max: max_inflated.min(by_ratio) };
    let read = match kind {
        LayerKind::Tar => tar.drain(&mut packed),
        LayerKind::Gzip => tar.drain(&mut MultiGzDecoder::new(&mut packed)),
        LayerKind::Zstd => zstd_frames(&mut packed, &mut tar),
    };
    match read.and_then(|()| packed.fill_buf().map(<[u8]>::is_empty)) {
        Err(error) => return Err(explain(error, kind)),
        Ok(false) => {
            let kind = kind.as_str();
            return Err(invalid(format!("the layer has something behind the end of its {kind}")));
        }
        Ok(true) => {}
    }
    Ok(Measured { digest: packed.hasher.finish(), size: packed.size, diff_id: tar.hasher.finish() })
}

/// A stream of zstd frames; those to be skipped are.
fn zstd_frames(packed: &mut impl BufRead, tar: &mut Tar) -> io::Result<()> {
    let mut frames = 0_u64;
    while !packed.fill_buf()?.is_empty() {
        match StreamingDecoder::new_with_max_window_size(&mut *packed, MAX_WINDOW) {
            Ok(mut frame) => tar.drain(&mut frame)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = u64::from(length);
                if io::copy(&mut packed.take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        frames += 1;
    }
    if frames == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// A reader whose bytes are hashed as they are consumed.
struct Hashed<R> {
    inner: R,
    hasher: Hasher,
    size: u64,
}

impl<R: BufRead> BufRead for Hashed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed has been filled before, so this reads nothing and doesn't fail.
        let consumed = self.inner.fill_buf().ok().and_then(|buffer| buffer.get(..amount));
        self.hasher.update(consumed.unwrap_or_default());
        self.size = self.size.saturating_add(amount as u64);
        self.inner.consume(amount);
    }
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}

/// The tar that comes out.
struct Tar {
    hasher: Hasher,
    size: u64,
    max: u64,
}

impl Tar {
    fn drain(&mut self, from: &mut impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.size = self.size.saturating_add(read as u64);
            if self.size > self.max {
                return Err(io::Error::other(TooLarge(self.max)));
            }
            self.hasher.update(buffer.get(..read).unwrap_or_default());
        }
    }
}

/// The tar is larger than so many bytes.
#[derive(Debug, thiserror::Error)]
#[error("the layer inflates to more than {0} bytes, which its size allows")]
struct TooLarge(u64);

fn explain(error: io::Error, kind: LayerKind) -> Error {
    let kind = kind.as_str();
    if let Some(over) = error.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()) {
        return too_large(over.to_string());
    }
    if error.raw_os_error().is_some() {
        return Error::internal("a layer can't be read").with_source(error);
    }
    let message = if error.kind() == io::ErrorKind::UnexpectedEof {
        format!("the layer is cut off: its {kind} has no end")
    } else {
        format!("the layer is no valid {kind}")
    };
    invalid(message).with_source(error)
}

fn invalid(message: String) -> Error {
    Error::invalid(ErrorCode::ManifestInvalid, message)
}

fn too_large(message: String) -> Error {
    Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, message)
}

/// The largest window of a zstd frame, which is what inflating it keeps in memory: 32 MiB, four times what any level
/// but the `--ultra` ones takes.
const MAX_WINDOW: u64 = 32 * 1024 * 1024;
