use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};

use super::token::Token;
use crate::error::Error;
use crate::http::scope::Scopes;
use crate::operation::BoxFuture;

/// A request for a token, whose outcome several may have.
type Fetch = BoxFuture<'static, Result<Arc<Token>, Arc<Error>>>;

/// The place of one token: the token itself, and the request for the next one.
#[derive(Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// Those who wait own the request: it goes on as long as one of them is left.
    flight: Option<WeakShared<Fetch>>,
    /// What the upstream turned out to want beyond what the operation says.
    wider: Option<Scopes>,
}

impl Slot {
    /// From now on `scopes` are asked for.
    pub(super) fn ask_for(&self, scopes: Scopes) {
        self.state().wider = Some(scopes);
    }

    /// The token that is there, unless it has to be renewed or is the one that was `refused`; else what `fetch` brings,
    /// once for all who ask meanwhile.
    pub(super) async fn token<F, Fut>(
        self: Arc<Self>,
        refused: Option<&Token>,
        fetch: F,
    ) -> Result<Arc<Token>, Error>
    where
        F: FnOnce(Option<Scopes>) -> Fut,
        Fut: Future<Output = Result<Token, Error>> + Send + 'static,
    {
        let flight = match self.start(refused, fetch) {
            Ok(token) => return Ok(token),
            Err(flight) => flight,
        };
        flight.await.map_err(|error| share(&error))
    }

    fn start<F, Fut>(self: &Arc<Self>, refused: Option<&Token>, fetch: F) -> Result<Arc<Token>, Shared<Fetch>>
    where
        F: FnOnce(Option<Scopes>) -> Fut,
        Fut: Future<Output = Result<Token, Error>> + Send + 'static,
    {
        let mut state = self.state();
        let good = |token: &&Arc<Token>| {
            token.is_fresh() && refused.is_none_or(|refused| refused.secret != token.secret)
        };
        if let Some(token) = state.token.as_ref().filter(good) {
            return Ok(Arc::clone(token));
        }
        if let Some(flight) = state.flight.as_ref().and_then(WeakShared::upgrade) {
            return Err(flight);
        }
        let fetching = fetch(state.wider.clone());
        let slot = Arc::clone(self);
        let work: Fetch = Box::pin(async move {
            let fetched = fetching.await.map(Arc::new).map_err(Arc::new);
            let mut state = slot.state();
            state.flight = None;
            if let Ok(token) = &fetched {
                state.token = Some(Arc::clone(token));
            }
            drop(state);
            fetched
        });
        let flight = work.shared();
        state.flight = flight.downgrade();
        Err(flight)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error for one of several who wait.
fn share(error: &Error) -> Error {
    let shared = Error::new(error.kind(), error.code(), error.message()).with_status(error.status());
    match error.retry_after() {
        Some(retry_after) => shared.with_retry_after(retry_after),
        None => shared,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::token::read;
    use super::*;

    struct Service {
        slot: Arc<Slot>,
        asked: Arc<AtomicU32>,
    }

    impl Service {
        fn new() -> Self {
            Self { slot: Arc::default(), asked: Arc::default() }
        }

        /// A service that takes a second.
        fn ask(
            &self,
            refused: Option<&Token>,
            fails: bool,
        ) -> impl Future<Output = Result<Arc<Token>, Error>> {
            let asked = Arc::clone(&self.asked);
            Arc::clone(&self.slot).token(refused, move |_| async move {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                if fails {
                    return Err(Error::denied("no"));
                }
                let answer = format!(r#"{{"token":"t{number}","expires_in":100}}"#);
                read(answer.as_bytes(), Instant::now(), &"auth")
            })
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_serves_all_who_wait_and_tokens_are_renewed_before_they_end() {
        let service = Service::new();
        let all = futures_util::future::join_all((0..50).map(|_| service.ask(None, false))).await;
        assert!(all.iter().all(|token| token.as_ref().unwrap().secret.expose() == "t0"));
        tokio::time::advance(Duration::from_millis(79_900)).await;
        assert_eq!(service.ask(None, false).await.unwrap().secret.expose(), "t0");
        assert_eq!(service.asked(), 1);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(service.ask(None, false).await.unwrap().secret.expose(), "t1");
        assert_eq!(service.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_renewed_once_for_all_who_were_refused() {
        let service = Service::new();
        let old = service.ask(None, false).await.unwrap();
        let all = futures_util::future::join_all((0..5).map(|_| service.ask(Some(&old), false))).await;
        assert!(all.iter().all(|token| token.as_ref().unwrap().secret.expose() == "t1"));
        assert_eq!(service.ask(Some(&old), false).await.unwrap().secret.expose(), "t1");
        assert_eq!(service.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_by_those_who_wait_and_then_forgotten() {
        let service = Service::new();
        let all = futures_util::future::join_all((0..5).map(|_| service.ask(None, true))).await;
        assert!(all.iter().all(|token| token.as_ref().unwrap_err().to_string() == "no"));
        assert_eq!(service.asked(), 1);
        assert_eq!(service.ask(None, false).await.unwrap().secret.expose(), "t1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_goes_on_when_the_first_who_asked_has_left() {
        let service = Service::new();
        let mut first = Box::pin(service.ask(None, false));
        let mut second = Box::pin(service.ask(None, false));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await.unwrap().secret.expose(), "t0");
        assert_eq!(service.asked(), 1);
        // When all have left, nothing of it stays.
        let service = Service::new();
        let mut alone = Box::pin(service.ask(None, false));
        assert!(futures_util::poll!(&mut alone).is_pending());
        drop(alone);
        assert_eq!(service.ask(None, false).await.unwrap().secret.expose(), "t1");
    }
}
