//! Guessing passwords, in numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tower_oci::error::Error;
use tower_oci::layer::auth::{Auth, Users};
use tower_oci::operation::BoxFuture;
use tower_oci::secret::Secret;

use crate::support::{Edge, READER, basic, read, stack, tokens};
use tower::ServiceExt as _;
use tower_oci::body::Body;

/// Takes as long as bcrypt would for a check, and counts.
#[derive(Clone, Debug, Default)]
struct Slow(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl Users for Slow {
    fn verify<'a>(&'a self, name: &'a str, password: &'a Secret) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.0.all.fetch_add(1, Ordering::SeqCst);
            self.0.most.fetch_max(self.0.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(250)).await;
            self.0.now.fetch_sub(1, Ordering::SeqCst);
            Ok((name, password.expose()) == READER)
        })
    }
}

async fn ask(service: Edge, path: &str, credentials: (&str, &str)) -> (u16, Option<String>) {
    let request = http::Request::get(path).header("authorization", basic(credentials));
    let answer = read(service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await;
    let retry = answer.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (answer.status, retry)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_guesses_at_once_keep_four_cores_busy_for_a_while_and_no_more() {
    for path in ["/v2/", "/token"] {
        let users = Slow::default();
        let service = stack(&Auth::builder(users.clone()).tokens(tokens()).build().unwrap());
        // Who logged in before isn't kept waiting.
        assert_eq!(ask(service.clone(), path, READER).await, (200, None));
        let start = tokio::time::Instant::now();
        let guesses = (0..10_000).map(|n| {
            let service = service.clone();
            async move { ask(service, path, (READER.0, &format!("guess {n}"))).await }
        });
        let known = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let asked = tokio::time::Instant::now();
            assert_eq!(ask(service.clone(), path, READER).await, (200, None));
            assert_eq!(asked.elapsed(), Duration::ZERO);
        };
        let (answers, ()) = futures_util::future::join(join_all(guesses), known).await;
        let mut counted = BTreeMap::<_, usize>::new();
        for answer in answers {
            *counted.entry(answer).or_default() += 1;
        }
        let expected = [((401, None), 68), ((429, Some("1".to_owned())), 9932)];
        assert_eq!(counted, BTreeMap::from(expected), "{path}");
        assert_eq!((users.0.all.load(Ordering::SeqCst), users.0.most.load(Ordering::SeqCst)), (69, 4));
        assert_eq!(start.elapsed(), Duration::from_millis(17 * 250));
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_are_the_embedders() {
    let users = Slow::default();
    let auth = Auth::builder(users.clone()).max_logins(1, 0).remember_logins(Duration::ZERO).build().unwrap();
    let service = stack(&auth);
    for _ in 0..3 {
        let both = join_all((0..2).map(|_| ask(service.clone(), "/v2/", READER))).await;
        assert_eq!(both.iter().filter(|(status, _)| *status == 200).count(), 1);
        assert_eq!(both.iter().filter(|(status, _)| *status == 429).count(), 1);
    }
    assert_eq!(users.0.all.load(Ordering::SeqCst), 3);
}
