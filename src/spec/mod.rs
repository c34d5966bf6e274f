//! The specifications' vocabulary: validated values and documents, without any I/O.
//!
//! Everything that comes from outside is parsed into one of these types at the edge; inside, a repository name is a
//! [`Repository`](name::Repository) and never a `&str`.

pub mod digest;
pub mod image;
pub mod json;
pub mod media_type;
pub mod name;
pub mod page;
pub mod platform;
pub mod range;
