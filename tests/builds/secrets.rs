//! Threat: a credential that stays where others look.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use tower_oci::build::{BuildRequest, RegistryAccess};
use tower_oci::error::Error;
use tower_oci::operation::{BoxFuture, Credential};
use tower_oci::spec::name::Host;
use tower_oci::store::{MemoryRecords, Records};
use tracing_subscriber::fmt::MakeWriter;

use super::bed::*;

/// All that was ever written.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Seen {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Records that remember all that was put.
#[derive(Debug)]
struct Watched(MemoryRecords, Seen);

impl Records for Watched {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        self.0.get(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expires: SystemTime,
    ) -> BoxFuture<'a, Result<(), Error>> {
        io::Write::write_all(&mut self.1.clone(), &[key.as_bytes(), b" ", &value, b"\n"].concat()).unwrap();
        self.0.put(key, value, expires)
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        self.0.remove(key)
    }
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn access(host: &Host, canary: &str) -> Vec<RegistryAccess> {
    let credentials = [
        Credential::basic(format!("{canary}-user"), format!("{canary}-password")),
        Credential::IdentityToken(format!("{canary}-identity").into()),
        Credential::RegistryToken(format!("{canary}-registry").into()),
    ];
    let access = credentials.into_iter().enumerate().map(|(number, credential)| {
        let repository = format!("team{number}").parse().unwrap();
        RegistryAccess::new(host.clone(), Some(repository), credential)
    });
    access.collect()
}

#[tokio::test(start_paused = true)]
async fn no_credential_is_in_a_record_a_log_or_a_trace() {
    let (traces, records) = (Seen::default(), Seen::default());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(traces.clone())
        .finish();
    let _traced = tracing::subscriber::set_default(subscriber);
    let engine = Engine::new();
    let watched = Watched(MemoryRecords::with_capacity(100), records.clone());
    let builds = engine
        .builder()
        .records(Arc::new(watched))
        .access(|_: &BuildRequest| async { Ok(access(&host("service.example"), "canary-of-the-service")) })
        .build()
        .unwrap();

    let mut failing = request("a");
    failing.access = access(&host("caller.example"), "canary-of-the-caller");
    let id = builds.submit(failing, absent).await.unwrap().id;
    let run = engine.run().await;
    assert_eq!(run.request.access.len(), 6);
    run.log("working\n");
    run.fail("no");
    let error = builds.outcome(&id).await.unwrap_err();
    let state = builds.state(&id).await.unwrap();
    let told = format!("{error:?} {state:?} {builds:?} {}", log(&builds, &id, true).await);

    let mut interrupted = request("b");
    interrupted.access = access(&host("caller.example"), "canary-of-the-caller");
    builds.submit(interrupted, absent).await.unwrap();
    let _run = engine.run().await;
    builds.shutdown(std::time::Duration::from_secs(1)).await;

    let (traces, records) = (traces.text(), records.text());
    assert!(traces.contains("a build begins") && traces.contains("registry.example/builds:a"), "{traces}");
    assert!(records.contains("build/request/") && records.contains("conda.yml"), "{records}");
    for text in [&told, &traces, &records] {
        assert!(!text.contains("canary"), "{text}");
    }
    // An id opens a log, so it isn't in keys and traces either.
    assert!(!traces.contains(id.as_str()), "{traces}");
    let keys = records.lines().filter_map(|line| line.split(' ').next());
    assert!(keys.into_iter().all(|key| !key.contains("bd-")));
}

#[tokio::test(start_paused = true)]
async fn the_callers_credentials_come_before_the_services_for_the_same_place() {
    let engine = Engine::new();
    let builds = engine
        .builder()
        .access(|request: &BuildRequest| {
            let registry = request.target.registry().clone();
            async move {
                let service = Credential::basic("service", "1");
                Ok(vec![
                    RegistryAccess::new(registry, None, service.clone()),
                    RegistryAccess::new(host("other.example"), None, service),
                ])
            }
        })
        .build()
        .unwrap();
    let mut request = request("a");
    let own = Credential::basic("caller", "2");
    request.access.push(RegistryAccess::new(host("registry.example"), None, own.clone()));
    builds.submit(request, absent).await.unwrap();
    let run = engine.run().await;
    let access: Vec<_> =
        run.request.access.iter().map(|entry| (entry.registry.as_str(), entry.credential.clone())).collect();
    let service = Credential::basic("service", "1");
    assert_eq!(access, [("registry.example", own), ("other.example", service)]);
    run.succeed("image");
}

#[tokio::test(start_paused = true)]
async fn without_the_services_credentials_nothing_is_built() {
    let engine = Engine::new();
    let builds =
        engine.builder().access(|_: &BuildRequest| async { Err(Error::unavailable("no vault")) }).build();
    let builds = builds.unwrap();
    let id = submit(&builds, "a").await.id;
    let error = builds.outcome(&id).await.unwrap_err();
    assert_eq!(error.message(), "the build of registry.example/builds:a failed: no vault");
    assert_eq!(engine.begun(), 0);
}
