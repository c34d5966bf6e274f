use std::fmt;

use crate::operation::{Access, Identity};
use crate::spec::name::Repository;

/// What a [`Policy`] says to one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// It may be done.
    Allow,
    /// It may not, and the caller may know that: `403` with `DENIED`.
    Deny,
    /// It may not, and whether there is anything isn't for the caller to know: the answer is that to what isn't there.
    ///
    /// A write that makes what isn't there (a push) can't be answered so, and is denied.
    Hide,
}

/// Who may do what.
///
/// Every closure `Fn(&Identity, Access, Option<&Repository>) -> Decision` is one; [`Rules`](super::Rules) is one made
/// of patterns. It is asked for every operation, and decides by the name alone: an answer that depended on what there
/// is would tell it.
///
/// It has to answer at once. A guard that asks somebody else is a function of
/// [`middleware::from_fn`](crate::operation::middleware::from_fn).
pub trait Policy: Send + Sync + 'static {
    /// Whether `caller` may have `access` to `repository`: [`Access::Pull`], [`Access::Push`] or [`Access::Delete`] of
    /// one, or [`Access::Catalog`] of none.
    ///
    /// An access that the policy doesn't know is to be denied: further ones may come.
    fn decide(&self, caller: &Identity, access: Access, repository: Option<&Repository>) -> Decision;
}

impl<F> Policy for F
where
    F: Fn(&Identity, Access, Option<&Repository>) -> Decision + Send + Sync + 'static,
{
    fn decide(&self, caller: &Identity, access: Access, repository: Option<&Repository>) -> Decision {
        self(caller, access, repository)
    }
}

impl fmt::Debug for dyn Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policy")
    }
}
