//! Hashes what an embedder's own leaf answers.
//!
//! Nothing unverified may end well. The leaf of the client room hashes by itself and marks its answers
//! [`Verified`]; over any other leaf this layer does it: a manifest must have the digest that it claims (and was asked
//! for by), a whole blob must have its digest and size, or its body ends with an error in place of the last frame.
//!
//! Two things can't be checked here: single parts of a blob, and where a redirect leads. What was asked for with the
//! mark [`WithoutVerification`] is left to whoever put it there.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::ServiceBuilder;
//! use tower_oci::body::Body;
//! use tower_oci::layer::verify::VerifyLayer;
//! use tower_oci::operation::{Blob, GetBlob, Handlers, Registry, Request};
//! use tower_oci::spec::digest::Digest;
//!
//! let registry = ServiceBuilder::new().layer(VerifyLayer::new()).service(Handlers::new().on(
//!     |request: Request<GetBlob>| async move { Ok(Blob::whole(request.operation().digest, None, Body::from("evil"))) },
//! ));
//! let request = Request::new(GetBlob::new("a/b".parse()?, Digest::sha256(b"good")));
//! assert!(registry.send(request).await.is_err());
//! # Ok(()) }
//! ```

use std::fmt;
use std::task::{Context, Poll};

use futures_util::TryFutureExt as _;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::Error;
use crate::operation::{
    Blob, BlobContent, BoxFuture, Conditional, Manifest, Operation, Registry, Reply, Request, Response,
    Verified, WithoutVerification,
};
use crate::spec::digest::Digest;
#[cfg(feature = "disk")]
use crate::store::sendfile::SendFile;

/// Puts a [`Verify`] over a registry; see [the module](self).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct VerifyLayer;

impl VerifyLayer {
    /// The layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<R: Registry> Layer<R> for VerifyLayer {
    type Service = Verify<R>;

    fn layer(&self, inner: R) -> Verify<R> {
        Verify { inner }
    }
}

/// The service of a [`VerifyLayer`]; see [the module](self).
#[derive(Clone)]
pub struct Verify<R> {
    inner: R,
}

impl<R> fmt::Debug for Verify<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verify").finish_non_exhaustive()
    }
}

impl<R: Registry> Service<Request> for Verify<R> {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let wanted = match request.operation() {
            Operation::GetManifest(operation) => {
                Wanted::Manifest(operation.reference.digest().copied(), operation.head)
            }
            // Whoever asked for it hashes it.
            Operation::GetBlob(_) if request.extensions().get::<WithoutVerification>().is_some() => {
                return Box::pin(self.inner.call(request).map_err(Into::into));
            }
            Operation::GetBlob(operation) => Wanted::Blob(operation.digest, operation.head),
            // No other answer has content that a digest stands for.
            _ => Wanted::Nothing,
        };
        // What is hashed has to be read.
        #[cfg(feature = "disk")]
        let request = {
            let mut request = request;
            request.extensions_mut().remove::<SendFile>();
            request
        };
        let future = self.inner.call(request);
        Box::pin(async move {
            let response = future.await.map_err(Into::into)?;
            if response.extensions().get::<Verified>().is_some() {
                return Ok(response);
            }
            let mut response = response.try_map(|reply| wanted.check(reply))?;
            response.extensions_mut().insert(Verified::new());
            Ok(response)
        })
    }
}

enum Wanted {
    Manifest(Option<Digest>, bool),
    Blob(Digest, bool),
    Nothing,
}

impl Wanted {
    fn check(self, reply: Reply) -> Result<Reply, Error> {
        match (self, reply) {
            (Self::Manifest(digest, head), Reply::Manifest(Conditional::Full(manifest))) => {
                check_manifest(&manifest, digest, head)?;
                Ok(manifest_reply(manifest))
            }
            (Self::Blob(digest, head), Reply::Blob(blob)) => check_blob(blob, digest, head).map(Reply::Blob),
            (_, reply) => Ok(reply),
        }
    }
}

fn manifest_reply(manifest: Manifest) -> Reply {
    Reply::Manifest(Conditional::Full(manifest))
}

fn check_manifest(manifest: &Manifest, asked: Option<Digest>, head: bool) -> Result<(), Error> {
    if let Some(asked) = asked
        && asked != manifest.digest
    {
        return Err(Error::corrupt(format!("the manifest {asked} was answered with {}", manifest.digest)));
    }
    match &manifest.content {
        Some(content) if content.len() as u64 != manifest.size || !manifest.digest.matches(content) => {
            Err(Error::corrupt(format!("the content of the manifest {} is something else", manifest.digest)))
        }
        None if !head => {
            Err(Error::corrupt(format!("the manifest {} came without content", manifest.digest)))
        }
        _ => Ok(()),
    }
}

