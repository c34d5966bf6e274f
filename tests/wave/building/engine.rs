//! An engine that does what a test tells it, and really pushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, mpsc};
use tower_oci::build::{Build, BuildRequest, Built, Event};
use tower_oci::error::Error;
use tower_oci::spec::digest::Digest;
use tower_oci::testing::image;

use super::bed::Bed;

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
}

impl Engine {
    pub(crate) fn new() -> Arc<Self> {
        let (sender, runs) = mpsc::unbounded_channel();
        Arc::new(Self { runs: Mutex::new(runs), sender, begun: AtomicUsize::new(0) })
    }

    pub(crate) fn begin(&self, request: BuildRequest) -> Result<Build, Error> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let (events, receiver) = mpsc::unbounded_channel();
        self.sender.send(Run { request, events }).expect("the engine is there");
        Ok(Build::new(futures_util::stream::unfold(receiver, |mut receiver| async move {
            let event = receiver.recv().await?;
            Some((event, receiver))
        })))
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

    /// Pushes an image to the target.
    pub(crate) fn push(self, bed: &Bed, image: &image::Built) -> Digest {
        bed.engine_pushes_to().push(&self.target(), image);
        self.events.send(Ok(Event::Finished(Built::new(*image.digest())))).expect("the build goes on");
        *image.digest()
    }

    pub(crate) fn fail(self, message: &str) {
        self.events.send(Err(Error::internal(message))).expect("the build goes on");
    }

    pub(crate) fn target(&self) -> String {
        self.request.target.to_string()
    }

    /// The names and the texts of the files beside the container file.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let files = self.request.context.files();
        files.map(|(name, text)| (name.to_owned(), String::from_utf8_lossy(text).into_owned())).collect()
    }

    pub(crate) fn platforms(&self) -> Vec<String> {
        self.request.platforms.iter().map(ToString::to_string).collect()
    }
}
