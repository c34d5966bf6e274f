//! Responses: operations' answers to HTTP and back.

mod blob;
mod decode;
mod encode;
mod facts;
mod failure;
mod lists;
mod multipart;
mod refusal;

pub use self::decode::decode;
pub use self::encode::encode;
pub(crate) use self::refusal::failure;
pub(super) use self::refusal::refuse;

#[cfg(test)]
mod tests;
