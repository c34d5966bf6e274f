//! The whole service: the container-token API and the images behind it, on one address.
//!
//! ```text
//! cargo run --example wave
//! ```
//!
//! It prints lines to paste. `--help` has the settings; each can come from the environment too.

mod demo;
mod settings;
#[path = "../support/stop.rs"]
mod stop;
#[path = "../support/upstreams.rs"]
mod upstreams;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::get;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::trace::TraceLayer;
use tower_oci::client::transport::{Guard, Transport};
use tower_oci::http::OciLayer;
use tower_oci::layer::rewrite::RewriteLayer;
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::layer::trace::RedactedUri;
use tower_oci::operation::middleware::{FromFnLayer, Next, from_fn};
use tower_oci::operation::{Request, UpstreamId};
use tower_oci::rt::Tasks;
use tower_oci::wave::Wave;

use self::settings::Settings;
use self::stop::stop;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = <Settings as clap::Parser>::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(&settings.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match serve(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", settings.listen))?;
    let address = listener.local_addr()?;
    let server_url = settings.server_url.clone().unwrap_or_else(|| format!("http://{address}"));

    let wave = Wave::builder(&server_url)
        .version(env!("CARGO_PKG_VERSION"), option_env!("GIT_COMMIT"))
        .token_lifetime(Duration::from_secs(u64::from(settings.token_hours) * 3600))
        .build()?;
    let tasks = Tasks::new();
    let transport = Transport::builder().tasks(tasks.clone()).build()?;
    let images = ServiceBuilder::new()
        // A token's name becomes a registry, a repository and a plan.
        .layer(wave.images())
        // Names that carry no token mean a named upstream, or nothing: this is no open proxy.
        .layer(RouteLayer::new(routes(&settings)?))
        // Plans are carried out on what the layers below deliver, which is verified.
        // Injected layers with an address are fetched from public addresses only.
        .layer(RewriteLayer::by_extension().http(transport.connect(Guard::public_only())))
        // The demo image lives in this process.
        .layer(demo_leaf()?)
        .service(settings.upstreams(&transport)?);

    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(wave.endpoints(images.clone()))
        .layer(OciLayer::new(images))
        .layer(TraceLayer::new_for_http().make_span_with(|request: &http::Request<AxumBody>| {
            tracing::info_span!("request", method = %request.method(), uri = %RedactedUri::new(request.uri()))
        }));

    println!("{}", welcome(&server_url, address, &demo::request()?));
    axum::serve(listener, app).with_graceful_shutdown(stop()).await?;
    // Connections to upstreams are closed; what is still being read gets a moment.
    tasks.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Which registries names without a token may mean.
fn routes(settings: &Settings) -> Result<Routes, Failure> {
    let mut routes = Routes::new().host(demo::host()?);
    for host in settings.named_upstreams() {
        routes = routes.host(host.clone());
    }
    Ok(routes)
}

/// Requests for the demo registry are answered in this process, all others go on.
fn demo_leaf() -> Result<FromFnLayer, Failure> {
    let (registry, id) = (demo::registry()?, UpstreamId::new(demo::host()?));
    Ok(from_fn(move |request: Request, next: Next| {
        let local = request.extensions().get::<UpstreamId>() == Some(&id);
        let registry = registry.clone();
        async move { if local { registry.oneshot(request).await } else { next.run(request).await } }
    }))
}

fn welcome(server_url: &str, address: SocketAddr, request: &str) -> String {
    format!(
        "tower-oci {version}, listening on http://{address}

Ask for the demo image, with a file and a variable put into it:

  curl -s {server_url}/container-token -d '{request}'

Run what the answer names (as root, or rootless where that is set up):

  image=$(curl -s {server_url}/container-token -d '{request}' | sed 's/.*\"targetImage\":\"\\([^\"]*\\)\".*/\\1/')
  podman run --rm --tls-verify=false $image

Any other public image works the same way: \"containerImage\":\"busybox\".
Stop with ^C.
",
        version = env!("CARGO_PKG_VERSION"),
    )
}
