//! Freezing: an image with a configuration is written into a repository as if it had been built so.
//!
//! To the builds it is one more engine. What is to be frozen travels as a file of the context, so that it is part of what
//! is recorded and of what a tag is a digest of.

use std::future::Future;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tower::ServiceExt as _;
use tower_service::Service;

use crate::build::{BoxBuilder, Build, BuildContext, BuildRequest, Built, Event, RegistryAccess};
use crate::error::{Error, ErrorKind};
use crate::layer::rewrite::{Pin, Plan, Rewrite};
use crate::operation::{BoxFuture, BoxRegistry, Credential, GetManifest, Origin, Registry as _, Request};
use crate::rt::blocking;
use crate::spec::digest::Digest;
use crate::spec::name::{Host, ImageName, Reference, Repository, Tag};
use crate::transfer::{Place, Progress, Transfer};
use crate::wave::plan_record::{self, PlanHead};
use crate::wave::settings::HttpLayers;

/// The file of a context that says that something is to be frozen, and what.
const FILE: &str = "freeze";

/// What is frozen.
pub(super) enum Subject<'a> {
    /// An image with the digest that it had when it was asked for.
    Image(&'a ImageName, Digest),
    /// What the engine makes of the context, kept under a tag of its own in the repository of the target.
    Built(&'a Tag),
}

#[derive(Serialize, Deserialize)]
struct Head {
    from: From,
    plan: PlanHead,
}

#[derive(Serialize, Deserialize)]
enum From {
    Image { registry: Host, repository: Repository, digest: Digest },
    Built { tag: Tag },
}

/// A context with something to be frozen.
pub(super) fn context(
    context: BuildContext,
    subject: &Subject<'_>,
    plan: &Plan,
) -> Result<BuildContext, Error> {
    let from = match *subject {
        Subject::Image(image, digest) => {
            From::Image { registry: image.registry().clone(), repository: image.repository().clone(), digest }
        }
        Subject::Built(tag) => From::Built { tag: tag.clone() },
    };
    Ok(context.file(FILE, plan_record::frame(&Head { from, plan: PlanHead::of(plan) }, plan)?))
}

/// The image that is to be frozen, if a context says that one is.
pub(super) fn source(context: &BuildContext) -> Result<Option<ImageName>, Error> {
    let Some((_, order)) = context.files().find(|(name, _)| *name == FILE) else { return Ok(None) };
    let (head, _): (Head, Bytes) = plan_record::unframe(order)?;
    Ok(match head.from {
        From::Image { registry, repository, digest } => {
            Some(ImageName::new(registry, repository, None, Some(digest)))
        }
        From::Built { .. } => None,
    })
}

/// The engine that freezes, and gives all else to the one inside.
#[derive(Clone)]
pub(super) struct Freezing {
    engine: Option<BoxBuilder>,
    images: BoxRegistry,
}

impl Freezing {
    pub(super) fn new(engine: Option<BoxBuilder>, images: BoxRegistry) -> Self {
        Self { engine, images }
    }

    async fn engine(self, request: BuildRequest) -> Result<Build, Error> {
        match self.engine {
            Some(engine) => engine.oneshot(request).await,
            None => Err(Error::unsupported("this service has no engine to build images with")),
        }
    }
}

impl Service<BuildRequest> for Freezing {
    type Response = Build;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Build, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: BuildRequest) -> Self::Future {
        let this = self.clone();
        let ordered = request.context.files().find(|(name, _)| *name == FILE);
        let Some(order) = ordered.map(|(_, content)| content.clone()) else {
            return Box::pin(this.engine(request));
        };
        let (log, lines) = mpsc::channel(LINES);
        let work = Box::pin(this.freeze(request, order, Log(log)));
        let build = Build::new(Working { work: Some(work), lines, ended: None });
        Box::pin(std::future::ready(Ok(build)))
    }
}

impl Freezing {
    async fn freeze(self, request: BuildRequest, order: Bytes, log: Log) -> Result<Built, Error> {
        let (from, plan) = blocking(move || read(&order)).await??;
        let target = request.target.clone();
        let (registry, repository, source) = match from {
            From::Image { registry, repository, digest } => (registry, repository, digest),
            From::Built { tag } => {
                let built = self.clone().build(&request, tag, &log).await?;
                (target.registry().clone(), target.repository().clone(), built)
            }
        };
        let tag = target.tag().ok_or_else(|| Error::internal("a build's target has no tag"))?;
        let of = |registry: &Host, repository: &Repository| credential(&request.access, registry, repository);
        let derived = self.derived(&registry, &repository, source, &plan, of(&registry, &repository)).await?;
        log.line(format!("freezing {registry}/{repository}@{source} as {target}")).await;
        let from = place(&self.images, &registry, &repository, of(&registry, &repository));
        let from = match plan.is_empty() {
            true => from,
            false => from.with(Rewrite::new(Arc::clone(&plan)).pinned(Pin::new(None, source))),
        };
        let to = place(
            &self.images,
            target.registry(),
            target.repository(),
            of(target.registry(), target.repository()),
        );
        let reporter = log.clone();
        let mut transfer = Transfer::new(from, to).progress(move |progress| reporter.progress(progress));
        if registry == *target.registry() {
            transfer = transfer.mount_from(repository);
        }
        let done = transfer.run(&Reference::Digest(derived), std::slice::from_ref(tag)).await?;
        log.line(format!(
            "{target} is {}: {} blobs sent ({} bytes), {} mounted, {} were there, {} manifests written",
            done.digest, done.copied, done.copied_bytes, done.mounted, done.present, done.manifests
        ))
        .await;
        Ok(Built::new(done.digest))
    }

