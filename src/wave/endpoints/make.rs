//! Submissions of what has to be made first.

use std::time::Duration;

use http::StatusCode;

use super::submit::{NO_BUILDING, NO_FREEZING, Work};
use super::submitted::Submitted;
use crate::error::{Error, ErrorKind};
use crate::wave::building::{Order, Ordered};
use crate::wave::grant::Content;
use crate::wave::request::not_here;
use crate::wave::submission::{Source, Submission};

impl Work<'_> {
    /// Has an image built or frozen.
    pub(super) async fn make(&self, submission: Submission) -> Result<Submitted, Error> {
        let settings = self.wave.settings();
        let Some(made) = &settings.made else {
            return Err(not_here(match submission.source {
                Source::Image(_) => NO_FREEZING,
                Source::Recipe(_) => NO_BUILDING,
            }));
        };
        if let Some(limiter) = &settings.orders {
            limiter.check(&self.facts)?;
        }
        let (source, derived) = match &submission.source {
            Source::Image(image) => {
                let (source, derived) = self.resolve(&submission, image).await?;
                (Some(source), Some(derived))
            }
            Source::Recipe(_) => (None, None),
        };
        let order = Order {
            submission: &submission,
            plan: &self.plan,
            source,
            caller: self.caller.own(),
            facts: self.facts.clone(),
        };
        let Ordered { submitted, image } = Box::pin(order.submit(made)).await?;
        tracing::debug!(%image, cached = submitted.cached, "an image was asked for");
        let answer = Submitted {
            build_id: Some(submitted.id.to_string()),
            cached: Some(submitted.cached),
            ..Submitted::default()
        };
        if !submission.freeze {
            let granted = self.grant(submission, image, Content::Build(submitted.id)).await?;
            return Ok(Submitted { succeeded: submitted.cached.then_some(true), ..granted.beside(answer) });
        }
        let target_image = image.to_string();
        let container_image = match &submission.source {
            Source::Image(image) => image.to_string(),
            Source::Recipe(_) => target_image.clone(),
        };
        let answer = Submitted { target_image, container_image, freeze: true, ..answer };
        if submitted.cached {
            return Ok(Submitted { target_digest: submitted.digest, succeeded: Some(true), ..answer });
        }
        if derived.is_none() {
            return Ok(answer);
        }
        // Within one registry it takes milliseconds, and then the answer can say how it ended.
        match tokio::time::timeout(FREEZE, made.builds.outcome(&submitted.id)).await {
            Err(_) => Ok(answer),
            Ok(Ok(built)) => {
                Ok(Submitted { target_digest: Some(built.digest), succeeded: Some(true), ..answer })
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Invalid => Err(error
                .map_message(|reason| format!("`buildRepository`: {reason}"))
                .with_status(StatusCode::BAD_REQUEST)),
            Ok(Err(error)) => Err(error),
        }
    }
}

/// For how long an answer is held back that could say that an image is frozen.
const FREEZE: Duration = Duration::from_secs(10);
