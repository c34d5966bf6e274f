use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

use crate::error::Error;
use crate::operation::BoxFuture;

/// Small values under keys, each with a moment at which it ends.
///
/// What an implementation keeps to:
///
/// - A record whose moment has come is as good as absent, whether its bytes are still there or not.
/// - A live record goes only when it is removed or replaced. A store that is full refuses new records with
///   [`Unavailable`](crate::error::ErrorKind::Unavailable); it doesn't evict live ones.
/// - What was put is seen by every later `get`, of whatever process shares the store.
///
/// Keys are chosen by the layers of this crate: printable ASCII without white space, at most 512 bytes, of the form
/// `<layer>/<rest>`. They hold no secrets: a token is hashed before it becomes a key. A value has 32 MiB at most: a
/// token's record holds the image layers that came with its request.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use std::time::{Duration, SystemTime};
/// use tower_oci::store::{MemoryRecords, Records};
///
/// let records = MemoryRecords::with_capacity(1000);
/// let expires = SystemTime::now() + Duration::from_secs(60);
/// records.put("example/1", "value".into(), expires).await?;
/// assert_eq!(records.get("example/1").await?.as_deref(), Some(&b"value"[..]));
/// assert!(records.remove("example/1").await?);
/// # Ok(()) }
/// ```
pub trait Records: fmt::Debug + Send + Sync + 'static {
    /// The value under `key`, if there is a live one.
    ///
    /// # Errors
    ///
    /// When the store is out of order. An absent record is no error.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>>;

    /// Keeps `value` under `key` until `expires`, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// When the store is full or out of order; what was under `key` before is then still there.
    fn put<'a>(&'a self, key: &'a str, value: Bytes, expires: SystemTime)
    -> BoxFuture<'a, Result<(), Error>>;

    /// Takes out what is under `key`. Answers whether there was a live record.
    ///
    /// # Errors
    ///
    /// When the store is out of order. An absent record is no error.
    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, Error>>;
}
