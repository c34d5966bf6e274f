use std::fmt;
use std::sync::Arc;

/// Who calls, as a layer of ours found out: a fact of a request, for guards.
///
/// [`layer::auth`](crate::layer::auth) puts it into a request's extensions; so may an HTTP layer of the embedder's
/// that knows callers by a certificate or a session. A request without one is an anonymous caller's: see
/// [`Identity::of`].
///
/// ```
/// use tower_oci::operation::{Identity, Ping, Request};
///
/// let mut request = Request::new(Ping::new());
/// assert!(Identity::of(request.extensions()).is_anonymous());
/// request.extensions_mut().insert(Identity::named("ann"));
/// assert_eq!(Identity::of(request.extensions()).name(), Some("ann"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity(Option<Arc<str>>);

impl Identity {
    /// Somebody whose name was proved.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self(Some(name.into()))
    }

    /// Somebody who didn't say.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(None)
    }

    /// Who calls by these facts: anonymous, where there is no identity among them.
    #[must_use]
    pub fn of(facts: &http::Extensions) -> Self {
        facts.get().cloned().unwrap_or_else(Self::anonymous)
    }

    /// The name, unless the caller is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Whether nobody knows who it is.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "Identity({name:?})"),
            None => f.write_str("Identity(anonymous)"),
        }
    }
}
