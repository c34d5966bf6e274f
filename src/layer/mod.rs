//! What changes operations on the way.
//!
//! A stack reads from the outside in, and the order has reasons:
//!
//! 1. the wave layer (of [`wave`](crate::wave)), outermost, since it gives a token's name its registry and its plan;
//! 2. [`route`], which says which upstream a name means, and maps names;
//! 3. [`credential`], which says with whose credentials the upstream is asked, so that everything below can keep what
//!    one caller may see apart from what another may;
//! 4. [`rewrite`], which derives documents from what the layers below deliver, never from anything unverified;
//! 5. [`cache`], which keeps what comes from below, apart for each who may see it;
//! 6. [`verify`], next to a leaf of the embedder's own; the leaf of [`client`](crate::client) verifies by itself.

pub mod cache;
pub mod credential;
pub mod rewrite;
pub mod route;
pub mod trace;
pub mod verify;
