//! A mirror of registries: images are fetched once, kept, and served again, also while their registry is away.
//!
//! ```text
//! cargo run --example mirror --features redb -- --cache /var/cache/mirror
//! ```
//!
//! It prints the lines to paste into the settings of containerd, podman and docker, and a line of figures now and then
//! (at once on `SIGUSR1`). `--help` has the settings; each can come from the environment too.
//!
//! What is kept on disk outlives the process: with the feature `redb` what tags mean, and what was read where, as well, so
//! that a mirror which is started while a registry is away serves what an earlier one has kept. With `disk` alone it
//! serves nothing of that registry until it is back.

mod figures;
mod paste;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/server.rs"]
mod server;
mod settings;
#[path = "../support/stop.rs"]
mod stop;
#[path = "../support/units.rs"]
mod units;
#[path = "../support/upstreams.rs"]
mod upstreams;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::get;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::trace::TraceLayer;
use tower_oci::client::transport::Transport;
use tower_oci::http::OciLayer;
use tower_oci::layer::route::RouteLayer;
use tower_oci::layer::trace::RedactedUri;
use tower_oci::rt::Tasks;

use self::plain::Plain;
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
    let tasks = Tasks::new();
    let cache = settings.cache(&tasks).await?;
    let transport = Transport::builder().tasks(tasks.clone()).build()?;
    let images = ServiceBuilder::new()
        // A name or an `ns` means a named registry, or nothing: this is no open proxy.
        .layer(RouteLayer::new(settings.routes()?))
        // Above the cache, which keeps apart what one credential may see and another may not.
        .layer(settings.credentials()?)
        // Directly over what it saves requests to.
        .layer(cache.clone())
        .service(upstreams::named(&transport, &settings.secure(), &settings.insecure, false).build()?);

    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(OciLayer::new(images))
        .layer(TraceLayer::new_for_http().make_span_with(|request: &http::Request<AxumBody>| {
            tracing::info_span!("request", method = %request.method(), uri = %RedactedUri::new(request.uri()))
        }));

    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", settings.listen))?;
    say(&paste::welcome(&settings, listener.local_addr()?));
    tokio::select! {
        () = server::serve(Plain(listener), app, stop()) => {}
        () = figures::report(&cache) => {}
    }
    // Connections to upstreams are closed; transfers without readers get a moment.
    tasks.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Prints a text. Whether anybody reads it is no reason to stop serving.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
