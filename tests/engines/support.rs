//! What the tests of interoperation stand on.

#[macro_use]
#[path = "../interop/support/need.rs"]
pub(crate) mod need;

#[path = "../interop/support/http.rs"]
pub(crate) mod http;
#[path = "../interop/support/image.rs"]
pub(crate) mod image;
#[path = "../interop/support/layer.rs"]
pub(crate) mod layer;
#[path = "../interop/support/process.rs"]
pub(crate) mod process;
#[path = "../interop/support/push.rs"]
pub(crate) mod push;
#[path = "../interop/support/registry.rs"]
pub(crate) mod registry;
#[path = "../interop/support/room.rs"]
pub(crate) mod room;
#[path = "../interop/support/token.rs"]
pub(crate) mod token;
