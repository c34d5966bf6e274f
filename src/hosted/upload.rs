use bytes::Bytes;

use super::budget::{Budget, RECORD, Reservation};
use super::chunk::{Chunk, Limits, Sink, Stopped, wrong_digest};
use super::content::{Content, Writer};
use super::uploads::Held;
use crate::error::Error;
use crate::spec::digest::{Algorithm, Digest, Hasher};

/// What has come of a blob, hashed as it comes.
#[derive(Debug)]
pub(super) struct Upload {
    writer: Writer,
    algorithm: Algorithm,
    hasher: Hasher,
    cost: Reservation,
}

impl Upload {
    pub(super) fn new(algorithm: Algorithm, budget: &std::sync::Arc<Budget>) -> Result<Self, Error> {
        Ok(Self {
            writer: Writer::default(),
            algorithm,
            hasher: Hasher::new(algorithm),
            cost: budget.reserve(RECORD)?,
        })
    }

    /// Takes a chunk. One that breaks off leaves what has come, so that the client can go on from there; one that
    /// isn't what its request said, or is over a limit, leaves nothing.
    pub(super) async fn take(&mut self, chunk: Chunk, limits: Limits) -> Result<(), Error> {
        let start = self.received();
        let before = self.hasher.clone();
        match chunk.pour(start, limits, self).await {
            Ok(()) => Ok(()),
            Err(Stopped::BrokenOff(error)) => Err(error),
            Err(Stopped::Refused(error)) => {
                self.cost.shrink(self.received() - start);
                self.writer.truncate(start);
                self.hasher = before;
                Err(error)
            }
        }
    }

    /// The content, if it has this digest.
    pub(super) async fn finish(self, digest: &Digest) -> Result<(Content, Reservation), Error> {
        let content = self.writer.finish();
        let hasher = if self.algorithm == digest.algorithm() {
            self.hasher
        } else {
            // Announced by neither `digest-algorithm` nor a single request: all is hashed once more.
            let mut hasher = Hasher::new(digest.algorithm());
            for segment in content.segments() {
                hasher.update(segment);
                tokio::task::yield_now().await;
            }
            hasher
        };
        let found = hasher.finish();
        if found != *digest {
            return Err(wrong_digest(digest, &found));
        }
        let mut cost = self.cost;
        cost.shrink(RECORD);
        Ok((content, cost))
    }
}

impl Sink for Upload {
    async fn append(&mut self, data: Bytes) -> Result<(), Error> {
        self.cost.grow(data.len() as u64)?;
        self.writer.append(&data);
        self.hasher.update(&data);
        Ok(())
    }
}

impl Held for Upload {
    fn received(&self) -> u64 {
        self.writer.size()
    }
}
