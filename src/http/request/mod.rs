//! Requests: HTTP to operations and back.
//!
//! Paths are read raw: a name has no escapes, so that `..`, `%2f` and `//` reach nobody. Query values are decoded.
//! `decode(encode(operation))` is the same operation again, but for the things that [`encode`] names.

mod decode;
mod encode;
mod path;
pub(super) mod query;

pub use self::decode::decode;
pub use self::encode::encode;
pub(super) use self::path::Route;

#[cfg(test)]
mod tests;
