//! An engine that does what a test tells it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, mpsc, oneshot};
use tower_oci::body::Body;
use tower_oci::build::builds::{BuildId, BuildStatus, Builds, BuildsBuilder, Submitted};
use tower_oci::build::{Build, BuildContext, BuildRequest, Built, Event};
use tower_oci::error::Error;
use tower_oci::rt::Clock;
use tower_oci::spec::digest::Digest;
use tower_oci::store::MemoryRecords;

/// The test's end of an engine.
pub(crate) struct Engine {
    runs: Mutex<mpsc::UnboundedReceiver<Run>>,
    sender: mpsc::UnboundedSender<Run>,
    begun: AtomicUsize,
}

/// A build that the engine was asked for.
pub(crate) struct Run {
    pub(crate) request: BuildRequest,
    events: mpsc::UnboundedSender<Result<Event, Error>>,
    dropped: oneshot::Receiver<()>,
}

impl Engine {
    pub(crate) fn new() -> Arc<Self> {
        let (sender, runs) = mpsc::unbounded_channel();
        Arc::new(Self { runs: Mutex::new(runs), sender, begun: AtomicUsize::new(0) })
    }

    pub(crate) fn builder(self: &Arc<Self>) -> BuildsBuilder {
        let engine = Arc::clone(self);
        Builds::builder(tower::service_fn(move |request: BuildRequest| {
            let engine = Arc::clone(&engine);
            async move { Ok::<_, Error>(engine.begin(request)) }
        }))
    }

    pub(crate) fn builds(self: &Arc<Self>) -> Builds {
        self.builder().build().unwrap()
    }

    fn begin(&self, request: BuildRequest) -> Build {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let (events, receiver) = mpsc::unbounded_channel();
        let (guard, dropped) = oneshot::channel::<()>();
        self.sender.send(Run { request, events, dropped }).expect("the engine is there");
        Build::new(futures_util::stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
            let event = receiver.recv().await?;
            Some((event, (receiver, guard)))
        }))
    }

    /// The next build that begins.
    pub(crate) async fn run(&self) -> Run {
        self.runs.lock().await.recv().await.expect("the engine is there")
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }
}

impl Run {
    pub(crate) fn log(&self, text: &str) {
        self.events.send(Ok(Event::Log(text.to_owned().into()))).expect("the build goes on");
    }

    pub(crate) fn succeed(self, text: &str) {
        self.events.send(Ok(Event::Finished(Built::new(digest(text))))).expect("the build goes on");
    }

    pub(crate) fn fail(self, message: &str) {
        self.events.send(Err(Error::internal(message))).expect("the build goes on");
    }

    /// The stream ends without a word.
    pub(crate) fn stop(self) {}

    /// Waits until the stream is dropped.
    pub(crate) async fn dropped(self) {
        self.dropped.await.expect_err("nothing is sent");
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.events.is_closed()
    }
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

/// A request for the target with the tag `tag`.
pub(crate) fn request(tag: &str) -> BuildRequest {
    let target = format!("registry.example/builds:{tag}").parse().unwrap();
    BuildRequest::new(
        BuildContext::new(format!("FROM scratch\n# {tag}\n")).file("conda.yml", "name: x\n"),
        target,
    )
}

pub(crate) async fn absent() -> Result<Option<Digest>, Error> {
    Ok(None)
}

pub(crate) async fn submit(builds: &Builds, tag: &str) -> Submitted {
    builds.submit(request(tag), absent).await.unwrap()
}

pub(crate) async fn status(builds: &Builds, id: &BuildId) -> BuildStatus {
    builds.state(id).await.unwrap().expect("the build is known").status
}

pub(crate) async fn text(body: Body) -> String {
    String::from_utf8(body.read(1 << 24).await.unwrap().to_vec()).unwrap()
}

pub(crate) async fn log(builds: &Builds, id: &BuildId, follow: bool) -> String {
    text(builds.log(id, follow).await.unwrap().expect("there is a log")).await
}

/// Runs it beside the test.
pub(crate) fn start<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> {
    #[expect(clippy::disallowed_methods, reason = "a test waits for what it starts")]
    let task = tokio::spawn(future);
    async move { task.await.unwrap() }
}

/// Lets everything happen that needs no time.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A clock that a test moves.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_800_000_000)))
    }

    pub(crate) fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.0);
        Clock::from_fn(move || SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::Relaxed)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

/// A clock that goes with the paused time.
pub(crate) fn paused_clock() -> Clock {
    let start = tokio::time::Instant::now();
    Clock::from_fn(move || SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + start.elapsed())
}

pub(crate) fn records(clock: &Clock) -> Arc<MemoryRecords> {
    Arc::new(MemoryRecords::with_capacity(1000).clock(clock.clone()))
}
