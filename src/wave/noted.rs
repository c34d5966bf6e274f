//! Requests of `/v1alpha2/container`, by the names that their answers gave them.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::endpoints::Submitted;
use super::service::Wave;
use crate::error::Error;
use crate::spec::digest::{Digest, hex};

/// What is kept of a request: nothing that opens an image.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Noted {
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) container_image: String,
    /// Of what is frozen; under a token, the name would be a credential.
    pub(super) target_image: Option<String>,
    pub(super) build: Option<String>,
    pub(super) cached: Option<bool>,
    pub(super) freeze: bool,
}

impl Wave {
    /// Keeps a request for as long as its token lives, and gives it a name that can't be guessed.
    pub(super) async fn note(&self, submitted: &Submitted) -> Result<String, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Error::internal("the system has no random numbers").with_source(error))?;
        let id = format!("{PREFIX}{}", hex(&random));
        let now = self.settings().clock.now();
        let noted = Noted {
            created: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            container_image: submitted.container_image.clone(),
            target_image: submitted.freeze.then(|| submitted.target_image.clone()),
            build: submitted.build_id.clone(),
            cached: submitted.cached,
            freeze: submitted.freeze,
        };
        let record = serde_json::to_vec(&noted)
            .map_err(|error| Error::internal("a request's record can't be written").with_source(error))?;
        let expires = now.checked_add(self.settings().lifetime).unwrap_or(now + Duration::from_secs(1));
        self.grants().records().put(&key(&id), record.into(), expires).await?;
        Ok(id)
    }

    /// The request with a name.
    pub(super) async fn noted(&self, id: &str) -> Result<Noted, Error> {
        let digits = id.strip_prefix(PREFIX).unwrap_or_default();
        let is_name = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let record = if is_name { self.grants().records().get(&key(id)).await? } else { None };
        let record = record.ok_or_else(|| Error::name_unknown("unknown container request"))?;
        serde_json::from_slice(&record)
            .map_err(|error| Error::internal("a request's record is damaged").with_source(error))
    }
}

fn key(id: &str) -> String {
    format!("wave/request/{}", Digest::sha256(id.as_bytes()).hex())
}

const PREFIX: &str = "cr-";
