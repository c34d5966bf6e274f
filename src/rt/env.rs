//! The environment, read only when the embedder calls for it.

use std::ffi::OsString;

/// The value of the variable `name`, if it is set and not empty.
///
/// Functions whose name ends in `from_env` call this; nothing else in the crate reads the environment.
#[expect(clippy::disallowed_methods, reason = "this is the one module that may read the environment")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Like [`variable`], as text; a value that isn't UTF-8 counts as absent.
pub(crate) fn text(name: &str) -> Option<String> {
    variable(name)?.into_string().ok()
}