    /// Has the engine make what is frozen afterwards, unless that is there.
    async fn build(self, request: &BuildRequest, tag: Tag, log: &Log) -> Result<Digest, Error> {
        let target = &request.target;
        let (registry, repository) = (target.registry().clone(), target.repository().clone());
        let credential = credential(&request.access, &registry, &repository);
        let base = ImageName::new(registry, repository, Some(tag), None);
        if let Some(digest) = exists(&self.images, &base, credential, http::Extensions::new()).await? {
            log.line(format!("{base} was there")).await;
            return Ok(digest);
        }
        let mut context = BuildContext::new(request.context.container_file());
        for (name, content) in request.context.files().filter(|(name, _)| *name != FILE) {
            context = context.with_file(name, content.clone());
        }
        let request = BuildRequest { context: Arc::new(context), target: base, ..request.clone() };
        let mut build = self.engine(request).await?;
        while let Some(event) = build.next().await {
            match event? {
                Event::Finished(built) => return Ok(built.digest),
                event @ Event::Log(_) => log.send(event).await,
            }
        }
        Err(Error::internal("the engine ended without an image"))
    }

    /// The digest of what `plan` makes of an image.
    async fn derived(
        &self,
        registry: &Host,
        repository: &Repository,
        source: Digest,
        plan: &Arc<Plan>,
        credential: Option<Credential>,
    ) -> Result<Digest, Error> {
        if plan.is_empty() {
            return Ok(source);
        }
        let mut request = Request::new(GetManifest::head(repository.clone(), source.into()));
        let facts = request.extensions_mut();
        facts.insert(Origin::new(registry.clone()));
        facts.insert(Rewrite::new(Arc::clone(plan)).resolving());
        if let Some(credential) = credential {
            facts.insert(credential);
        }
        Ok(self.images.send(request).await?.into_reply().full()?.digest)
    }
}

/// The digest of an image, if it is there.
pub(super) async fn exists(
    images: &BoxRegistry,
    image: &ImageName,
    credential: Option<Credential>,
    facts: http::Extensions,
) -> Result<Option<Digest>, Error> {
    let operation = GetManifest::head(image.repository().clone(), image.reference());
    let mut request = Request::from_parts(operation, facts);
    request.extensions_mut().insert(Origin::new(image.registry().clone()));
    if let Some(credential) = credential {
        request.extensions_mut().insert(credential);
    }
    match images.send(request).await {
        Ok(response) => Ok(Some(response.into_reply().full()?.digest)),
        // Registries deny reading what isn't there yet; what is denied in truth shows when it is written.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What there is for a repository: for that itself, or for its registry.
pub(super) fn credential(
    access: &[RegistryAccess],
    registry: &Host,
    repository: &Repository,
) -> Option<Credential> {
    let fits = |access: &&RegistryAccess| {
        let under = |of: &Repository| repository.is_under(of.as_str());
        access.registry == *registry && access.repository.as_ref().is_none_or(under)
    };
    let length = |access: &&RegistryAccess| access.repository.as_ref().map_or(0, |of| of.as_str().len());
    // The first of equals is the caller's.
    let best = access.iter().filter(fits).rev().max_by_key(length);
    best.map(|access| access.credential.clone())
}

fn place(
    images: &BoxRegistry,
    registry: &Host,
    repository: &Repository,
    credential: Option<Credential>,
) -> Place {
    let place = Place::new(images.clone(), repository.clone()).origin(registry.clone());
    match credential {
        Some(credential) => place.credential(credential),
        None => place,
    }
}

/// Hashes what layers came with the plan, which keeps a core busy.
fn read(order: &Bytes) -> Result<(From, Arc<Plan>), Error> {
    let (Head { from, plan }, mut contents) = plan_record::unframe(order)?;
    // The content itself is needed, wherever it is.
    let plan = plan.restore(&mut contents, HttpLayers::Stream)?;
    Ok((from, Arc::new(plan)))
}

/// What a freeze has to say.
#[derive(Clone)]
struct Log(mpsc::Sender<Event>);

impl Log {
    async fn line(&self, mut line: String) {
        line.push('\n');
        self.send(Event::Log(line.into())).await;
    }

    async fn send(&self, event: Event) {
        // Nobody listens only when nobody wants the result either.
        drop(self.0.send(event).await);
    }

    /// Progress is told where there is room for it.
    fn progress(&self, progress: &Progress) {
        let Progress { blobs, blobs_done, bytes, bytes_done, .. } = *progress;
        if blobs_done > 0 && blobs > 0 {
            let line = format!("{blobs_done} of {blobs} blobs, {bytes_done} of {bytes} bytes\n");
            let _ = self.0.try_send(Event::Log(line.into()));
        }
    }
}

type Work = Pinned<Box<dyn Future<Output = Result<Built, Error>> + Send>>;

/// Work that goes on as its stream is read: dropping one drops the other.
struct Working {
    work: Option<Work>,
    lines: mpsc::Receiver<Event>,
    ended: Option<Result<Built, Error>>,
}

impl Stream for Working {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(work) = &mut this.work
            && let Poll::Ready(ended) = work.as_mut().poll(cx)
        {
            this.work = None;
            this.ended = Some(ended);
        }
        // All senders are gone with the work, so that the end of the lines follows it.
        match this.lines.poll_recv(cx) {
            Poll::Ready(Some(event)) => Poll::Ready(Some(Ok(event))),
            Poll::Ready(None) => Poll::Ready(this.ended.take().map(|ended| ended.map(Event::Finished))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// How many lines may wait to be read.
const LINES: usize = 32;
