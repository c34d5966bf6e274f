//! Values in records that only the owner of a secret can read.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use bytes::Bytes;
use serde::Serialize;

use crate::error::Error;

/// `value` as JSON, encrypted and authenticated (AES-256-GCM) under a key for one `usage` that is derived from
/// `key_material`: the nonce, and then the sealed text.
pub(super) fn seal(key_material: &[u8], usage: &str, value: &impl Serialize) -> Result<Bytes, Error> {
    let failed = |_: Unspecified| Error::internal("what is to be kept could not be sealed");
    let mut text =
        serde_json::to_vec(value).map_err(|_| Error::internal("what is to be kept could not be written"))?;
    let key = key(key_material, usage).map_err(failed)?;
    let nonce = key.seal_in_place_append_tag(Aad::from(usage), &mut text).map_err(failed)?;
    Ok([nonce.as_ref(), &text[..]].concat().into())
}

/// What [`seal`] sealed; none when anything of it differs.
pub(super) fn open(key_material: &[u8], usage: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = text.to_vec();
    let key = key(key_material, usage).ok()?;
    let length = key.open_in_place(Nonce::from(nonce), Aad::from(usage), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

fn key(key_material: &[u8], usage: &str) -> Result<RandomizedNonceKey, Unspecified> {
    let secret = Salt::new(HKDF_SHA256, SALT).extract(key_material);
    let mut key = [0; KEY_LENGTH];
    secret.expand(&[usage.as_bytes()], &AES_256_GCM)?.fill(&mut key)?;
    RandomizedNonceKey::new(&AES_256_GCM, &key)
}

const SALT: &[u8] = b"tower-oci";

const KEY_LENGTH: usize = 32;
