//! Secrets that have to do with platforms are planted, and must turn up nowhere but where they belong.
//!
//! It is a program of its own: where others that have no log run beside it, what is logged by a thread may be lost.
#![cfg(all(feature = "platform", feature = "testing"))]
#![expect(clippy::unwrap_used, reason = "a failed test is meant to panic")]

#[expect(dead_code, reason = "it is there for other tests")]
#[path = "platform/support.rs"]
mod support;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tower_oci::error::Error;
use tower_oci::operation::{BoxFuture, Credential};
use tower_oci::rt::Clock;
use tower_oci::store::{MemoryRecords, Records};
use tracing_subscriber::fmt::MakeWriter;

use self::support::{START, World};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Records that show all that is put into them.
#[derive(Debug)]
struct Watched {
    inner: MemoryRecords,
    put: Arc<Mutex<Vec<u8>>>,
}

impl Records for Watched {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        self.inner.get(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expires: SystemTime,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let mut put = self.put.lock().unwrap();
        put.extend_from_slice(key.as_bytes());
        put.extend_from_slice(&value);
        self.inner.put(key, value, expires)
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        self.inner.remove(key)
    }
}

/// All that is secret: what was brought, what it was renewed to, and what is kept.
const SECRETS: [&str; 7] = [
    "canary-access",
    "canary-refresh",
    "renewed-access-1",
    "renewed-refresh-1",
    "canary-password",
    "canary-secret-key",
    "canary-user",
];

#[test]
fn neither_logs_nor_errors_nor_debug_output_nor_records_have_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let put = Arc::default();
    let shown = tracing::subscriber::with_default(subscriber, || runtime.block_on(plant(&put)));
    let log = log.text();
    assert!(log.contains("a platform got a new key"), "{log}");
    assert!(log.contains("a platform renewed a token"), "{log}");
    let put = String::from_utf8_lossy(&put.lock().unwrap()).into_owned();
    assert!(put.contains("platform/tokens/"), "{put}");
    for (what, text) in [("the log", log), ("what is shown", shown), ("a record", put)] {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{what} has {secret}: {text}");
        }
    }
}

/// Does everything that can be done with an access, and collects errors and `Debug` output.
async fn plant(put: &Arc<Mutex<Vec<u8>>>) -> String {
    let clock = Clock::from_fn(|| SystemTime::UNIX_EPOCH + Duration::from_secs(START));
    let records =
        Arc::new(Watched { inner: MemoryRecords::with_capacity(10).clock(clock), put: Arc::clone(put) });
    let kept = Arc::clone(&records);
    let world = World::with(|platforms| {
        platforms.records(kept).ecr_endpoint("http://127.0.0.1:1").sts_endpoint("http://127.0.0.1:1")
    })
    .await;
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    world.platform.registry(None, "one", Some("quay.io"), "canary-user", "canary-password");
    world.platform.registry(None, "two", Some(ecr), "AKIDEXAMPLE", "canary-secret-key");
    world.platform.user(1, "alice", "canary-access");
    world.platform.expire("canary-access");
    world.platform.refresh_token(1, "canary-refresh");
    let access = world.access("canary-access").refresh_token("canary-refresh");

    let mut shown = format!("{:?} {:?} {access:?}", world.platforms, world.platform);
    shown += &format!("{:?}", world.platforms.session(access.clone()));
    shown += &format!("{:?}", world.platforms.user(&access).await.unwrap());
    // Found, but for the name, which `Debug` of a credential shows.
    let found = world.find_as(&access, "quay.io", "a").await.unwrap();
    assert_eq!(found, Credential::basic("canary-user", "canary-password"));
    let away = world.find_as(&access, ecr, "a").await.unwrap_err();
    shown += &format!("{away} {away:?}");
    let wrong = world.access("canary-access").refresh_token("canary-refresh-2");
    let refused = world.platforms.user(&wrong).await.unwrap_err();
    shown += &format!("{refused} {refused:?}");
    world.platform.damage(|packet| format!("{packet}canary-password"));
    world.advance(60);
    let broken = world.find_as(&access, "quay.io", "a").await.unwrap_err();
    shown += &format!("{broken} {broken:?}");
    records.put("sealed", access.seal(b"a container token").unwrap(), SystemTime::now()).await.unwrap();
    shown += &format!("{records:?}");
    shown
}
