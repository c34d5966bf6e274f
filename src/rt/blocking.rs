use crate::error::Error;

/// Runs `work`, which keeps a core busy, on a thread where it holds up nothing else, and waits for it.
///
/// It is not counted by [`Tasks`](super::Tasks): whoever asked is waiting. It can't be ended either, so it must be
/// bounded in itself.
///
/// # Errors
///
/// An internal error when `work` panics or the runtime goes away.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("work on a thread of its own did not end").with_source(error))
}
