use std::collections::BTreeMap;
use std::fmt;

use subtle::{Choice, ConstantTimeEq as _};

use crate::error::Error;
use crate::operation::BoxFuture;
use crate::secret::Secret;
use crate::spec::digest::Digest;

/// Who may log in, and with what: [`Passwords`] in the program, `Htpasswd` in a file, or a directory of the embedder's.
///
/// [`Auth`](super::Auth) asks it for a limited number of callers at once, outlives callers who leave, and keeps what it
/// confirmed for a short time.
pub trait Users: fmt::Debug + Send + Sync + 'static {
    /// Whether there is a user `name` and `password` is theirs.
    ///
    /// An unknown name has to take as long as a wrong password, or names can be found out. Work that keeps a core busy
    /// belongs on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the source is out of order: nobody can log in then.
    fn verify<'a>(&'a self, name: &'a str, password: &'a Secret) -> BoxFuture<'a, Result<bool, Error>>;

    /// What changes when the user's password does, and isn't there when the user isn't, or when the source can't tell.
    ///
    /// Where a source tells, a changed password ends what the old one opened at once, and refresh tokens can be had.
    ///
    /// # Errors
    ///
    /// When the source is out of order.
    fn revision<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Revision>, Error>> {
        let _ = name;
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The state of one user's password, as a hash of what is kept of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Revision(Digest);

impl Revision {
    /// Of what is kept: a password's hash, a number that counts changes.
    #[must_use]
    pub fn of(kept: &[u8]) -> Self {
        Self(Digest::sha256(kept))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revision(..)")
    }
}

/// A few users whose passwords the program knows.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower_oci::layer::auth::{Passwords, Users};
///
/// let users = Passwords::new().user("ann", "correct horse");
/// assert!(users.verify("ann", &"correct horse".into()).await?);
/// assert!(!users.verify("ann", &"battery staple".into()).await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Passwords {
    users: BTreeMap<String, Digest>,
}

impl Passwords {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more, or one with a new password.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.users.insert(name.into(), hash(&password.into()));
        self
    }
}

impl Users for Passwords {
    fn verify<'a>(&'a self, name: &'a str, password: &'a Secret) -> BoxFuture<'a, Result<bool, Error>> {
        // Hashes have one length, and comparing them tells nothing of how much of a password was right.
        let known = self.users.get(name);
        let expected = known.copied().unwrap_or_else(|| Digest::sha256(b""));
        let same = hash(password).as_bytes().ct_eq(expected.as_bytes());
        let right = same & Choice::from(u8::from(known.is_some()));
        Box::pin(std::future::ready(Ok(right.into())))
    }

    fn revision<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Revision>, Error>> {
        let revision = self.users.get(name).map(|hash| Revision::of(hash.as_bytes()));
        Box::pin(std::future::ready(Ok(revision)))
    }
}

/// The names alone.
impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.users.keys()).finish()
    }
}

fn hash(password: &Secret) -> Digest {
    Digest::sha256(password.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_of_a_known_user_and_nothing_else() {
        let users = Passwords::new().user("ann", "old").user("ann", "a:b ü").user("bob", "");
        for (name, password, right) in [
            ("ann", "a:b ü", true),
            ("ann", "old", false),
            ("ann", "", false),
            ("Ann", "a:b ü", false),
            ("bob", "", true),
            ("carl", "", false),
            ("", "", false),
        ] {
            assert_eq!(users.verify(name, &password.into()).await.unwrap(), right, "{name} {password}");
        }
        assert_eq!(users.revision("carl").await.unwrap(), None);
        assert_ne!(users.revision("ann").await.unwrap(), users.revision("bob").await.unwrap());
        assert_eq!(format!("{users:?}"), r#"{"ann", "bob"}"#);
    }
}
