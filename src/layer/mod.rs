//! What changes operations on the way.

pub mod credential;
pub mod rewrite;
pub mod route;
pub mod trace;
pub mod verify;
