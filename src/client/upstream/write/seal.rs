//! An upstream's upload location as an identity of ours, which nobody but us can make or read.
//!
//! The specification lets a location carry whatever the upstream likes, a signed query among it: that is a credential,
//! and belongs to the upstream's own origin. So it is encrypted and then authenticated, together with the upstream and
//! the repository that it is for and the time until which it holds. Any instance with the same key goes on with it.
//!
//! Encrypt-then-MAC out of HMAC-SHA-256 alone ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)): the key stream is
//! HMAC in counter mode from a random nonce of 16 bytes, the tag an HMAC under another key over everything. There is no
//! AEAD in every build of the crate (the ones of TLS come and go with its features), and nothing here is large or
//! frequent enough to need a fast one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::error::{Error, ErrorCode};
use crate::operation::UploadId;
use crate::secret::{Mac, Secret};
use crate::spec::name::{Host, Repository};

/// How long a sealed location holds. Each chunk's answer has a new one.
pub(super) const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest key that is taken, in bytes: 16 random bytes are as many in hexadecimal.
const MIN_KEY: usize = 32;

const NONCE: usize = 16;
const EXPIRY: usize = 8;
const TAG: usize = Mac::LENGTH;

/// The longest location that an [`UploadId`] has room for.
pub(super) const MAX_LOCATION: usize = UploadId::MAX_LEN / 4 * 3 - NONCE - EXPIRY - TAG;

/// What seals locations, and opens them again.
pub(in crate::client) struct Seal {
    encryption: Mac,
    authentication: Mac,
}

/// What a location is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose<'a> {
    pub(super) upstream: &'a Host,
    pub(super) repository: &'a Repository,
}

impl Seal {
    /// With the embedder's key.
    ///
    /// # Errors
    ///
    /// When it is too short to be safe.
    pub(in crate::client) fn new(key: &Secret) -> Result<Self, Error> {
        if key.expose().len() < MIN_KEY {
            let message = format!("the key for uploads is shorter than {MIN_KEY} bytes");
            return Err(Error::invalid(ErrorCode::Unsupported, message));
        }
        Ok(Self::of(&Mac::new(key.expose().as_bytes())))
    }

    /// With a key of its own.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub(in crate::client) fn random() -> Result<Self, Error> {
        Ok(Self::of(&Mac::random()?))
    }

    /// Two keys for two uses.
    fn of(key: &Mac) -> Self {
        Self {
            encryption: key.derived("tower-oci upload location, 1: encryption"),
            authentication: key.derived("tower-oci upload location, 1: authentication"),
        }
    }

    /// The identity that stands for `location`, of [`MAX_LOCATION`] bytes at most, until [`LIFE`] after `now`.
    ///
    /// # Errors
    ///
    /// When it is too long, or the system has no randomness.
    pub(super) fn close(
        &self,
        purpose: Purpose<'_>,
        location: &str,
        now: SystemTime,
    ) -> Result<UploadId, Error> {
        if location.len() > MAX_LOCATION {
            let length = location.len();
            return Err(Error::bad_gateway(format!(
                "the location of the upload has {length} bytes, {MAX_LOCATION} may be"
            )));
        }
        let mut nonce = [0; NONCE];
        fill(&mut nonce)?;
        let mut sealed = nonce.to_vec();
        sealed.extend(seconds(now).saturating_add(LIFE.as_secs()).to_be_bytes());
        sealed.extend(location.as_bytes());
        self.cipher(&nonce, sealed.get_mut(NONCE..).unwrap_or_default());
        let tag = self.tag(purpose, &sealed);
        sealed.extend(tag);
        BASE64_URL_SAFE_NO_PAD.encode(sealed).parse()
    }

    /// The location that `id` stands for; none if we never made it, for this purpose, or it has expired by `now`.
    pub(super) fn open(&self, purpose: Purpose<'_>, id: &UploadId, now: SystemTime) -> Option<String> {
        let mut sealed = BASE64_URL_SAFE_NO_PAD.decode(id.as_str()).ok()?;
        let tag = sealed.split_off(sealed.len().checked_sub(TAG)?);
        if !bool::from(self.tag(purpose, &sealed).as_slice().ct_eq(&tag)) {
            return None;
        }
        let (nonce, text) = sealed.split_first_chunk_mut::<NONCE>()?;
        self.cipher(nonce, text);
        let (until, location) = text.split_first_chunk::<EXPIRY>()?;
        if seconds(now) >= u64::from_be_bytes(*until) {
            return None;
        }
        String::from_utf8(location.to_vec()).ok()
    }

    /// Encrypts or decrypts.
    fn cipher(&self, nonce: &[u8; NONCE], text: &mut [u8]) {
        for (number, block) in (0_u32..).zip(text.chunks_mut(TAG)) {
            let stream = self.encryption.of(&[nonce, &number.to_be_bytes()]);
            block.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
        }
    }

    /// The lengths make it certain where each part ends; the nonce has a fixed one.
    fn tag(&self, purpose: Purpose<'_>, sealed: &[u8]) -> [u8; TAG] {
        let (upstream, repository) = (purpose.upstream.as_str(), purpose.repository.as_str());
        let length = |text: &str| (text.len() as u64).to_be_bytes();
        self.authentication.of(&[
            &length(upstream),
            upstream.as_bytes(),
            &length(repository),
            repository.as_bytes(),
            sealed,
        ])
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::internal("the system has no randomness").with_source(error))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
