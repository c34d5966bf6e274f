//! The two leaves behind one face, so that each test runs against both.

use bytes::Bytes;

use super::super::*;
use crate::error::Error;
use crate::operation::{Call, PutManifest, Registry, Request, Response, SingleUpload, StartUpload};
use crate::spec::digest::Digest;
use crate::spec::image::Descriptor;
use crate::spec::media_type::MediaType;
use crate::spec::name::{Reference, Repository};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Memory,
    #[cfg(feature = "redb")]
    Disk,
}

#[derive(Clone)]
pub(super) enum Leaf {
    Memory(Memory),
    #[cfg(feature = "redb")]
    Disk(Hosted, std::sync::Arc<tempfile::TempDir>),
}

/// A registry of that kind with those switches.
macro_rules! leaf {
    ($kind:expr $(, $switch:ident($value:expr))*) => {
        match $kind {
            Kind::Memory => Leaf::Memory(Memory::builder()$(.$switch($value))*.build()),
            #[cfg(feature = "redb")]
            Kind::Disk => {
                let directory = tempfile::tempdir().unwrap();
                let builder = Hosted::builder(directory.path())$(.$switch($value))*;
                Leaf::Disk(builder.open().await.unwrap(), directory.into())
            }
        }
    };
}

/// Runs each test against both leaves, with the clock paused where that is said.
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

pub(super) use {leaf, tests_of_both};

impl Leaf {
    pub(super) async fn send<O: Call>(&self, request: Request<O>) -> Result<Response<O::Reply>, Error> {
        match self {
            Self::Memory(memory) => memory.send(request).await,
            #[cfg(feature = "redb")]
            Self::Disk(hosted, _) => hosted.send(request).await,
        }
    }

    pub(super) async fn push_blob(
        &self,
        repository: &Repository,
        media_type: MediaType,
        content: impl Into<Bytes>,
    ) -> Result<Descriptor, Error> {
        let content = content.into();
        if let Self::Memory(memory) = self {
            return memory.push_blob(repository, media_type, content);
        }
        let descriptor = Descriptor::of(media_type, &content);
        let mut start = StartUpload::new(repository.clone());
        start.single = Some(SingleUpload::new(*descriptor.digest(), None, content.into()));
        self.send(Request::new(start)).await.map(|_| descriptor)
    }

    pub(super) async fn push_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        media_type: MediaType,
        content: impl Into<Bytes>,
    ) -> Result<Digest, Error> {
        if let Self::Memory(memory) = self {
            return memory.push_manifest(repository, reference, media_type, content);
        }
        let put = PutManifest::new(repository.clone(), reference.clone(), media_type, content.into());
        Ok(self.send(Request::new(put)).await?.into_reply().digest)
    }

    pub(super) async fn usage(&self) -> Usage {
        match self {
            Self::Memory(memory) => memory.usage(),
            #[cfg(feature = "redb")]
            Self::Disk(hosted, _) => hosted.usage().await.unwrap(),
        }
    }

    /// Checks that nothing is kept; on disk, no file is left either.
    pub(super) async fn is_empty(&self) {
        assert_eq!(self.usage().await, Memory::new().usage());
        #[cfg(feature = "redb")]
        if let Self::Disk(_, directory) = self {
            let files = std::fs::read_dir(directory.path().join("uploads")).unwrap();
            assert_eq!(files.count(), 0);
        }
    }
}
