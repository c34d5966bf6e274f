//! The whole service: the container-token API and the images behind it, on one address.
//!
//! ```text
//! cargo run --example wave
//! ```
//!
//! It prints lines to paste. `--help` has the settings; each can come from the environment too. With more features it can
//! do more: `build` makes images of recipes and freezes them, `redb` keeps what there is in a directory, `platform` takes
//! credentials from a Seqera Platform.
//!
//! ```text
//! cargo run --example wave --features build,redb -- --data /var/lib/wave
//! ```

mod demo;
mod keep;
#[cfg(feature = "build")]
mod making;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/server.rs"]
mod server;
mod settings;
#[path = "../support/stop.rs"]
mod stop;
#[path = "../support/upstreams.rs"]
mod upstreams;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::get;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::trace::TraceLayer;
use tower_oci::client::transport::{Guard, Transport};
use tower_oci::error::Error;
use tower_oci::http::OciLayer;
use tower_oci::layer::rewrite::RewriteLayer;
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::layer::trace::RedactedUri;
use tower_oci::operation::middleware::{FromFnLayer, Next, from_fn};
use tower_oci::operation::{Access, BoxRegistry, Registry as _, Request, Response, UpstreamId};
use tower_oci::rt::Tasks;
use tower_oci::spec::name::Host;
use tower_oci::wave::Wave;

use self::keep::Kept;
#[cfg(feature = "build")]
use self::making::BuildRegistry;
use self::plain::Plain;
use self::settings::Settings;
use self::stop::stop;

/// How long what still runs may take when the service ends.
const GRACE: Duration = Duration::from_secs(5);

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

    let (tasks, serving) = (Tasks::new(), Tasks::new());
    let kept = Kept::open(settings.data(), &tasks).await?;
    let transport = Transport::builder().tasks(tasks.clone()).build()?;
    #[cfg(feature = "build")]
    let builds = BuildRegistry::bind(&settings, address, &kept).await?;
    #[cfg(feature = "build")]
    let local = local(vec![(demo::host()?, demo::registry()?.boxed_registry()), builds.leaf()]);
    #[cfg(not(feature = "build"))]
    let local = local(vec![(demo::host()?, demo::registry()?.boxed_registry())]);
    let images = ServiceBuilder::new()
        // Names that carry no token mean a named upstream, or nothing: this is no open proxy.
        .layer(RouteLayer::new(routes(&settings)?))
        // Plans are carried out on what the layers below deliver, which is verified.
        // Injected layers with an address are fetched from public addresses only.
        .layer(RewriteLayer::by_extension().http(transport.connect(Guard::public_only())))
        // Some registries live in this process.
        .layer(local)
        .service(settings.upstreams(&transport)?)
        .boxed_registry();

    let wave = Wave::builder(&server_url)
        .version(env!("CARGO_PKG_VERSION"), option_env!("GIT_COMMIT"))
        .token_lifetime(Duration::from_secs(u64::from(settings.token_hours) * 3600))
        .records(Arc::clone(&kept.records));
    #[cfg(feature = "platform")]
    let wave = match settings.trusted_platforms(&transport, Arc::clone(&kept.records))? {
        Some(platforms) => wave.trusted_platforms(platforms),
        None => wave,
    };
    #[cfg(feature = "build")]
    let wave = wave.building(making::building(&settings, images.clone(), &kept, &builds, address, &tasks)?);
    let wave = wave.build()?;
    #[cfg(feature = "build")]
    builds.serve(&serving)?;

    let images = ServiceBuilder::new()
        // Clients pull; what is written, the service writes by itself.
        .layer(from_fn(refuse_writes))
        // A token's name becomes a registry, a repository and a plan.
        .layer(wave.images())
        .service(images);
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(wave.endpoints(images.clone()))
        .layer(OciLayer::new(images))
        .layer(TraceLayer::new_for_http().make_span_with(|request: &http::Request<AxumBody>| {
            tracing::info_span!("request", method = %request.method(), uri = %RedactedUri::new(request.uri()))
        }));

    println!("{}", welcome(&server_url, address, &demo::request()?));
    server::serve(Plain(listener), app, stop()).await;
    // Builds that run get a moment; those that don't end by then begin again when somebody asks for them.
    #[cfg(feature = "build")]
    if let Some(builds) = wave.builds() {
        builds.shutdown(GRACE).await;
    }
    serving.abort();
    // Connections to upstreams are closed; what is still being read gets a moment.
    tasks.shutdown(GRACE).await;
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

/// Requests for registries of this process are answered by them, all others go on.
fn local(registries: Vec<(Host, BoxRegistry)>) -> FromFnLayer {
    from_fn(move |request: Request, next: Next| {
        let host = request.extensions().get::<UpstreamId>().map(UpstreamId::host);
        let registry = registries.iter().find(|(name, _)| Some(name) == host);
        let registry = registry.map(|(_, registry)| registry.clone());
        async move {
            match registry {
                // Behind its guards it would say yes to every password.
                Some(_) if request.operation().access() == Access::Ping => {
                    let error =
                        Error::unsupported("it is part of this service, which checks no logins of its own");
                    Err(error.with_status(http::StatusCode::NOT_IMPLEMENTED))
                }
                Some(registry) => registry.oneshot(request).await,
                None => next.run(request).await,
            }
        }
    })
}

async fn refuse_writes(request: Request, next: Next) -> Result<Response, Error> {
    match request.operation().access() {
        Access::Ping | Access::Pull | Access::Catalog => next.run(request).await,
        _ => Err(Error::denied("this service takes no pushes")),
    }
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
