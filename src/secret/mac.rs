use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// HMAC-SHA-256 under one key ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)).
///
/// It has no `Debug`: what it holds is as good as the key.
#[derive(Clone)]
pub(crate) struct Mac {
    inner: Sha256,
    outer: Sha256,
}

impl Mac {
    /// The length of a code in bytes.
    pub(crate) const LENGTH: usize = 32;

    const BLOCK: usize = 64;

    pub(crate) fn new(key: &[u8]) -> Self {
        let hashed: [u8; Self::LENGTH];
        let key = if key.len() > Self::BLOCK {
            hashed = Sha256::digest(key).into();
            &hashed
        } else {
            key
        };
        let padded = |pad: u8| {
            let mut block = [pad; Self::BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// Under a key that nobody knows and that ends with the process.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut key = [0; Self::LENGTH];
        getrandom::fill(&mut key)
            .map_err(|error| Error::internal("the system has no random numbers").with_source(error))?;
        Ok(Self::new(&key))
    }

    /// A further key for one use, from which neither this one nor that of another use can be found.
    pub(crate) fn derived(&self, usage: &str) -> Self {
        Self::new(&self.of(&[usage.as_bytes()]))
    }

    /// The code of all parts in a row. Where the parts' borders matter, they have to be among the parts.
    pub(crate) fn of(&self, parts: &[&[u8]]) -> [u8; Self::LENGTH] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_4231() {
        for (key, data, expected) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            let (first, rest) = data.split_at(data.len() / 2);
            let code: String =
                Mac::new(key).of(&[first, rest]).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(code, expected);
        }
    }

    #[test]
    fn keys_of_two_uses_differ() {
        let mac = Mac::new(b"key");
        assert_eq!(mac.derived("a").of(&[]), mac.derived("a").of(&[]));
        assert_ne!(mac.derived("a").of(&[]), mac.derived("b").of(&[]));
        assert_ne!(Mac::random().unwrap().of(&[]), Mac::random().unwrap().of(&[]));
    }
}
