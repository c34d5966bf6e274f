//! Access tokens that have ended, and refresh tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, StatusCode};
use tower::ServiceExt as _;
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::operation::BoxFuture;
use tower_oci::store::{MemoryRecords, Records};
use tower_oci::testing::PlatformStandIn;
use tower_oci::wave::platform::PlatformAccess;

use super::support::{IN_MEMORY, World, failure, in_memory};

const USER: &str = "GET /user-info";
const RENEWAL: &str = "POST /oauth/access_token";

/// Whose access token has ended, and whose refresh token is good.
fn ended(world: &World) -> PlatformAccess {
    world.platform.expire("access");
    world.platform.refresh_token(1, "refresh+/=");
    world.access("access").refresh_token("refresh+/=")
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_once_and_for_all_processes() {
    let world = World::new().await;
    let access = ended(&world);
    assert_eq!(world.platforms.user(&access).await.unwrap().user_name, "alice");
    assert_eq!(world.asked(), [USER, RENEWAL, USER]);
    // From now on the new one is sent.
    world.advance(60);
    assert!(world.platforms.user(&access).await.is_ok());
    assert_eq!(world.asked(), [USER]);
    // Another process finds out that the request's own token has ended, and goes on with what is kept.
    let other = world.restarted();
    assert!(other.user(&access).await.is_ok());
    assert_eq!(world.asked(), [USER, USER]);
    // It renews what has ended again; the first one finds that in the records.
    world.platform.expire("renewed-access-1");
    world.advance(60);
    assert!(other.user(&access).await.is_ok());
    assert_eq!(world.asked(), [USER, RENEWAL, USER]);
    assert!(world.platforms.user(&access).await.is_ok());
    assert_eq!(world.asked(), [USER, USER]);
    // A third one has two steps to go.
    world.platform.expire("renewed-access-2");
    assert!(world.restarted().user(&access).await.is_ok());
    assert_eq!(world.asked(), [USER, USER, RENEWAL, USER]);
}

#[tokio::test]
async fn many_who_find_out_at_once_make_one_renewal() {
    let world = World::new().await;
    let access = ended(&world);
    for id in 0..8 {
        world.platform.registry(Some(id), "one", Some("quay.io"), "robot", "hunter2");
    }
    let accesses: Vec<_> = (0..8).map(|id| access.clone().workspace(id)).collect();
    let asks = accesses.iter().map(|access| world.find_as(access, "quay.io", "a"));
    for found in futures_util::future::join_all(asks).await {
        assert!(found.is_ok(), "{found:?}");
    }
    assert_eq!(world.asked().iter().filter(|line| *line == RENEWAL).count(), 1);
}

/// Records in which another process is about to write what this one looks for.
#[derive(Debug)]
struct Late {
    records: MemoryRecords,
    looked: AtomicBool,
}

impl Records for Late {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        if key.starts_with("platform/tokens/") && !self.looked.swap(true, Ordering::Relaxed) {
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.records.get(key)
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, end: SystemTime) -> BoxFuture<'a, Result<(), Error>> {
        self.records.put(key, value, end)
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        self.records.remove(key)
    }
}

#[tokio::test]
async fn of_two_processes_at_once_the_second_goes_on_with_what_the_first_got() {
    let world = World::new().await;
    let access = ended(&world);
    let late = Late { records: world.records.clone(), looked: AtomicBool::new(false) };
    let second = world.builder().records(Arc::new(late)).build().unwrap();
    assert!(world.platforms.user(&access).await.is_ok());
    world.asked();
    assert_eq!(second.user(&access).await.unwrap().user_name, "alice");
    assert_eq!(world.asked(), [USER, RENEWAL, USER]);
}

#[tokio::test]
async fn what_cannot_be_renewed_is_a_401_that_says_so() {
    let world = World::new().await;
    let _ = ended(&world);
    let wrong = world.access("access").refresh_token("wrong");
    let refused = format!("{} doesn't accept the access token", world.name());
    let expected = (401, format!("{refused}, nor the refresh token"));
    assert_eq!(failure(world.platforms.user(&wrong).await), expected);
    assert_eq!(world.asked(), [USER, RENEWAL]);
    assert_eq!(failure(world.platforms.user(&world.access("access")).await), (401, refused));
    assert_eq!(world.asked(), [USER]);
    // Somebody's wrong refresh token is nobody else's.
    assert!(world.platforms.user(&ended(&world)).await.is_ok());
}

#[tokio::test]
async fn a_platform_that_refuses_what_it_renewed_ends_it() {
    let recorder = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&recorder);
    let http = tower::service_fn(move |request: http::Request<Body>| {
        seen.lock().unwrap().push(request.uri().path().to_owned());
        let mut response = http::Response::new(Body::empty());
        if request.method() == Method::POST {
            response.headers_mut().insert("set-cookie", "JWT=\"new\"; Secure".parse().unwrap());
        } else {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        async move { Ok::<_, Error>(response) }
    });
    let (platforms, _) = in_memory(http, |platforms| platforms).await;
    let access = PlatformAccess::new("access").endpoint(IN_MEMORY).refresh_token("refresh");
    let message = "the platform `https://platform.test` doesn't accept the access token, renewed or not";
    assert_eq!(failure(platforms.user(&access).await), (401, message.to_owned()));
    let (user, renewal) = ("/user-info", "/oauth/access_token");
    assert_eq!(*recorder.lock().unwrap(), [user, renewal, user, renewal, user]);
}

/// A renewal that nobody waits for is no less a renewal: the refresh token is used up.
#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_does_not_lose_the_new_tokens() {
    let (platform, platforms) = slow(|platform| {
        platform.user(1, "alice", "old");
        platform.expire("old");
        platform.refresh_token(1, "refresh");
    })
    .await;
    let access = PlatformAccess::new("access").endpoint(IN_MEMORY).refresh_token("refresh");
    let left = tokio::time::timeout(Duration::from_secs(1), platforms.user(&access)).await;
    assert!(left.is_err());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(platforms.user(&access).await.unwrap().user_name, "alice");
    assert_eq!(platform.recorder().take(), [USER, RENEWAL, USER]);
}

/// A platform in memory that takes five seconds to renew a token.
async fn slow(
    settings: impl FnOnce(&PlatformStandIn),
) -> (PlatformStandIn, tower_oci::wave::platform::Platforms) {
    let platform = PlatformStandIn::new();
    settings(&platform);
    let inner = Arc::new(platform.clone());
    let http = tower::service_fn(move |request: http::Request<Body>| {
        let inner = Arc::clone(&inner);
        async move {
            if request.method() == Method::POST {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            PlatformStandIn::clone(&inner).oneshot(request).await
        }
    });
    (platform, in_memory(http, |platforms| platforms).await.0)
}
