use crate::error::{Error, ErrorKind};
use crate::operation::{Operation, Referrers, Reply, Response};
use crate::spec::digest::Digest;
use crate::spec::name::{Reference, Repository};

/// How what isn't there is answered to one operation, whether it isn't there or is hidden: in one wording, since inner
/// services differ in theirs.
pub(super) enum Absence {
    Manifest(Repository, Reference),
    Blob(Repository, Digest),
    Tags(Repository),
    /// An empty list, since a registry with the referrers API never answers `404` here.
    Referrers {
        filtered: bool,
    },
}

impl Absence {
    /// None for a write that makes what isn't there.
    pub(super) fn of(operation: &Operation) -> Option<Self> {
        let manifest = |repository: &Repository, reference: &Reference| {
            Self::Manifest(repository.clone(), reference.clone())
        };
        match operation {
            Operation::GetManifest(get) => Some(manifest(&get.repository, &get.reference)),
            Operation::DeleteManifest(delete) => Some(manifest(&delete.repository, &delete.reference)),
            Operation::GetBlob(get) => Some(Self::Blob(get.repository.clone(), get.digest)),
            Operation::DeleteBlob(delete) => Some(Self::Blob(delete.repository.clone(), delete.digest)),
            Operation::ListTags(list) => Some(Self::Tags(list.repository.clone())),
            Operation::ListReferrers(list) => {
                Some(Self::Referrers { filtered: list.artifact_type.is_some() })
            }
            Operation::Ping(_)
            | Operation::PutManifest(_)
            | Operation::StartUpload(_)
            | Operation::UploadChunk(_)
            | Operation::FinishUpload(_)
            | Operation::UploadStatus(_)
            | Operation::CancelUpload(_)
            | Operation::ListRepositories(_) => None,
        }
    }

    /// The answer to what isn't there.
    pub(super) fn answer(self) -> Result<Response, Error> {
        Err(match self {
            Self::Manifest(repository, reference) => {
                Error::manifest_unknown(format!("no manifest `{reference}` in `{repository}`"))
            }
            Self::Blob(repository, digest) => {
                Error::blob_unknown(format!("no blob {digest} in `{repository}`"))
            }
            Self::Tags(repository) => Error::name_unknown(format!("no repository `{repository}`")),
            Self::Referrers { filtered } => {
                return Ok(Response::new(Referrers::new(Vec::new(), filtered, None).into()));
            }
        })
    }

    /// The inner service's answer, in these words where it says that there is nothing.
    pub(super) fn reword(self, answer: Result<Response, Error>) -> Result<Response, Error> {
        let is_absent = match &answer {
            Ok(response) => matches!(
                response.reply(),
                Reply::Referrers(Referrers { manifests, next: None, .. }) if manifests.is_empty()
            ),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if is_absent { self.answer() } else { answer }
    }
}
