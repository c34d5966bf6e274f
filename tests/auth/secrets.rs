//! Passwords and tokens are in no log, no error, no `Debug`, and reach nobody further inside.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_oci::body::Body;
use tower_oci::layer::auth::Auth;
use tower_oci::operation::middleware::{Next, from_fn};
use tower_oci::operation::{self as op, Handlers, Identity, Pong};

use crate::support::{App, KEY, READER, WRITER, basic, body, every, passwords, tokens};

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

#[tokio::test]
async fn nothing_shows_a_password_or_a_token() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log works");

    let app = App::new(Some(tokens().refresh_lifetime(Duration::from_secs(3600))), false);
    let answer = app.ask("GET", "/token?offline_token=true", Some(&basic(WRITER))).await.json();
    let [token, refresh] = ["token", "refresh_token"].map(|name| answer[name].as_str().unwrap().to_owned());
    let wrong = "a password of another place";
    let secrets = [WRITER.1, READER.1, wrong, &token, &refresh, KEY];
    let mut said = String::new();
    for shown in [
        basic(WRITER),
        basic((WRITER.0, wrong)),
        format!("Bearer {token}"),
        format!("Bearer {token}x"),
        format!("Bearer {refresh}"),
        format!("Digest {wrong}"),
    ] {
        for (method, path, _) in every("team/app") {
            let answer = app.send(method, &path, Some(&shown), body(method, &path)).await;
            said.push_str(&format!("{answer:?}\n"));
        }
    }
    for form in [
        format!("grant_type=password&username=ann&password={}", wrong.replace(' ', "+")),
        format!("grant_type=refresh_token&refresh_token={refresh}x"),
        format!("grant_type={refresh}"),
    ] {
        said.push_str(&format!("{:?}\n", app.send("POST", "/token", None, Body::from(form)).await));
    }
    let auth = Auth::builder(passwords()).tokens(tokens());
    said.push_str(&format!("{auth:?} {:?} {:?}", app.service, passwords()));
    let auth = auth.build().unwrap();
    said.push_str(&format!("{auth:?} {:?} {:?}", auth.layer(), auth.http_layer()));
    said.push_str(&String::from_utf8_lossy(&log.0.lock().unwrap()));
    assert!(said.contains("the log works"));
    for secret in secrets {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    for credentials in [WRITER, READER, (WRITER.0, wrong)] {
        assert!(!said.contains(basic(credentials).trim_start_matches("Basic ")), "{credentials:?} in {said}");
    }
}

#[tokio::test]
async fn the_header_goes_no_further_and_other_paths_keep_theirs() {
    let auth = Auth::builder(passwords()).tokens(tokens()).build().unwrap();
    let inside = service_fn(|request: Request<Body>| async move {
        let shown = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        Ok::<_, tower_oci::error::Error>(Response::new(Body::from(
            shown.unwrap_or_else(|| "none".to_owned()),
        )))
    });
    let service = auth.http_layer().layer(inside);
    for (path, seen) in [
        ("/v2", "none"),
        ("/v2/", "none"),
        ("/v2/a/tags/list", "none"),
        ("/v20", "Basic x"),
        ("/", "Basic x"),
    ] {
        let request = Request::get(path).header("authorization", "Basic x").body(Body::empty()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.into_body().read(64).await.unwrap(), seen, "{path}");
    }
}

#[tokio::test]
async fn the_identity_goes_on_and_nothing_else() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let auth = Auth::builder(passwords()).anonymous(true).build().unwrap();
    let registry = tower::ServiceBuilder::new()
        .layer(auth.layer())
        .layer(from_fn(move |request: op::Request, next: Next| {
            let facts = request.extensions();
            note.lock().unwrap().push((Identity::of(facts), facts.len()));
            next.run(request)
        }))
        .service(Handlers::new().on(|_: op::Request<op::Ping>| async { Ok(Pong::new()) }));
    let service = auth.http_layer().layer(tower_oci::http::OciService::new(registry));
    let ask = async |shown: String, known: Option<Identity>| {
        let mut request = Request::get("/v2/").header("authorization", shown);
        if let Some(known) = known {
            request = request.extension(known);
        }
        service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!(ask(basic(READER), None).await, 200);
    assert_eq!(ask(basic(("", "")), None).await, 200);
    // What is shown counts more than what was found out before, and is not forgiven when it is wrong.
    assert_eq!(ask(basic(READER), Some(Identity::named("outside"))).await, 200);
    assert_eq!(ask(basic((READER.0, "wrong")), Some(Identity::named("outside"))).await, 401);
    let mut request = Request::get("/v2/").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Identity::named("outside"));
    assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let expected =
        [Identity::named("bob"), Identity::anonymous(), Identity::named("bob"), Identity::named("outside")];
    assert_eq!(seen, expected.map(|identity| (identity, 1)));
}
