//! `POST /container-token`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, Response, StatusCode};

use super::answer;
use super::submitted::Submitted;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::layer::rewrite::{DerivedFrom, Plan, Rewrite};
use crate::operation::{BoxRegistry, GetManifest, Origin, Registry as _, Request};
use crate::rt::blocking;
use crate::spec::digest::Digest;
use crate::spec::name::{ImageName, Repository};
use crate::wave::Wave;
use crate::wave::caller::Caller;
use crate::wave::grant::{self, Content, Grant};
use crate::wave::images::PREFIX;
use crate::wave::request::invalid;
#[cfg(not(feature = "build"))]
use crate::wave::request::not_here;
use crate::wave::submission::{Source, Submission};
use crate::wave::token::Token;

/// Which of the API's forms a request came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `/container-token`.
    Token,
    /// `/v1alpha2/container`, which also names the request in its answer.
    Container,
}

/// Answers a submission: reads it, finds the image, or has it made, and issues a token.
pub(super) async fn submit(
    wave: &Wave,
    images: &BoxRegistry,
    parts: Parts,
    body: Body,
    form: Form,
) -> Result<Response<Body>, Error> {
    let settings = wave.settings();
    if let Some(limiter) = &settings.submissions {
        limiter.check(&parts.extensions)?;
    }
    let submission = read(wave, body).await?;
    let caller = Caller::of(wave, &parts.extensions, &submission).await?;
    let plan = Arc::new(grant::plan(&submission, settings)?);
    let work = Work { wave, images, caller, plan, facts: parts.extensions };
    let mut submitted = match &submission.source {
        Source::Image(image) if !submission.freeze => {
            let image = image.clone();
            let (source, derived) = work.resolve(&submission, &image).await?;
            work.grant(submission, image, Content::Image { source, derived }).await?
        }
        #[cfg(feature = "build")]
        Source::Image(_) | Source::Recipe(_) => work.make(submission).await?,
        #[cfg(not(feature = "build"))]
        Source::Image(_) => return Err(not_here(NO_FREEZING)),
        #[cfg(not(feature = "build"))]
        Source::Recipe(_) => return Err(not_here(NO_BUILDING)),
    };
    if form == Form::Container {
        submitted.request_id = Some(wave.note(&submitted).await?);
    }
    Ok(answer::json(&submitted))
}

/// What the answer to a submission is made of.
pub(super) struct Work<'a> {
    pub(super) wave: &'a Wave,
    pub(super) images: &'a BoxRegistry,
    pub(super) caller: Caller,
    pub(super) plan: Arc<Plan>,
    /// Of the HTTP request.
    pub(super) facts: Extensions,
}

impl Work<'_> {
    /// Issues a token for an image.
    pub(super) async fn grant(
        &self,
        submission: Submission,
        image: ImageName,
        content: Content,
    ) -> Result<Submitted, Error> {
        check_length(image.repository())?;
        let settings = self.wave.settings();
        let expires = whole_seconds(settings.clock.now().checked_add(settings.lifetime))?;
        let token = Token::generate(expires)?;
        let grant = Grant {
            image,
            content,
            plan: Arc::clone(&self.plan),
            expires: token.expires(),
            timestamp: submission.timestamp,
            fingerprint: submission.fingerprint,
            access: self.caller.seal(&token)?,
        };
        let submitted = Submitted::granted(token.expose(), &grant, &settings.authority);
        tracing::debug!(image = %grant.image, content = ?grant.content, "a container token was issued");
        self.wave.grants().issue(&token, grant).await?;
        Ok(submitted)
    }

    /// The image has to be there, and what it is now is what the token will be for.
    pub(super) async fn resolve(
        &self,
        submission: &Submission,
        image: &ImageName,
    ) -> Result<(Digest, Digest), Error> {
        check_length(image.repository())?;
        let operation = GetManifest::head(image.repository().clone(), image.reference());
        let mut request = Request::from_parts(operation, self.facts.clone());
        request.extensions_mut().insert(Origin::new(image.registry().clone()));
        request.extensions_mut().insert(Rewrite::new(Arc::clone(&self.plan)).resolving());
        if let Some(credential) = self.caller.credential(self.wave, image).await? {
            request.extensions_mut().insert(credential);
        }
        let explain = |error| self.explain(error, submission, image);
        let response = self.images.send(request).await.map_err(explain)?;
        let source = response.extensions().get::<DerivedFrom>().map(|from| from.source);
        let derived = response.into_reply().full()?.digest;
        match source {
            Some(source) => Ok((source, derived)),
            None if self.plan.is_empty() => Ok((derived, derived)),
            None => Err(Error::internal("the image stack has no rewrite layer that is told by extension")),
        }
    }

    /// What is wrong with the image is wrong with the request; what is wrong with its registry is not.
    fn explain(&self, error: Error, submission: &Submission, image: &ImageName) -> Error {
        let kind = error.kind();
        let refused = matches!(kind, ErrorKind::Unauthorized | ErrorKind::Denied | ErrorKind::NotFound);
        // Registries say "not found" and "denied" as they please to who may not see an image.
        let hint = if refused && submission.platform.is_some() && !self.caller.is_known_to_a_platform() {
            " (this service doesn't use the credentials behind `towerAccessToken`)"
        } else {
            ""
        };
        let error =
            error.context(format_args!("`containerImage`: the image `{image}` can't be served{hint}"));
        match kind {
            ErrorKind::Invalid | ErrorKind::TooLarge | ErrorKind::Unsupported => {
                error.with_status(StatusCode::BAD_REQUEST)
            }
            _ if refused => error.with_status(StatusCode::BAD_REQUEST),
            _ => error,
        }
    }
}

/// Reads and checks the request: on a thread of its own where that may take more than a moment.
async fn read(wave: &Wave, body: Body) -> Result<Submission, Error> {
    let max = wave.settings().limits.max_request;
    let body = body.limited(max as u64, "request").read(max).await.map_err(|error| match error.kind() {
        ErrorKind::Internal => invalid("the request broke off").with_source(error),
        _ => error,
    })?;
    if body.len() <= SMALL_REQUEST && !mentions_layers(&body) {
        return Submission::read(&body, wave.settings());
    }
    let _permit = wave.check_permit().await?;
    let wave = wave.clone();
    blocking(move || Submission::read(&body, wave.settings())).await?
}

fn mentions_layers(body: &Bytes) -> bool {
    const KEY: &[u8] = b"\"layers\"";
    body.windows(KEY.len()).any(|window| window == KEY)
}

/// The name that clients will pull by has to fit into what a name may be.
fn check_length(repository: &Repository) -> Result<(), Error> {
    let max = Repository::MAX_LEN - PREFIX.len() - Token::TEXT_LENGTH - 2;
    let length = repository.as_str().len();
    if length <= max {
        return Ok(());
    }
    Err(invalid(format!(
        "`containerImage`: the name `{repository}` has {length} characters, more than {max}"
    )))
}

fn whole_seconds(time: Option<SystemTime>) -> Result<SystemTime, Error> {
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let since = since.ok_or_else(|| Error::internal("the clock shows no sensible time"))?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

/// What is read at once. Without a layer, whose content would be inflated, that takes microseconds.
const SMALL_REQUEST: usize = 16 * 1024;

/// What is said where no image can be made.
pub(super) const NO_BUILDING: &str = "this service builds no images: it takes a `containerImage` only";
pub(super) const NO_FREEZING: &str = "this service freezes no images: leave `freeze` out";
