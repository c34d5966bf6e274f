//! A registry of one's own: keeps what is pushed, in a directory or in memory, and serves it again.
//!
//! ```text
//! cargo run --example registry --features htpasswd,redb -- --data /var/lib/registry
//! ```
//!
//! It prints lines to paste. `--help` has the settings, among them users with passwords, TLS, and a run that removes
//! what nobody needs; each but those of that run can come from the environment too.

mod collect;
mod guard;
mod listener;
mod paste;
#[path = "../support/server.rs"]
mod server;
mod settings;
#[path = "../support/stop.rs"]
mod stop;
#[path = "../support/units.rs"]
mod units;

use std::error::Error as StdError;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::get;
use tokio::sync::oneshot;
use tower::ServiceBuilder;
use tower_http::trace::TraceLayer;
use tower_oci::http::OciLayer;
use tower_oci::layer::auth::Auth;
use tower_oci::layer::trace::RedactedUri;
use tower_oci::operation::middleware::from_fn;
use tower_oci::rt::Tasks;

use self::listener::Listener;
use self::settings::Settings;
use self::stop::stop;

type Failure = Box<dyn StdError + Send + Sync>;

/// How long open requests may take after a signal to stop.
const GRACE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let settings = <Settings as clap::Parser>::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(&settings.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = if settings.gc { collect::run(&settings).await } else { serve(settings).await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", reasons(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let tasks = Tasks::new();
    let listener = Listener::bind(&settings).await?;
    let address = listener.address()?;
    let url = settings.url(address);
    let auth = guard::auth(&settings, &url, &tasks).await?;
    let registry = ServiceBuilder::new()
        // Who calls? Everybody, where there are no users.
        .option_layer(auth.as_ref().map(Auth::layer))
        // May they?
        .option_layer(auth.is_some().then(|| guard::rules(&settings)).transpose()?)
        // Below the guards, so that strangers are asked to log in first.
        .option_layer(settings.read_only.then(|| from_fn(guard::refuse_writes)))
        .service(settings.open(&tasks).await?);

    let app = Router::new().route("/healthz", get(|| async { "ok\n" })).layer(OciLayer::new(registry));
    let app = match &auth {
        // Takes what callers show out of their requests, and answers for tokens.
        Some(auth) => app.layer(auth.http_layer()),
        None => app,
    };
    let app =
        app.layer(TraceLayer::new_for_http().make_span_with(|request: &http::Request<AxumBody>| {
            tracing::info_span!("request", method = %request.method(), uri = %RedactedUri::new(request.uri()))
        }));

    say(&paste::welcome(&settings, &url, address));
    let (stopping, stopped) = oneshot::channel();
    let serving = server::serve(listener, app, async move {
        stop().await;
        let _ = stopping.send(());
    });
    tokio::select! {
        () = serving => {}
        () = overdue(stopped) => eprintln!("stopping: requests were still open after {} s", GRACE.as_secs()),
    }
    // What is being removed from the disk gets a moment.
    tasks.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn overdue(stopped: oneshot::Receiver<()>) {
    match stopped.await {
        Ok(()) => tokio::time::sleep(GRACE).await,
        Err(_) => std::future::pending().await,
    }
}

/// Prints a text. Whether anybody reads it is no reason to stop serving.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// An error and what caused it, in one line.
fn reasons(error: &(dyn StdError + 'static)) -> String {
    let causes =
        std::iter::successors(Some(error), |error| StdError::source(*error)).map(ToString::to_string);
    let mut told: Vec<String> = Vec::new();
    for cause in causes {
        // Some say what caused them in their own words.
        if !told.iter().any(|said| said.contains(&cause)) {
            told.push(cause);
        }
    }
    told.join(": ").replace('\n', " ")
}
