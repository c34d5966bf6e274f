//! Planted secrets are found nowhere.

use std::io;
use std::sync::{Arc, Mutex};

use http::{HeaderName, HeaderValue};
use tower_oci::client::Upstreams;
use tower_oci::operation::Credential;

use crate::web::*;

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

#[tokio::test(start_paused = true)]
async fn neither_logs_nor_errors_nor_debug_output_have_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let web = Web::new(|call| match (call.line.as_str(), call.nth) {
        (line, 0) if line.contains("/token") => Answer::status(503),
        (line, _) if line.contains("/token") => Answer::token("planted-token", 300),
        ("GET https://cdn.example/x?X-Sig=planted-signature", 0) => Answer::content(BLOB).body(cut(BLOB, 10)),
        ("GET https://cdn.example/x?X-Sig=planted-signature", _) => Answer::status(500),
        _ if call.authorization().is_none() => {
            Answer::challenge(r#"Bearer realm="https://registry.example/token""#)
        }
        (line, _) if line.contains("/blobs/") => {
            Answer::redirect("https://cdn.example/x?X-Sig=planted-signature")
        }
        _ => Answer::status(403),
    });
    let builder = web
        .upstream()
        .credential(Credential::basic("user", "planted-password"))
        .secret_header(HeaderName::from_static("x-api-key"), HeaderValue::from_static("planted-key"));
    let mut shown = format!("{builder:?}");
    let upstream = builder.clone().build().unwrap();
    shown += &format!("{:?}", pull(&upstream, "v1").await.unwrap_err());
    let (_, end) = drained(&upstream).await;
    shown += &format!("{:?} {upstream:?}", end.unwrap_err());
    shown += &format!("{:?}", Upstreams::builder().upstream(builder).build().unwrap());
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for event in ["trying again", "resuming a blob"] {
        assert!(log.contains(event), "{log}");
    }
    for secret in ["planted", "dXNlcj"] {
        assert!(!log.contains(secret) && !shown.contains(secret), "{secret}: {log}\n{shown}");
    }
}
