//! `POST /container-token`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, Response, StatusCode};

use super::answer::{self, Submitted};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::layer::rewrite::{DerivedFrom, Plan, Rewrite};
use crate::operation::{BoxRegistry, GetManifest, Origin, Registry as _, Request};
use crate::rt::blocking;
use crate::spec::digest::Digest;
use crate::spec::name::Repository;
use crate::wave::Wave;
use crate::wave::grant::{self, Grant};
use crate::wave::images::PREFIX;
use crate::wave::request::invalid;
use crate::wave::submission::Submission;
use crate::wave::token::Token;

/// Answers a submission: reads it, finds the image, and issues a token.
pub(super) async fn submit(
    wave: &Wave,
    images: &BoxRegistry,
    parts: Parts,
    body: Body,
) -> Result<Response<Body>, Error> {
    let submission = read(wave, body).await?;
    let settings = wave.settings();
    check_length(submission.image.repository())?;
    let plan = Arc::new(grant::plan(&submission, settings)?);
    let (source, derived) = resolve(images, parts.extensions, &submission, &plan).await?;
    let expires = whole_seconds(settings.clock.now().checked_add(settings.lifetime))?;
    let token = Token::generate(expires)?;
    let grant = Grant {
        image: submission.image,
        source,
        derived,
        plan,
        expires: token.expires(),
        timestamp: submission.timestamp,
        fingerprint: submission.fingerprint,
    };
    let response = answer::json(&Submitted::new(token.expose(), &grant, &settings.authority));
    tracing::debug!(image = %grant.image, %source, %derived, "a container token was issued");
    wave.grants().issue(&token, grant).await?;
    Ok(response)
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

/// The image has to be there, and what it is now is what the token will be for.
async fn resolve(
    images: &BoxRegistry,
    extensions: Extensions,
    submission: &Submission,
    plan: &Arc<Plan>,
) -> Result<(Digest, Digest), Error> {
    let image = &submission.image;
    let operation = GetManifest::head(image.repository().clone(), image.reference());
    let mut request = Request::from_parts(operation, extensions);
    request.extensions_mut().insert(Origin::new(image.registry().clone()));
    request.extensions_mut().insert(Rewrite::new(Arc::clone(plan)).resolving());
    let response = images.send(request).await.map_err(|error| explain(error, submission))?;
    let source = response.extensions().get::<DerivedFrom>().map(|from| from.source);
    let derived = response.into_reply().full()?.digest;
    match source {
        Some(source) => Ok((source, derived)),
        None if plan.is_empty() => Ok((derived, derived)),
        None => Err(Error::internal("the image stack has no rewrite layer that is told by extension")),
    }
}

/// What is wrong with the image is wrong with the request; what is wrong with its registry is not.
fn explain(error: Error, submission: &Submission) -> Error {
    let kind = error.kind();
    let refused = matches!(kind, ErrorKind::Unauthorized | ErrorKind::Denied | ErrorKind::NotFound);
    // Registries say "not found" and "denied" as they please to who may not see an image.
    let hint = if refused && submission.has_platform_credentials {
        " (this service doesn't use the credentials behind `towerAccessToken`)"
    } else {
        ""
    };
    let image = &submission.image;
    let error = error.context(format_args!("`containerImage`: the image `{image}` can't be served{hint}"));
    match kind {
        ErrorKind::Invalid | ErrorKind::TooLarge | ErrorKind::Unsupported => {
            error.with_status(StatusCode::BAD_REQUEST)
        }
        _ if refused => error.with_status(StatusCode::BAD_REQUEST),
        _ => error,
    }
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
