use std::fmt;

use http::Extensions;

use super::operations::{
    CancelUpload, DeleteBlob, DeleteManifest, FinishUpload, GetBlob, GetManifest, ListReferrers,
    ListRepositories, ListTags, Ping, PutManifest, StartUpload, UploadChunk, UploadStatus,
};
use super::reply::{
    Blob, BlobCreated, Conditional, Deleted, Manifest, ManifestCreated, Pong, Referrers, Reply, Repositories,
    Tags, UploadStarted, UploadState,
};
use crate::error::Error;
use crate::spec::name::Repository;

/// An operation with the type of its reply.
///
/// Implemented by the structs of this module; it can't be implemented elsewhere, since a new operation is a new
/// variant of [`Operation`].
pub trait Call: Into<Operation> + fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// What it is answered with.
    type Reply: Into<Reply> + TryFrom<Reply, Error = Error> + Send + 'static;

    /// Which one it is.
    const KIND: OperationKind;

    /// The operation itself out of the enum, or the enum back.
    ///
    /// # Errors
    ///
    /// When it is another operation.
    #[expect(clippy::result_large_err, reason = "the other operation is the value itself, handed back")]
    fn from_operation(operation: Operation) -> Result<Self, Operation>;
}

mod sealed {
    pub trait Sealed {}
}

/// What an operation does to a repository, for guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Nothing but ask whether the registry is there.
    Ping,
    /// Reads from a repository.
    Pull,
    /// Writes to a repository.
    Push,
    /// Deletes from a repository.
    Delete,
    /// Reads the list of all repositories.
    Catalog,
}

