use std::sync::Arc;

use super::{DiskBlobs, listing_failed, read};
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::store::blobs::store::BlobStore as _;

/// How many blobs are listed at once.
const PAGE: usize = 1024;

/// What [`DiskBlobs::fsck`] saw and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsckReport {
    /// How many blobs were hashed.
    pub checked: u64,
    /// Their sizes in bytes, added up.
    pub bytes: u64,
    /// Those that were wrong.
    pub damaged: Vec<Damage>,
    /// What lies among the blobs and is none, as paths below `blobs`. It is left alone, and never served.
    pub strangers: Vec<String>,
}

/// A blob that [`DiskBlobs::fsck`] found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The digest under which it was kept.
    pub digest: Digest,
    /// What is wrong with it, for people.
    pub reason: String,
    /// Whether it is gone; else the reason says why not.
    pub removed: bool,
}

impl DiskBlobs {
    /// Hashes every blob and removes those that are wrong.
    ///
    /// The store may be used meanwhile, by this process and by others. What is removed while somebody reads it is still
    /// read to its end.
    ///
    /// # Errors
    ///
    /// When the directories can't be listed. A blob that can't be read is damaged.
    pub async fn fsck(&self) -> Result<FsckReport, Error> {
        let mut report = FsckReport::default();
        let mut after = None;
        loop {
            let page = self.list(after, PAGE).await?;
            for blob in &page {
                self.check(blob.digest, &mut report).await?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.digest),
                _ => break,
            }
        }
        report.strangers = self.run(|inner| inner.layout.strangers().map_err(listing_failed)).await?;
        Ok(report)
    }

    async fn check(&self, digest: Digest, report: &mut FsckReport) -> Result<(), Error> {
        let found = match self.run(move |inner| inner.file(digest)).await {
            // It has gone since it was listed.
            Ok(None) => return Ok(()),
            Ok(Some((file, size))) => {
                report.bytes = report.bytes.saturating_add(size);
                read::hash(&Arc::new(file), digest.algorithm()).await
            }
            Err(error) => Err(error),
        };
        report.checked += 1;
        let mut reason = match found {
            Ok(found) if found == digest => return Ok(()),
            Ok(found) => format!("its content is {found}"),
            Err(error) => error.to_string(),
        };
        let removed = self.run(move |inner| inner.remove(digest)).await;
        if let Err(error) = &removed {
            reason = format!("{reason}; {error}");
        }
        tracing::warn!(%digest, reason, removed = removed.is_ok(), "a blob in the store is damaged");
        report.damaged.push(Damage { digest, reason, removed: removed.is_ok() });
        Ok(())
    }
}
