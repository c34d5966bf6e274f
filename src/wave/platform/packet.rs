//! The format in which a platform hands out what it keeps: read as it is, since it is the platform's.

use aws_lc_rs::cipher::{AES_128, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::rsa::Pkcs1PrivateDecryptingKey;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::secret::Secret;

/// What a packet holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "discriminator", rename_all_fields = "camelCase")]
pub(super) enum Keys {
    /// A user name and a password of a registry.
    #[serde(rename = "container-reg")]
    Registry { user_name: String, password: Secret },
    /// Keys of AWS, and the role that they are to be used in.
    #[serde(rename = "aws")]
    Aws {
        access_key: String,
        secret_key: Secret,
        assume_role_arn: Option<String>,
        external_id: Option<String>,
    },
}

/// What `packet` holds, when it was encrypted for `key`: `1\P\<session key>\<data>`, the session key (AES-128) in RSA
/// with PKCS#1 v1.5 padding, the data in AES, ECB and PKCS#7, both in base64.
///
/// What is wrong with a packet isn't told: whoever knows which step failed can find out what is encrypted.
pub(super) fn open(packet: &str, key: &Pkcs1PrivateDecryptingKey) -> Option<Keys> {
    let mut fields = packet.split('\\');
    let (version, kind) = (fields.next()?, fields.next()?);
    let (session, data) = (fields.next()?, fields.next()?);
    if version != "1" || kind != "P" || fields.next().is_some() {
        return None;
    }
    let session = BASE64_STANDARD.decode(session).ok()?;
    let mut data = BASE64_STANDARD.decode(data).ok()?;
    let session = session_key(&session, key)?;
    let session = UnboundCipherKey::new(&AES_128, &session).ok()?;
    let cipher = PaddedBlockDecryptingKey::ecb_pkcs7(session).ok()?;
    let text = cipher.decrypt(&mut data, DecryptionContext::None).ok()?;
    serde_json::from_slice(text).ok()
}

/// The session key; a random one in the place of one that can't be decrypted, so that the work that follows is the same
/// (the remedy of [RFC 5246, 7.4.7.1](https://www.rfc-editor.org/rfc/rfc5246#section-7.4.7.1)).
fn session_key(encrypted: &[u8], key: &Pkcs1PrivateDecryptingKey) -> Option<[u8; SESSION_KEY]> {
    let mut random = [0; SESSION_KEY];
    getrandom::fill(&mut random).ok()?;
    let mut room = vec![0; key.min_output_size()];
    let session = key.decrypt(encrypted, &mut room).ok();
    Some(session.and_then(|session| <[u8; SESSION_KEY]>::try_from(&*session).ok()).unwrap_or(random))
}

/// The length of an AES-128 key.
const SESSION_KEY: usize = 16;
