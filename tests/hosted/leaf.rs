//! The registries behind one face, so that each test runs against both.

use std::sync::Arc;

#[cfg(feature = "redb")]
use tower_oci::hosted::Hosted;
use tower_oci::hosted::{Memory, Usage};
use tower_oci::operation::BoxRegistry;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Memory,
    #[cfg(feature = "redb")]
    Disk,
}

#[derive(Clone)]
pub(crate) enum Leaf {
    Memory(Memory),
    #[cfg(feature = "redb")]
    Disk(Hosted, Arc<tempfile::TempDir>),
}

/// A registry of that kind with those switches.
macro_rules! leaf {
    ($kind:expr $(, $switch:ident($value:expr))*) => {
        match $kind {
            Kind::Memory => Leaf::Memory(tower_oci::hosted::Memory::builder()$(.$switch($value))*.build()),
            #[cfg(feature = "redb")]
            Kind::Disk => {
                let directory = tempfile::tempdir().unwrap();
                let builder = tower_oci::hosted::Hosted::builder(directory.path())$(.$switch($value))*;
                Leaf::Disk(builder.open().await.unwrap(), directory.into())
            }
        }
    };
}

/// Runs each test against both, with the clock paused where that is said.
macro_rules! tests_of_both {
    ($($test:ident $(($paused:ident = $value:literal))?,)*) => {
        mod memory {
            $(#[tokio::test$(($paused = $value))?] async fn $test() { super::$test(super::Kind::Memory).await })*
        }
        #[cfg(feature = "redb")]
        mod disk {
            $(#[tokio::test$(($paused = $value))?] async fn $test() { super::$test(super::Kind::Disk).await })*
        }
    };
}

pub(crate) use {leaf, tests_of_both};

impl Leaf {
    pub(crate) fn registry(&self) -> BoxRegistry {
        match self {
            Self::Memory(memory) => BoxRegistry::new(memory.clone()),
            #[cfg(feature = "redb")]
            Self::Disk(hosted, _) => BoxRegistry::new(hosted.clone()),
        }
    }

    pub(crate) async fn usage(&self) -> Usage {
        match self {
            Self::Memory(memory) => memory.usage(),
            #[cfg(feature = "redb")]
            Self::Disk(hosted, _) => hosted.usage().await.unwrap(),
        }
    }

    /// Checks that nothing is kept; on disk, no file is left either.
    pub(crate) async fn is_empty(&self) {
        assert_eq!(self.usage().await, Memory::new().usage());
        #[cfg(feature = "redb")]
        if let Self::Disk(_, directory) = self {
            assert_eq!(std::fs::read_dir(directory.path().join("uploads")).unwrap().count(), 0);
        }
    }
}
