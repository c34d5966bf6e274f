//! What changes operations on the way.
//!
//! A stack reads from the outside in, and the order has reasons:
//!
//! 1. [`auth`], which says who calls, and asks those to log in whom the next one refuses;
//! 2. [`authorize`], which says who may do what, by the names that clients use;
//! 3. [`limit`], which says how much each may ask for; what was refused above it doesn't count;
//! 4. the wave layer (of [`wave`](crate::wave)), outside the router, since it gives a token's name its registry and
//!    its plan;
//! 5. [`route`], which says which upstream a name means, and maps names;
//! 6. [`credential`], which says with whose credentials the upstream is asked, so that everything below can keep what
//!    one caller may see apart from what another may;
//! 7. [`rewrite`], which derives documents from what the layers below deliver, never from anything unverified;
//! 8. [`cache`], which keeps what comes from below, apart for each who may see it;
//! 9. [`breaker`], which leaves an upstream alone that is out of order; the cache has one under it by default, since it
//!    alone has something to serve meanwhile;
//! 10. [`verify`], next to a leaf of the embedder's own; the leaf of [`client`](crate::client) verifies by itself.

pub mod auth;
pub mod authorize;
pub mod breaker;
pub mod cache;
pub mod credential;
pub mod limit;
pub mod rewrite;
pub mod route;
pub mod trace;
pub mod verify;
