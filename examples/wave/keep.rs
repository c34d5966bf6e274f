//! What outlives a request: records of tokens and builds, and the registry of builds. In a directory they outlive the
//! process as well.

use std::path::Path;
#[cfg(feature = "build")]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "build")]
use tower_oci::hosted::Memory;
#[cfg(feature = "build")]
use tower_oci::operation::{BoxRegistry, Registry as _};
use tower_oci::rt::Tasks;
use tower_oci::store::{MemoryRecords, Records};

use super::Failure;

pub(crate) struct Kept {
    pub(crate) records: Arc<dyn Records>,
    #[cfg(feature = "build")]
    pub(crate) registry: BoxRegistry,
    /// Where logs of builds go; in memory without it.
    #[cfg(feature = "build")]
    pub(crate) logs: Option<PathBuf>,
}

/// In memory: it ends with the process.
const MAX_RECORDS: usize = 10_000;
#[cfg(feature = "build")]
const MAX_BYTES: u64 = 4 << 30;

impl Kept {
    fn in_memory() -> Self {
        Self {
            records: Arc::new(MemoryRecords::with_capacity(MAX_RECORDS)),
            #[cfg(feature = "build")]
            registry: Memory::builder().max_bytes(MAX_BYTES).build().boxed_registry(),
            #[cfg(feature = "build")]
            logs: None,
        }
    }

    #[cfg(feature = "redb")]
    pub(crate) async fn open(directory: Option<&Path>, tasks: &Tasks) -> Result<Self, Failure> {
        use tower_oci::store::IndexRecords;

        let Some(directory) = directory else { return Ok(Self::in_memory()) };
        let told = |error: &dyn std::fmt::Display| format!("can't open {}: {error}", directory.display());
        std::fs::create_dir_all(directory).map_err(|error| told(&error))?;
        let records =
            IndexRecords::open(directory.join("records.redb")).await.map_err(|error| told(&error))?;
        records.sweep().await?;
        #[cfg(feature = "build")]
        let registry = tower_oci::hosted::Hosted::builder(directory.join("registry")).tasks(tasks.clone());
        #[cfg(not(feature = "build"))]
        let _ = tasks;
        Ok(Self {
            records: Arc::new(records),
            #[cfg(feature = "build")]
            registry: registry.open().await.map_err(|error| told(&error))?.boxed_registry(),
            #[cfg(feature = "build")]
            logs: Some(directory.join("logs")),
        })
    }

    #[cfg(not(feature = "redb"))]
    pub(crate) async fn open(_: Option<&Path>, _: &Tasks) -> Result<Self, Failure> {
        Ok(Self::in_memory())
    }
}
