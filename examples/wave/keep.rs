//! What outlives a request: the registry of builds, and records of tokens and builds. In a directory they outlive the
//! process as well.

use std::path::PathBuf;
use std::sync::Arc;

use tower_oci::hosted::Memory;
use tower_oci::operation::{BoxRegistry, Registry as _};
use tower_oci::rt::Tasks;
use tower_oci::store::{MemoryRecords, Records};

use super::Failure;

pub(crate) struct Kept {
    pub(crate) registry: BoxRegistry,
    pub(crate) records: Arc<dyn Records>,
    /// Where logs of builds go; in memory without it.
    pub(crate) logs: Option<PathBuf>,
}

/// In memory: it ends with the process.
const MAX_RECORDS: usize = 10_000;
const MAX_BYTES: u64 = 4 << 30;

impl Kept {
    fn in_memory() -> Self {
        Self {
            registry: Memory::builder().max_bytes(MAX_BYTES).build().boxed_registry(),
            records: Arc::new(MemoryRecords::with_capacity(MAX_RECORDS)),
            logs: None,
        }
    }

    #[cfg(feature = "redb")]
    pub(crate) async fn open(directory: Option<&std::path::Path>, tasks: &Tasks) -> Result<Self, Failure> {
        use tower_oci::hosted::Hosted;
        use tower_oci::store::IndexRecords;

        let Some(directory) = directory else { return Ok(Self::in_memory()) };
        let told = |error: &dyn std::fmt::Display| format!("can't open {}: {error}", directory.display());
        std::fs::create_dir_all(directory).map_err(|error| told(&error))?;
        let registry = Hosted::builder(directory.join("registry")).tasks(tasks.clone()).open().await;
        let records =
            IndexRecords::open(directory.join("records.redb")).await.map_err(|error| told(&error))?;
        records.sweep().await?;
        Ok(Self {
            registry: registry.map_err(|error| told(&error))?.boxed_registry(),
            records: Arc::new(records),
            logs: Some(directory.join("logs")),
        })
    }

    #[cfg(not(feature = "redb"))]
    pub(crate) async fn open(_: Option<&std::path::Path>, _: &Tasks) -> Result<Self, Failure> {
        Ok(Self::in_memory())
    }
}
