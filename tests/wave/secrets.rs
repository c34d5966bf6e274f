//! A token and a password are planted, and must turn up nowhere but where they belong.

use std::io;
use std::sync::{Arc, Mutex};

use http::Method;
use tower_oci::operation::{GetManifest, ListTags, Registry as _, Request};
use tower_oci::store::MemoryRecords;
use tracing_subscriber::fmt::MakeWriter;

use super::support::{Layer, Service};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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

const PASSWORD: &str = "hunter2hunter2";

#[test]
fn neither_logs_nor_errors_nor_debug_output_have_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (token, shown) = tracing::subscriber::with_default(subscriber, || runtime.block_on(plant()));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("a container token was issued"), "{log}");
    assert!(log.contains("a container token was revoked"), "{log}");
    for (what, text) in [("the log", log), ("what is shown", shown)] {
        for secret in [token.as_str(), PASSWORD] {
            assert!(!text.contains(secret), "{what} has {secret}: {text}");
        }
    }
}

/// Does everything that can be done with a token, and collects errors and `Debug` output.
async fn plant() -> (String, String) {
    let records = Arc::new(MemoryRecords::with_capacity(10));
    let kept = Arc::clone(&records);
    let service = Service::with(|wave| wave.records(kept).authorize(|_, _| true).token_lifetime(YEARS));
    let layer = Layer::new();
    let body = format!(
        r#"{{"containerImage":"busybox","towerAccessToken":"{PASSWORD}","towerRefreshToken":"{PASSWORD}",
        "containerConfig":{{"env":["PASSWORD={PASSWORD}"],"layers":[
        {{"location":"https://layers.test/a?sig={PASSWORD}","gzipDigest":"{}","gzipSize":1,"tarDigest":"{}"}}]}}}}"#,
        layer.digest, layer.diff_id
    );
    let token = service.submit(&body).await.container_token;
    let mut shown = format!("{:?} {:?} {records:?}", service.wave, service.endpoints());
    shown += &format!("{:?}", service.wave.images());
    shown += &format!("{:?}", service.wave.endpoints(service.images.clone()));

    // Errors of pulls, of descriptions and of submissions.
    for name in [format!("wt/{token}/another"), format!("wt/{token}"), format!("wt/{token}x/library/busybox")]
    {
        let request = Request::new(GetManifest::new(name.parse().unwrap(), "latest".parse().unwrap()));
        let error = service.images.send(request).await.unwrap_err();
        shown += &format!("{error} {error:?}");
    }
    for body in [
        format!(r#"{{"containerImage":"missing","towerAccessToken":"{PASSWORD}"}}"#),
        format!(r#"{{"containerImage":"busybox","towerAccessToken":["{PASSWORD}"]}}"#),
    ] {
        shown += &service.post(body).await.body;
    }
    // A pull, and what it carries through the stack.
    let name = format!("wt/{token}/library/busybox").parse().unwrap();
    let request = Request::new(ListTags::new(name));
    shown += &format!("{request:?}");
    shown += &format!("{:?}", service.images.send(request).await.unwrap());
    shown += &format!("{:?}", service.seen());
    let path = format!("/container-token/{token}");
    let description = service.ask(Method::GET, &path, "").await;
    assert!(!description.body.contains(PASSWORD), "{}", description.body);
    service.ask(Method::DELETE, &path, "").await;
    shown += &service.ask(Method::GET, &path, "").await.body;
    (token, shown)
}

const YEARS: std::time::Duration = std::time::Duration::from_secs(1_000_000_000);
