use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::sealed;
use crate::error::Error;
use crate::secret::Secret;

/// What a request brought to act for a user of a platform: `towerAccessToken` and its kin.
///
/// It is checked where it is used: [`Platforms::user`](super::Platforms::user) says whether its platform is trusted and
/// takes its token.
///
/// ```
/// use tower_oci::wave::platform::PlatformAccess;
///
/// # fn main() -> Result<(), tower_oci::error::Error> {
/// let access = PlatformAccess::new("access").refresh_token("refresh").workspace(42);
/// let sealed = access.seal(b"a container token")?;
/// assert_eq!(PlatformAccess::open(&sealed, b"a container token")?, access);
/// assert!(PlatformAccess::open(&sealed, b"another").is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PlatformAccess {
    endpoint: Option<String>,
    access_token: Secret,
    refresh_token: Option<Secret>,
    workspace: Option<u64>,
}

impl PlatformAccess {
    /// By this access token, at the platform that is meant where none is named, in the personal workspace.
    pub fn new(access_token: impl Into<Secret>) -> Self {
        Self { endpoint: None, access_token: access_token.into(), refresh_token: None, workspace: None }
    }

    /// At the platform with this URL, as it was written: `towerEndpoint`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// With this token for when the access token has ended: `towerRefreshToken`.
    #[must_use]
    pub fn refresh_token(mut self, token: impl Into<Secret>) -> Self {
        self.refresh_token = Some(token.into());
        self
    }

    /// In this workspace, in place of the personal one: `towerWorkspaceId`.
    #[must_use]
    pub fn workspace(mut self, id: u64) -> Self {
        self.workspace = Some(id);
        self
    }

    /// The access as bytes that say nothing to whoever doesn't have `key_material`, and that nobody can change: for a
    /// record. The key is derived from `key_material` (HKDF-SHA-256), which has to be a secret of 128 random bits or
    /// more that isn't kept beside the record; a container token is one.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails.
    pub fn seal(&self, key_material: &[u8]) -> Result<Bytes, Error> {
        let plain = Plain {
            endpoint: self.endpoint.as_deref().map(Cow::Borrowed),
            access_token: self.access_token.expose().into(),
            refresh_token: self.refresh_token.as_ref().map(|token| token.expose().into()),
            workspace: self.workspace,
        };
        sealed::seal(key_material, USE, &plain)
    }

    /// What [`PlatformAccess::seal`] sealed with the same `key_material`.
    ///
    /// # Errors
    ///
    /// [`Internal`](crate::error::ErrorKind::Internal) when it is anything else.
    pub fn open(sealed: &[u8], key_material: &[u8]) -> Result<Self, Error> {
        let opened = sealed::open(key_material, USE, sealed).ok_or_else(broken)?;
        let plain: Plain<'_> = serde_json::from_slice(&opened).map_err(|_| broken())?;
        Ok(Self {
            endpoint: plain.endpoint.map(Cow::into_owned),
            access_token: plain.access_token.into_owned().into(),
            refresh_token: plain.refresh_token.map(|token| token.into_owned().into()),
            workspace: plain.workspace,
        })
    }

    pub(super) fn named_endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    pub(super) fn tokens(&self) -> (&Secret, Option<&Secret>) {
        (&self.access_token, self.refresh_token.as_ref())
    }

    pub(super) fn workspace_id(&self) -> Option<u64> {
        self.workspace
    }
}

/// Without its tokens.
impl fmt::Debug for PlatformAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformAccess")
            .field("endpoint", &self.endpoint)
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    endpoint: Option<Cow<'a, str>>,
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    #[serde(borrow)]
    refresh_token: Option<Cow<'a, str>>,
    workspace: Option<u64>,
}

fn broken() -> Error {
    Error::internal("what is kept of a platform's access can't be opened")
}

const USE: &str = "platform access";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_only_and_shows_nothing() {
        let access = PlatformAccess::new("canary-access")
            .refresh_token("canary-refresh")
            .endpoint("https://platform.example/api")
            .workspace(7);
        let sealed = access.seal(b"token").unwrap();
        assert_ne!(access.seal(b"token").unwrap(), sealed, "a nonce of its own");
        assert_eq!(PlatformAccess::open(&sealed, b"token").unwrap(), access);
        let text = String::from_utf8_lossy(&sealed).into_owned() + &format!("{access:?}");
        assert!(!text.contains("canary"), "{text}");
        assert!(text.ends_with(
            r#"PlatformAccess { endpoint: Some("https://platform.example/api"), workspace: Some(7), .. }"#
        ));

        let mut changed = sealed.to_vec();
        for (sealed, key) in [
            (&sealed[..], &b"other"[..]),
            (&sealed[1..], b"token"),
            (&sealed[..sealed.len() - 1], b"token"),
            (&[], b"token"),
            (
                {
                    changed[20] ^= 1;
                    &changed
                },
                b"token",
            ),
        ] {
            let error = PlatformAccess::open(sealed, key).unwrap_err();
            assert_eq!(error.to_string(), "what is kept of a platform's access can't be opened");
        }
    }
}
