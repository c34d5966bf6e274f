use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bcrypt::HashParts;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::users::{Revision, Users};
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::rt::blocking;
use crate::secret::{Mac, Secret};

/// Users of a file as `htpasswd -B` writes it: a name, a colon and a bcrypt hash (`$2y$`, `$2a$` or `$2b$`) on each
/// line. Empty lines and those that begin with `#` are left out; any other kind of hash is an error, and so is a name
/// that stands twice.
///
/// The file is read again when it is asked for and a second has passed. Where it can't be read or understood then,
/// nobody can log in until it can; an edit is best done by renaming a new file to the old name.
///
/// As everywhere with bcrypt, no more than the first 72 bytes of a password count. A hash's cost may be 16 at most. An
/// unknown name is checked against the hash of some user, so that it takes as long as a known one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_oci::layer::auth::{Htpasswd, Users};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("htpasswd");
/// // htpasswd -nbB -C 4 ann 'correct horse'
/// std::fs::write(&path, "ann:$2y$04$DyziG3zggZffZejMiRlICOk/072RBRw8LWoZZqgWr15lJ6/Ko3d8m\n")?;
/// let users = Htpasswd::open(&path).await?;
/// assert!(users.verify("ann", &"correct horse".into()).await?);
/// # Ok(()) }
/// ```
pub struct Htpasswd {
    path: PathBuf,
    mac: Mac,
    /// Held while the file is read, so that one reads for all.
    state: Mutex<State>,
    check: Check,
}

struct State {
    read: Option<Arc<Lines>>,
    at: Instant,
}

/// Whether a password is the one of a hash.
type Check = fn(&Secret, &str) -> bool;

/// Hashes by name.
#[derive(Default)]
struct Lines(BTreeMap<String, Arc<str>>);

impl Htpasswd {
    /// The largest file in bytes: 4 MiB.
    pub const MAX_FILE: u64 = 4 * 1024 * 1024;

    /// How old what was read may be before the file is looked at again.
    const READ_AGAIN: Duration = Duration::from_secs(1);

    /// The highest cost of a hash: some seconds of a core.
    const MAX_COST: u32 = 16;

    /// Of nobody's password, for a file without users.
    const NOBODY: &str = "$2y$10$uG.JH1N8VB2cQWig62UF3e/hLbUvg86ZY14fWxz3aWtYIO4Ee3qZa";

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// When it can't be read, or a line isn't as it should be; the message has the line's number, never its content.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::with_check(path.as_ref(), |password, hash| {
            bcrypt::verify(password.expose(), hash).unwrap_or(false)
        })
        .await
    }

    async fn with_check(path: &Path, check: Check) -> Result<Self, Error> {
        let (path, mac) = (path.to_owned(), Mac::random()?);
        let read = Some(Arc::new(read(path.clone()).await?));
        Ok(Self { path, mac, state: Mutex::new(State { read, at: Instant::now() }), check })
    }

    async fn lines(&self) -> Result<Arc<Lines>, Error> {
        let mut state = self.state.lock().await;
        if state.at.elapsed() >= Self::READ_AGAIN {
            let read = read(self.path.clone()).await;
            if let (Err(error), true) = (&read, state.read.is_some()) {
                tracing::warn!(%error, "nobody can log in until the file of users can be read");
            }
            *state = State { read: read.ok().map(Arc::new), at: Instant::now() };
        }
        // The client has no business with the file's name.
        state.read.clone().ok_or_else(|| Error::unavailable("nobody can log in: the users aren't known"))
    }

    /// A hash for somebody who isn't there: for one name always the same one, and costs are as frequent as they are.
    fn decoy(&self, lines: &Lines, name: &str) -> Arc<str> {
        let [.., a, b, c, d] = self.mac.of(&[name.as_bytes()]);
        let place = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or_default();
        let hash = place.checked_rem(lines.0.len()).and_then(|place| lines.0.values().nth(place));
        hash.cloned().unwrap_or_else(|| Self::NOBODY.into())
    }
}

impl Users for Htpasswd {
    fn verify<'a>(&'a self, name: &'a str, password: &'a Secret) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let lines = self.lines().await?;
            let (hash, is_known) = match lines.0.get(name) {
                Some(hash) => (Arc::clone(hash), true),
                None => (self.decoy(&lines, name), false),
            };
            let (check, password) = (self.check, password.clone());
            let is_right = blocking(move || check(&password, &hash)).await?;
            Ok(is_right & is_known)
        })
    }

    fn revision<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Revision>, Error>> {
        Box::pin(async move {
            let lines = self.lines().await?;
            Ok(lines.0.get(name).map(|hash| Revision::of(hash.as_bytes())))
        })
    }
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd").field("path", &self.path).finish_non_exhaustive()
    }
}

async fn read(path: PathBuf) -> Result<Lines, Error> {
    let named = path.display().to_string();
    let content = blocking(move || {
        let mut content = String::new();
        File::open(path)?.take(Htpasswd::MAX_FILE + 1).read_to_string(&mut content)?;
        Ok::<_, std::io::Error>(content)
    })
    .await?
    .map_err(|error| {
        Error::internal(format!("the file of users {named} can't be read")).with_source(error)
    })?;
    if content.len() as u64 > Htpasswd::MAX_FILE {
        let max = Htpasswd::MAX_FILE;
        return Err(Error::internal(format!("the file of users {named} has more than {max} bytes")));
    }
    Lines::parse(&content).map_err(|error| error.context(format_args!("the file of users {named}")))
}

impl Lines {
    fn parse(content: &str) -> Result<Self, Error> {
        let mut lines = Self::default();
        for (index, line) in content.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| Error::internal(format!("line {}: {what}", index + 1));
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("no colon"))?;
            if name.is_empty() {
                return Err(wrong("no name"));
            }
            let is_bcrypt = ["$2y$", "$2a$", "$2b$"].iter().any(|prefix| hash.starts_with(prefix));
            let parts = Some(hash).filter(|_| is_bcrypt).and_then(|hash| hash.parse::<HashParts>().ok());
            match parts.map(|parts| parts.get_cost()) {
                None => {
                    return Err(wrong("the hash is not one of bcrypt, which is what `htpasswd -B` makes"));
                }
                Some(4..=Htpasswd::MAX_COST) => {}
                Some(cost) => {
                    return Err(wrong(&format!("a cost of {cost}; it may be 4 to {}", Htpasswd::MAX_COST)));
                }
            }
            if lines.0.insert(name.to_owned(), hash.into()).is_some() {
                return Err(wrong("a name that stood in a line before"));
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests;
