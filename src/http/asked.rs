use http::HeaderValue;

use crate::operation::{Conditions, Namespace, Operation, OperationKind, UploadId};
use crate::spec::digest::Digest;
use crate::spec::name::{Reference, Repository};
use crate::spec::page::Page;
use crate::spec::range::Ranges;

/// What is remembered of an operation to handle its answer, in either direction: as a server to write it, as a client
/// to read it.
///
/// It is made before the operation moves on. Locations and links are computed from it, and so from what *this* caller
/// asked, whatever name the operation goes by further inside.
///
/// ```
/// use tower_oci::http::Asked;
/// use tower_oci::operation::{ListTags, OperationKind};
///
/// let asked = Asked::of(&ListTags::new("library/busybox".parse()?).into());
/// assert_eq!(asked.kind(), OperationKind::ListTags);
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Asked {
    kind: OperationKind,
    repository: Option<Repository>,
    reference: Option<Reference>,
    digest: Option<Digest>,
    upload: Option<UploadId>,
    received: Option<u64>,
    head: bool,
    range: Option<Ranges>,
    conditions: Conditions,
    artifact_type: Option<String>,
    page: Page,
    namespace: Option<Namespace>,
}

impl Asked {
    /// What is to be remembered of `operation`.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        let mut asked = Self {
            kind: operation.kind(),
            repository: operation.repository().cloned(),
            reference: None,
            digest: None,
            upload: None,
            received: None,
            head: false,
            range: None,
            conditions: Conditions::default(),
            artifact_type: None,
            page: Page::default(),
            namespace: None,
        };
        match operation {
            Operation::Ping(_) => {}
            Operation::GetManifest(operation) => {
                asked.set_reference(&operation.reference);
                asked.head = operation.head;
                asked.conditions.clone_from(&operation.conditions);
            }
            Operation::PutManifest(operation) => {
                asked.set_reference(&operation.reference);
                // An upstream need not say what digest it has computed.
                asked.digest.get_or_insert_with(|| Digest::sha256(&operation.content));
            }
            Operation::DeleteManifest(operation) => asked.set_reference(&operation.reference),
            Operation::GetBlob(operation) => {
                asked.digest = Some(operation.digest);
                asked.head = operation.head;
                asked.range.clone_from(&operation.range);
                asked.conditions.clone_from(&operation.conditions);
            }
            Operation::DeleteBlob(operation) => asked.digest = Some(operation.digest),
            Operation::StartUpload(operation) => {
                let single = operation.single.as_ref().map(|single| single.digest);
                asked.digest = single.or(operation.mount.as_ref().map(|mount| mount.digest));
            }
            Operation::UploadChunk(operation) => {
                asked.upload = Some(operation.upload.clone());
                asked.received = operation.range.and_then(|range| range.last().checked_add(1));
            }
            Operation::FinishUpload(operation) => {
                asked.upload = Some(operation.upload.clone());
                asked.digest = Some(operation.digest);
            }
            Operation::UploadStatus(operation) => asked.upload = Some(operation.upload.clone()),
            Operation::CancelUpload(operation) => asked.upload = Some(operation.upload.clone()),
            Operation::ListTags(operation) => asked.page.clone_from(&operation.page),
            Operation::ListReferrers(operation) => {
                asked.digest = Some(operation.digest);
                asked.artifact_type.clone_from(&operation.artifact_type);
                asked.page.clone_from(&operation.page);
            }
            Operation::ListRepositories(operation) => asked.page.clone_from(&operation.page),
        }
        asked
    }

    /// The same with the `ns` of the request, which links to further pages keep.
    #[must_use]
    pub fn with_namespace(mut self, namespace: Option<Namespace>) -> Self {
        self.namespace = namespace;
        self
    }

    fn set_reference(&mut self, reference: &Reference) {
        self.digest = reference.digest().copied();
        self.reference = Some(reference.clone());
    }

    /// Which operation it was.
    #[must_use]
    pub fn kind(&self) -> OperationKind {
        self.kind
    }

    /// The repository, where the operation is about one.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }

    /// The tag or digest of a manifest.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// The digest that the content has, where that is known beforehand: it was asked for by it, or is sent with the
    /// operation.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The upload that a chunk, a status or an end is for.
    #[must_use]
    pub fn upload(&self) -> Option<&UploadId> {
        self.upload.as_ref()
    }

    /// Whether it was a `HEAD`.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.head
    }

    /// The parts of a blob that were asked for.
    #[must_use]
    pub fn range(&self) -> Option<&Ranges> {
        self.range.as_ref()
    }

    /// What the caller has already.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// The type that referrers are filtered by.
    #[must_use]
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref()
    }

    /// The part of a list that was asked for.
    #[must_use]
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// The `ns` of the request.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// How many bytes of an upload have come when its chunk is taken, where the chunk says so.
    pub(crate) fn received(&self) -> Option<u64> {
        self.received
    }

    /// The value of `Allow` when the operation itself isn't supported: the methods that read, unless it was one.
    pub(crate) fn allow(&self) -> HeaderValue {
        HeaderValue::from_static(match self.kind {
            OperationKind::PutManifest | OperationKind::DeleteManifest | OperationKind::DeleteBlob => {
                "GET, HEAD"
            }
            _ => "",
        })
    }
}
