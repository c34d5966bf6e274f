use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::users::{Revision, Users};
use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use crate::rt::Tasks;
use crate::secret::{Mac, Secret};

/// The most logins that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// Asks the users, for a limited number of callers at once, and remembers for a while who was right.
pub(super) struct Logins {
    users: Arc<dyn Users>,
    tasks: Tasks,
    mac: Mac,
    /// How many wait or are verified.
    places: Arc<Semaphore>,
    /// How many are verified.
    turns: Semaphore,
    remembered: Mutex<Remembered>,
    remember_for: Duration,
}

/// Names of logins, keyed hashes that nobody can find a password from, in the order of their end.
#[derive(Default)]
struct Remembered {
    known: HashSet<Key>,
    ends: VecDeque<(Instant, Key)>,
}

type Key = [u8; Mac::LENGTH];

/// How much [`Logins`] does.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoginLimits {
    pub(super) at_once: usize,
    pub(super) waiting: usize,
    pub(super) remember_for: Duration,
}

impl Logins {
    pub(super) fn new(users: Arc<dyn Users>, tasks: Tasks, limits: LoginLimits) -> Result<Self, Error> {
        let at_once = limits.at_once.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = at_once.saturating_add(limits.waiting).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            users,
            tasks,
            mac: Mac::random()?,
            places: Arc::new(Semaphore::new(places)),
            turns: Semaphore::new(at_once),
            remembered: Mutex::default(),
            remember_for: limits.remember_for,
        })
    }

    pub(super) async fn revision(&self, name: &str) -> Result<Option<Revision>, Error> {
        self.users.revision(name).await
    }

    /// Whether the password is right.
    ///
    /// What was begun ends, whether the caller stays or not: one who leaves would else give the place free while the
    /// work goes on.
    ///
    /// # Errors
    ///
    /// `TooManyRequests` when as many wait as may; what the users fail with.
    pub(super) async fn verify(self: &Arc<Self>, name: &str, password: &Secret) -> Result<bool, Error> {
        let key = self.key(name, password, self.users.revision(name).await?);
        if self.remembers(&key) {
            return Ok(true);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| busy())?;
        let (tell, told) = oneshot::channel();
        let (logins, name, password) = (Arc::clone(self), name.to_owned(), password.clone());
        let started = self.tasks.spawn(async move {
            let _place = place;
            let Ok(_turn) = logins.turns.acquire().await else { return };
            if tell.is_closed() {
                return;
            }
            let right = match logins.remembers(&key) {
                true => Ok(true),
                false => logins.users.verify(&name, &password).await,
            };
            if matches!(right, Ok(true)) {
                logins.remember(key);
            }
            // Nobody need be there any more.
            let _ = tell.send(right);
        });
        if !started {
            return Err(Error::unavailable("this service takes no more logins"));
        }
        told.await
            .map_err(|error| Error::internal("a login was not verified to its end").with_source(error))?
    }

    fn key(&self, name: &str, password: &Secret, revision: Option<Revision>) -> Key {
        let length = (name.len() as u64).to_be_bytes();
        let revision = revision.as_ref().map_or(&[][..], Revision::as_bytes);
        let known = [u8::from(!revision.is_empty())];
        self.mac.of(&[&length, name.as_bytes(), &known, revision, password.expose().as_bytes()])
    }

    fn remembers(&self, key: &Key) -> bool {
        let mut remembered = self.remembered();
        remembered.forget_until(Instant::now());
        remembered.known.contains(key)
    }

    fn remember(&self, key: Key) {
        let Some(end) = Instant::now().checked_add(self.remember_for) else { return };
        let mut remembered = self.remembered();
        if remembered.known.len() >= MAX_REMEMBERED {
            remembered.forget_first();
        }
        if remembered.known.insert(key) {
            remembered.ends.push_back((end, key));
        }
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").field("users", &self.users).finish_non_exhaustive()
    }
}

impl Remembered {
    /// All last for the same time, so the first to come is the first to go.
    fn forget_until(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.ends.pop_front() {
            self.known.remove(&key);
        }
    }
}

fn busy() -> Error {
    let message = "too many logins at once; try again";
    Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, message)
        .with_retry_after(RetryAfter::Delay(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests;
