//! A registry of the embedder's own behind logins, in memory: here, in the test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::ServiceBuilder;
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::layer::auth::{Auth, Passwords, Tokens};
use tower_oci::layer::authorize::{AuthorizeLayer, Rules, Who};
use tower_oci::operation::Access;

/// May push to all repositories, and delete from them.
pub(crate) const WRITER: (&str, &str) = ("ann", "correct horse: battery/staple");
/// May pull from `test`.
pub(crate) const READER: (&str, &str) = ("bob", "trombone");
/// Is known, and may do nothing there.
pub(crate) const STRANGER: (&str, &str) = ("carl", "hunter22");

/// How clients are asked who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Basic,
    /// With refresh tokens.
    Bearer,
}

/// The registry; it ends when it is dropped. Everybody may pull from `public`.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl Guarded {
    pub(crate) fn start(scheme: Scheme) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::default();
        let app = app(scheme, address, &log);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, log, _runtime: runtime }
    }

    /// What was asked and answered since the last time: method, path, scheme of the caller's, status.
    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }
}

fn app(scheme: Scheme, own: SocketAddr, log: &Arc<Mutex<Vec<String>>>) -> axum::Router {
    let users = [WRITER, READER, STRANGER];
    let users =
        users.into_iter().fold(Passwords::new(), |users, (name, password)| users.user(name, password));
    let mut auth = Auth::builder(users).realm("the back room").anonymous(true);
    if scheme == Scheme::Bearer {
        let refresh = std::time::Duration::from_secs(3600);
        auth = auth.tokens(Tokens::new(format!("http://{own}/token")).refresh_lifetime(refresh));
    }
    let auth = auth.build().unwrap();
    let pattern = |text: &str| text.parse().unwrap();
    let rules = Rules::new()
        .allow(Who::Everybody, Access::Pull, pattern("public/*"))
        .allow(WRITER.0, Access::Push, pattern("*"))
        .allow(WRITER.0, Access::Delete, pattern("*"))
        .allow(READER.0, Access::Pull, pattern("test/*"));
    let registry = ServiceBuilder::new()
        .layer(auth.layer())
        .layer(AuthorizeLayer::new(rules))
        .service(Memory::builder().deletes(true).build());
    let log = Arc::clone(log);
    axum::Router::new().fallback_service(OciService::new(registry)).layer(auth.http_layer()).layer(
        axum::middleware::from_fn(move |request: axum::extract::Request, next: axum::middleware::Next| {
            let log = Arc::clone(&log);
            async move {
                let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
                let shown = shown.and_then(|value| value.split(' ').next()).unwrap_or("-");
                let line = format!("{} {} {shown}", request.method(), request.uri().path());
                let response = next.run(request).await;
                let line = format!("{line} {}", response.status().as_u16());
                log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                response
            }
        }),
    )
}
