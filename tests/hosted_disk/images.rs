//! Small images that overlap, and what a client does with them.

use bytes::Bytes;
use tower_oci::error::{Error, ErrorCode};
use tower_oci::hosted::Hosted;
use tower_oci::operation::{
    Call, DeleteManifest, GetBlob, GetManifest, PutManifest, Registry as _, Request, SingleUpload,
    StartUpload,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::name::{Repository, Tag};

/// Image `number`: a config of its own, a layer that it has in common with others, and one of its own.
pub(crate) struct Image {
    pub(crate) repository: Repository,
    pub(crate) tag: Tag,
    pub(crate) blobs: Vec<Bytes>,
    pub(crate) manifest: Bytes,
    pub(crate) digest: Digest,
}

impl Image {
    pub(crate) fn new(number: usize) -> Self {
        let config = format!(r#"{{"number":{number}}}"#);
        let shared = format!("shared {}", number % 5).repeat(500);
        // None, some, and now and then more than is kept in memory before it is written.
        let own = format!("own {number}").repeat(if number % 40 == 7 { 50_000 } else { 500 * (number % 3) });
        let blobs = [config, shared, own].map(Bytes::from).to_vec();
        let descriptor = |media_type: &str, content: &Bytes| {
            let (digest, size) = (Digest::sha256(content), content.len());
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{},{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", &blobs[0]),
            descriptor("application/vnd.oci.image.layer.v1.tar", &blobs[1]),
            descriptor("application/vnd.oci.image.layer.v1.tar", &blobs[2]),
        );
        Self {
            repository: format!("r{}", number % 3).parse().unwrap(),
            tag: format!("t{number}").parse().unwrap(),
            blobs,
            digest: Digest::sha256(manifest.as_bytes()),
            manifest: manifest.into(),
        }
    }

    /// Pushes it, and once more what a collection takes away meanwhile.
    pub(crate) async fn push(&self, hosted: &Hosted) {
        for _ in 0..1000 {
            for blob in &self.blobs {
                let mut start = StartUpload::new(self.repository.clone());
                let (digest, size) = (Digest::sha256(blob), Some(blob.len() as u64));
                start.single = Some(SingleUpload::new(digest, size, blob.clone().into()));
                send(hosted, start).await.unwrap();
            }
            let (reference, content) = (self.tag.clone().into(), self.manifest.clone());
            let put = PutManifest::new(self.repository.clone(), reference, MediaType::OCI_MANIFEST, content);
            match send(hosted, put).await {
                Ok(created) => return assert_eq!(created.digest, self.digest),
                Err(error) => assert_eq!(error.code(), ErrorCode::ManifestBlobUnknown, "{error}"),
            }
        }
        panic!("image {} was never taken", self.tag);
    }

    pub(crate) async fn delete(&self, hosted: &Hosted) -> Result<(), Error> {
        send(hosted, DeleteManifest::new(self.repository.clone(), self.digest.into())).await.map(drop)
    }

    /// Whether it is there, by its tag.
    pub(crate) async fn is_there(&self, hosted: &Hosted) -> bool {
        match send(hosted, GetManifest::new(self.repository.clone(), self.tag.clone().into())).await {
            Ok(found) => {
                let found = found.full().unwrap();
                assert_eq!((found.digest, found.content.as_ref()), (self.digest, Some(&self.manifest)));
                true
            }
            Err(error) => {
                assert_eq!(error.status().as_u16(), 404, "{error}");
                false
            }
        }
    }

    /// Reads all of it. Answers whether it is there, whole.
    pub(crate) async fn pull(&self, hosted: &Hosted) -> bool {
        if !self.is_there(hosted).await {
            return false;
        }
        for content in &self.blobs {
            let get = GetBlob::new(self.repository.clone(), Digest::sha256(content));
            match send(hosted, get).await {
                Ok(blob) => assert!(blob.into_whole().unwrap().read(1 << 20).await.unwrap() == *content),
                Err(error) => {
                    assert_eq!(error.code(), ErrorCode::BlobUnknown, "{error}");
                    assert!(!self.is_there(hosted).await, "{} is there without {error}", self.tag);
                    return false;
                }
            }
        }
        true
    }
}

pub(crate) async fn send<O: Call>(hosted: &Hosted, operation: O) -> Result<O::Reply, Error> {
    hosted.send(Request::new(operation)).await.map(|response| response.into_reply())
}
