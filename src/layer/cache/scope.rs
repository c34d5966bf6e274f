use http::Extensions;

use crate::operation::{CredentialId, UpstreamId};
use crate::spec::name::Repository;

/// A repository of an upstream: what content belongs to.
///
/// Without a router above there is one upstream, which has no name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Scope {
    pub(super) upstream: Option<UpstreamId>,
    pub(super) repository: Repository,
}

/// Who asks for something of a repository. Where nobody says with whose credentials, all callers are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Reader {
    pub(super) scope: Scope,
    pub(super) credential: Option<CredentialId>,
}

impl Reader {
    pub(super) fn new(facts: &Extensions, repository: &Repository) -> Self {
        let upstream = facts.get::<UpstreamId>().cloned();
        let scope = Scope { upstream, repository: repository.clone() };
        Self { scope, credential: facts.get::<CredentialId>().copied() }
    }
}