macro_rules! operations {
    ($($name:ident => $reply:ty, $access:ident;)*) => {
        /// One call of the distribution API, parsed and validated.
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum Operation {
            $(
                #[doc = concat!("See [`", stringify!($name), "`](super::", stringify!($name), ").")]
                $name($name),
            )*
        }

        /// Which operation it is, for names in traces and metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum OperationKind {
            $(
                #[doc = concat!("See [`", stringify!($name), "`](super::", stringify!($name), ").")]
                $name,
            )*
        }

        impl OperationKind {
            /// The name of the operation's type.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }

        impl Operation {
            /// Which operation it is.
            #[must_use]
            pub fn kind(&self) -> OperationKind {
                match self {
                    $(Self::$name(_) => OperationKind::$name,)*
                }
            }

            /// What it does.
            #[must_use]
            pub fn access(&self) -> Access {
                match self {
                    $(Self::$name(_) => Access::$access,)*
                }
            }
        }

        $(
            impl From<$name> for Operation {
                fn from(operation: $name) -> Self {
                    Self::$name(operation)
                }
            }

            impl sealed::Sealed for $name {}

            impl Call for $name {
                type Reply = $reply;

                const KIND: OperationKind = OperationKind::$name;

                fn from_operation(operation: Operation) -> Result<Self, Operation> {
                    match operation {
                        Operation::$name(operation) => Ok(operation),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

operations! {
    Ping => Pong, Ping;
    GetManifest => Conditional<Manifest>, Pull;
    PutManifest => ManifestCreated, Push;
    DeleteManifest => Deleted, Delete;
    GetBlob => Blob, Pull;
    DeleteBlob => Deleted, Delete;
    StartUpload => UploadStarted, Push;
    UploadChunk => UploadState, Push;
    FinishUpload => BlobCreated, Push;
    UploadStatus => UploadState, Push;
    CancelUpload => Deleted, Push;
    ListTags => Tags, Pull;
    ListReferrers => Referrers, Pull;
    ListRepositories => Repositories, Catalog;
}

impl Operation {
    /// The repository that it is about; none for a ping and for the list of repositories.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Ping(_) | Self::ListRepositories(_) => None,
            Self::GetManifest(operation) => Some(&operation.repository),
            Self::PutManifest(operation) => Some(&operation.repository),
            Self::DeleteManifest(operation) => Some(&operation.repository),
            Self::GetBlob(operation) => Some(&operation.repository),
            Self::DeleteBlob(operation) => Some(&operation.repository),
            Self::StartUpload(operation) => Some(&operation.repository),
            Self::UploadChunk(operation) => Some(&operation.repository),
            Self::FinishUpload(operation) => Some(&operation.repository),
            Self::UploadStatus(operation) => Some(&operation.repository),
            Self::CancelUpload(operation) => Some(&operation.repository),
            Self::ListTags(operation) => Some(&operation.repository),
            Self::ListReferrers(operation) => Some(&operation.repository),
        }
    }

    /// The repository that it is about, for layers that map names.
    ///
    /// The repository to mount from is another one: see [`StartUpload::mount`].
    pub fn repository_mut(&mut self) -> Option<&mut Repository> {
        match self {
            Self::Ping(_) | Self::ListRepositories(_) => None,
            Self::GetManifest(operation) => Some(&mut operation.repository),
            Self::PutManifest(operation) => Some(&mut operation.repository),
            Self::DeleteManifest(operation) => Some(&mut operation.repository),
            Self::GetBlob(operation) => Some(&mut operation.repository),
            Self::DeleteBlob(operation) => Some(&mut operation.repository),
            Self::StartUpload(operation) => Some(&mut operation.repository),
            Self::UploadChunk(operation) => Some(&mut operation.repository),
            Self::FinishUpload(operation) => Some(&mut operation.repository),
            Self::UploadStatus(operation) => Some(&mut operation.repository),
            Self::CancelUpload(operation) => Some(&mut operation.repository),
            Self::ListTags(operation) => Some(&mut operation.repository),
            Self::ListReferrers(operation) => Some(&mut operation.repository),
        }
    }
}

/// An operation, and facts about who asks.
///
/// The extensions hold facts about the caller and what layers decided about it: an identity, an address, an
/// [`UpstreamId`](super::UpstreamId). Whatever changes the answer is a field of the operation.
#[derive(Debug)]
pub struct Request<O = Operation> {
    operation: O,
    extensions: Extensions,
}

impl<O> Request<O> {
    /// A request without any facts.
    #[must_use]
    pub fn new(operation: O) -> Self {
        Self { operation, extensions: Extensions::new() }
    }

    /// A request with facts.
    #[must_use]
    pub fn from_parts(operation: O, extensions: Extensions) -> Self {
        Self { operation, extensions }
    }

    /// The operation and the facts.
    #[must_use]
    pub fn into_parts(self) -> (O, Extensions) {
        (self.operation, self.extensions)
    }

    /// The operation.
    #[must_use]
    pub fn operation(&self) -> &O {
        &self.operation
    }

    /// The operation, to change it.
    pub fn operation_mut(&mut self) -> &mut O {
        &mut self.operation
    }

    /// The operation alone.
    #[must_use]
    pub fn into_operation(self) -> O {
        self.operation
    }

    /// The facts.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The facts, to add to them.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// Another operation for the same caller: all facts are kept, nothing of this operation is.
    #[must_use]
    pub fn with<P>(&self, operation: P) -> Request<P> {
        Request { operation, extensions: self.extensions.clone() }
    }

    /// The same facts about a changed operation.
    #[must_use]
    pub fn map<P>(self, change: impl FnOnce(O) -> P) -> Request<P> {
        Request { operation: change(self.operation), extensions: self.extensions }
    }
}

impl Request {
    /// The request as one of the operation `O`, or as it was.
    ///
    /// # Errors
    ///
    /// The request itself, when it is for another operation.
    #[expect(clippy::result_large_err, reason = "the request is the value itself, handed back")]
    pub fn downcast<O: Call>(self) -> Result<Request<O>, Self> {
        let Self { operation, extensions } = self;
        match O::from_operation(operation) {
            Ok(operation) => Ok(Request { operation, extensions }),
            Err(operation) => Err(Self { operation, extensions }),
        }
    }
}

impl<O: Call> Request<O> {
    /// The request as one of any operation.
    #[must_use]
    pub fn erase(self) -> Request {
        self.map(Into::into)
    }
}

/// A reply, and facts about it that the edge turns into headers: warnings, rate limits, the namespace.
#[derive(Debug)]
pub struct Response<R = Reply> {
    reply: R,
    extensions: Extensions,
}

impl<R> Response<R> {
    /// A response without any facts.
    #[must_use]
    pub fn new(reply: R) -> Self {
        Self { reply, extensions: Extensions::new() }
    }

    /// A response with facts.
    #[must_use]
    pub fn from_parts(reply: R, extensions: Extensions) -> Self {
        Self { reply, extensions }
    }

    /// The reply and the facts.
    #[must_use]
    pub fn into_parts(self) -> (R, Extensions) {
        (self.reply, self.extensions)
    }

    /// The reply.
    #[must_use]
    pub fn reply(&self) -> &R {
        &self.reply
    }

    /// The reply, to change it.
    pub fn reply_mut(&mut self) -> &mut R {
        &mut self.reply
    }

    /// The reply alone.
    #[must_use]
    pub fn into_reply(self) -> R {
        self.reply
    }

    /// The facts.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The facts, to add to them.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// The same facts about a changed reply.
    #[must_use]
    pub fn map<Q>(self, change: impl FnOnce(R) -> Q) -> Response<Q> {
        Response { reply: change(self.reply), extensions: self.extensions }
    }

    /// The same facts about a changed reply, where the change may fail.
    ///
    /// # Errors
    ///
    /// What `change` fails with.
    pub fn try_map<Q, E>(self, change: impl FnOnce(R) -> Result<Q, E>) -> Result<Response<Q>, E> {
        Ok(Response { reply: change(self.reply)?, extensions: self.extensions })
    }
}

impl<R: Into<Reply>> Response<R> {
    /// The response as one with any reply.
    #[must_use]
    pub fn erase(self) -> Response {
        self.map(Into::into)
    }
}

impl<R> From<R> for Response<R> {
    fn from(reply: R) -> Self {
        Self::new(reply)
    }
}

impl From<Manifest> for Response<Conditional<Manifest>> {
    fn from(manifest: Manifest) -> Self {
        Self::new(Conditional::Full(manifest))
    }
}
