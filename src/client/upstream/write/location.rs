use http::header::LOCATION;
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Uri};

use super::Writes;
use super::seal::Purpose;
use crate::body::Body;
use crate::client::origin::WebOrigin;
use crate::client::upstream::Inner;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::http::Asked;
use crate::http::uri::resolve;
use crate::operation::{OperationKind, UploadId};
use crate::spec::digest::Digest;
use crate::spec::name::Repository;

/// Where a write goes.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) uri: Uri,
    pub(super) origin: WebOrigin,
    /// Whether that is the upstream itself, which alone gets credentials.
    pub(super) at_home: bool,
}

impl Destination {
    /// The same with the digest that ends an upload. What the location has of a query is the upstream's own.
    ///
    /// # Errors
    ///
    /// Never but for a location that only just is a URI.
    pub(super) fn with_digest(mut self, digest: &Digest) -> Result<Self, Error> {
        let path = self.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let separator = match path.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        let malformed = || Error::bad_gateway("the location of the upload makes no URL with a digest");
        let path = format!("{path}{separator}digest={digest}").parse().map_err(|_| malformed())?;
        let mut parts = self.uri.into_parts();
        parts.path_and_query = Some(path);
        self.uri = Uri::from_parts(parts).map_err(|_| malformed())?;
        Ok(self)
    }

    /// As it is sealed: without the origin where that is the upstream's.
    fn location(&self) -> String {
        match self.uri.path_and_query() {
            Some(path) if self.at_home => path.as_str().to_owned(),
            _ => self.uri.to_string(),
        }
    }
}

impl Inner {
    /// Where an operation goes whose path the specification says.
    pub(super) fn at_home(&self, path: &PathAndQuery) -> Result<Destination, Error> {
        Ok(Destination { uri: self.uri(path)?, origin: self.origin.clone(), at_home: true })
    }

    /// Where the upload `id` of `repository` goes on.
    ///
    /// # Errors
    ///
    /// One and the same for all identities that aren't ours, aren't for this upstream and repository, or have expired.
    pub(super) fn opened(
        &self,
        writes: &Writes,
        repository: &Repository,
        id: &UploadId,
    ) -> Result<Destination, Error> {
        let unknown = || {
            let message = format!("no such upload is open in `{repository}` of {}", self.origin);
            Error::new(ErrorKind::NotFound, ErrorCode::BlobUploadUnknown, message)
        };
        let purpose = Purpose { upstream: &self.host, repository };
        let location = writes.seal.open(purpose, id, writes.clock.now()).ok_or_else(unknown)?;
        if location.starts_with('/') {
            return self.at_home(&location.parse().map_err(|_| unknown())?);
        }
        let uri: Uri = location.parse().map_err(|_| unknown())?;
        // It was allowed where it was sealed; the settings of this instance may be others.
        let origin =
            WebOrigin::of(&uri).filter(|origin| writes.hosts.contains(origin)).ok_or_else(unknown)?;
        Ok(Destination { uri, origin, at_home: false })
    }

    /// Puts an identity of ours in the place of the upstream's `Location` of an open upload, in the answer to what went
    /// to `to`.
    ///
    /// # Errors
    ///
    /// When the location is one that we may not go to, or too long.
    pub(super) fn relocate(
        &self,
        writes: &Writes,
        asked: &Asked,
        to: &Destination,
        response: &mut http::Response<Body>,
    ) -> Result<(), Error> {
        let is_open = match asked.kind() {
            OperationKind::StartUpload => response.status() == StatusCode::ACCEPTED,
            OperationKind::UploadChunk | OperationKind::UploadStatus => response.status().is_success(),
            _ => false,
        };
        let Some(repository) = asked.repository().filter(|_| is_open) else { return Ok(()) };
        let next = match (response.headers().get(LOCATION), asked.upload()) {
            (Some(location), _) => self.next(writes, to, location)?,
            // An upload that says nothing stays where it is, for another day.
            (None, Some(_)) => to.clone(),
            // That there is none at all is the codec's to say.
            (None, None) => return Ok(()),
        };
        let purpose = Purpose { upstream: &self.host, repository };
        let id = writes.seal.close(purpose, &next.location(), writes.clock.now());
        let id = id.map_err(|error| error.context(&self.origin))?;
        let location = HeaderValue::try_from(format!("/v2/{repository}/blobs/uploads/{id}"));
        let location =
            location.map_err(|error| Error::internal("an upload makes no header").with_source(error))?;
        response.headers_mut().insert(LOCATION, location);
        Ok(())
    }

    /// Where `location` leads, in an answer from `to`. It isn't shown: it may be a credential.
    fn next(&self, writes: &Writes, to: &Destination, location: &HeaderValue) -> Result<Destination, Error> {
        let wrong = |what: &str| Error::bad_gateway(format!("{} opens an upload at {what}", to.origin));
        let location = location.to_str().map_err(|_| wrong("what is no URL"))?;
        let uri = resolve(&to.uri, location).map_err(|_| wrong("what is no URL"))?;
        let origin = WebOrigin::of(&uri).ok_or_else(|| wrong("what is no URL of http or https"))?;
        // What has left the upstream gets no credentials, not even where it comes back: somebody else chose the URL.
        if to.at_home && origin == self.origin {
            return Ok(Destination { uri, origin, at_home: true });
        }
        if writes.hosts.contains(&origin) {
            return Ok(Destination { uri, origin, at_home: false });
        }
        Err(wrong(&format!("{origin}, which is another origin and not configured for its uploads")))
    }
}