fn check_blob(mut blob: Blob, asked: Digest, head: bool) -> Result<Blob, Error> {
    if blob.digest != asked {
        return Err(Error::corrupt(format!("the blob {asked} was answered with {}", blob.digest)));
    }
    blob.content = match blob.content {
        BlobContent::Whole(body) if !head => BlobContent::Whole(body.verified(asked, blob.size)?),
        BlobContent::Part(part) if blob.size.is_some_and(|size| part.range.last() >= size) => {
            return Err(Error::corrupt(format!("a part of {asked} lies outside of the blob")));
        }
        other => other,
    };
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::body::Body;
    use crate::error::ErrorKind;
    use crate::operation::{GetBlob, GetManifest, Handlers, ListTags, Tags};
    use crate::spec::media_type::MediaType;
    use crate::spec::name::{Reference, Tag};

    fn registry() -> Verify<Handlers> {
        let leaf = Handlers::new()
            .on(|request: Request<GetManifest>| async move {
                let operation = request.into_operation();
                let content = Bytes::from_static(b"{}");
                let digest = match operation.reference {
                    Reference::Tag(tag) if tag == Tag::latest() => Digest::sha256(&content),
                    Reference::Tag(_) => Digest::sha256(b"other"),
                    Reference::Digest(digest) => digest,
                };
                Ok(Manifest::new(MediaType::OCI_INDEX, digest, content))
            })
            .on(|request: Request<GetBlob>| async move {
                let body =
                    futures_util::stream::iter([Ok::<_, Error>(Bytes::from_static(b"he")), Ok("llo".into())]);
                Ok(Blob::whole(request.operation().digest, None, Body::from_stream(body)))
            })
            .on(|request: Request<ListTags>| async move {
                Ok(Tags::new(request.into_operation().repository, Vec::new(), None))
            });
        VerifyLayer::new().layer(leaf)
    }

    async fn manifest(reference: Reference) -> Result<Manifest, Error> {
        let request = Request::new(GetManifest::new("a/b".parse()?, reference));
        registry().send(request).await?.into_reply().full()
    }

    #[tokio::test]
    async fn manifests_have_the_digest_that_they_claim() {
        assert!(manifest(Tag::latest().into()).await.is_ok());
        let wrong: Tag = "wrong".parse().unwrap();
        assert_eq!(manifest(wrong.into()).await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(manifest(Digest::sha256(b"{}").into()).await.is_ok());
        assert_eq!(manifest(Digest::sha256(b"").into()).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn blobs_end_well_only_with_their_digest() {
        let read = async |content: &[u8]| {
            let request = Request::new(GetBlob::new("a/b".parse().unwrap(), Digest::sha256(content)));
            registry().send(request).await?.into_reply().into_whole()?.read(100).await
        };
        assert_eq!(read(b"hello").await.unwrap(), "hello");
        assert_eq!(read(b"hullo").await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(registry().send(Request::new(ListTags::new("a/b".parse().unwrap()))).await.is_ok());
    }

    #[tokio::test]
    async fn who_hashes_by_itself_is_given_blobs_as_they_are_and_nothing_else() {
        let mut request = Request::new(GetBlob::new("a/b".parse().unwrap(), Digest::sha256(b"hullo")));
        request.extensions_mut().insert(WithoutVerification::new());
        let response = registry().send(request).await.unwrap();
        assert_eq!(response.extensions().get::<Verified>(), None);
        let mut body = response.into_reply().into_whole().unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "he");
        assert_eq!(body.read(100).await.unwrap(), "llo");

        let wrong = Reference::Digest(Digest::sha256(b""));
        let mut request = Request::new(GetManifest::new("a/b".parse().unwrap(), wrong));
        request.extensions_mut().insert(WithoutVerification::new());
        assert_eq!(registry().send(request).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[cfg(feature = "disk")]
    #[tokio::test]
    async fn what_is_hashed_is_not_mapped() {
        let leaf = Handlers::new().on(|request: Request<GetBlob>| async move {
            assert!(request.extensions().get::<SendFile>().is_none());
            Ok(Blob::whole(request.operation().digest, None, Body::from("hello")))
        });
        let mut request = Request::new(GetBlob::new("a/b".parse().unwrap(), Digest::sha256(b"hello")));
        request.extensions_mut().insert(SendFile::new());
        let blob = VerifyLayer::new().layer(leaf).send(request).await.unwrap().into_reply();
        assert_eq!(blob.into_whole().unwrap().read(9).await.unwrap(), "hello");
    }
}
