use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::*;
use crate::operation::BoxFuture;

/// Counts what it is asked, and answers when it is let.
#[derive(Debug, Default)]
struct Counting {
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most: AtomicUsize,
    revision: AtomicUsize,
    go: Notify,
    waits: bool,
}

impl Users for Counting {
    fn verify<'a>(&'a self, _: &'a str, password: &'a Secret) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            if self.waits {
                self.go.notified().await;
            }
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            match password.expose() {
                "broken" => Err(Error::unavailable("out of order")),
                password => Ok(password == "right"),
            }
        })
    }

    fn revision<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Revision>, Error>> {
        let revision = self.revision.load(Ordering::SeqCst).to_string();
        Box::pin(std::future::ready(Ok((name == "told").then(|| Revision::of(revision.as_bytes())))))
    }
}

fn logins(users: Counting, at_once: usize, waiting: usize) -> (Arc<Counting>, Arc<Logins>, Tasks) {
    let (users, tasks) = (Arc::new(users), Tasks::new());
    let limits = LoginLimits { at_once, waiting, remember_for: Duration::from_secs(60) };
    let logins = Logins::new(Arc::clone(&users) as Arc<dyn Users>, tasks.clone(), limits).unwrap();
    (users, Arc::new(logins), tasks)
}

#[tokio::test(start_paused = true)]
async fn fifty_requests_cost_one_verification() {
    let (users, logins, _tasks) = logins(Counting::default(), 4, 64);
    for _ in 0..50 {
        assert!(logins.verify("ann", &"right".into()).await.unwrap());
    }
    assert_eq!(users.asked.load(Ordering::SeqCst), 1);
    // Another name, another password, and a border between them elsewhere are others.
    assert!(!logins.verify("ann", &"wrong".into()).await.unwrap());
    assert!(!logins.verify("an", &"nright".into()).await.unwrap());
    assert!(logins.verify("bob", &"right".into()).await.unwrap());
    assert_eq!(users.asked.load(Ordering::SeqCst), 4);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(logins.verify("ann", &"right".into()).await.unwrap());
    assert_eq!(users.asked.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn what_was_wrong_or_failed_is_asked_again() {
    let (users, logins, _tasks) = logins(Counting::default(), 4, 64);
    for _ in 0..3 {
        assert!(!logins.verify("ann", &"wrong".into()).await.unwrap());
        assert_eq!(logins.verify("ann", &"broken".into()).await.unwrap_err().to_string(), "out of order");
    }
    assert_eq!(users.asked.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_changed_password_ends_what_is_remembered() {
    let (users, logins, _tasks) = logins(Counting::default(), 4, 64);
    for _ in 0..2 {
        assert!(logins.verify("told", &"right".into()).await.unwrap());
    }
    assert_eq!(users.asked.load(Ordering::SeqCst), 1);
    users.revision.store(1, Ordering::SeqCst);
    assert!(logins.verify("told", &"right".into()).await.unwrap());
    assert_eq!(users.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_wrong_logins_are_bounded() {
    let (users, logins, tasks) = logins(Counting { waits: true, ..Counting::default() }, 4, 64);
    let attempts = (0..10_000).map(|n| {
        let logins = Arc::clone(&logins);
        async move { logins.verify("ann", &format!("guess {n}").into()).await }
    });
    let release = async {
        // All have come by now: 68 are in, and nothing moves.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((users.asked.load(Ordering::SeqCst), tasks.running()), (4, 68));
        for _ in 0..68 {
            users.go.notify_one();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (answers, ()) = futures_util::future::join(join_all(attempts), release).await;
    let wrong = answers.iter().filter(|answer| matches!(answer, Ok(false))).count();
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!((wrong, refused.len()), (68, 9932));
    for error in refused {
        assert_eq!(error.status(), 429);
        assert_eq!(error.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(1))));
    }
    assert_eq!((users.asked.load(Ordering::SeqCst), users.most.load(Ordering::SeqCst)), (68, 4));
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_gives_no_place_free_before_the_work_ends() {
    let (users, logins, tasks) = logins(Counting { waits: true, ..Counting::default() }, 1, 1);
    let attempt = async || {
        let password = "right".into();
        tokio::time::timeout(Duration::from_secs(1), logins.verify("ann", &password)).await
    };
    assert!(attempt().await.is_err(), "it waits for the users, then leaves");
    assert!(attempt().await.is_err(), "it waits for its turn, then leaves");
    assert_eq!(attempt().await.unwrap().unwrap_err().status(), 429);
    assert_eq!((users.asked.load(Ordering::SeqCst), tasks.running()), (1, 2));
    users.go.notify_one();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // What was right is remembered, and for the one who left in the queue nothing was asked.
    assert_eq!((users.asked.load(Ordering::SeqCst), tasks.running()), (1, 0));
    assert!(attempt().await.unwrap().unwrap());
    assert!(tasks.shutdown(Duration::from_secs(1)).await);
    assert_eq!(logins.verify("bob", &"right".into()).await.unwrap_err().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded() {
    let (users, logins, _tasks) = logins(Counting::default(), 4, 64);
    for n in 0..=MAX_REMEMBERED {
        assert!(logins.verify(&format!("user{n}"), &"right".into()).await.unwrap());
    }
    let sizes = || {
        let remembered = logins.remembered();
        (remembered.known.len(), remembered.ends.len())
    };
    assert_eq!(sizes(), (MAX_REMEMBERED, MAX_REMEMBERED));
    assert!(logins.verify("user1", &"right".into()).await.unwrap());
    assert_eq!(users.asked.load(Ordering::SeqCst), MAX_REMEMBERED + 1);
    assert!(logins.verify("user0", &"right".into()).await.unwrap());
    assert_eq!(users.asked.load(Ordering::SeqCst), MAX_REMEMBERED + 2);
}
