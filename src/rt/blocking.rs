use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::JoinHandle;

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
    Begun::new(work).await
}

/// Work like that of [`blocking`], which has begun before anybody waits for it. It goes on when this is dropped.
pub(crate) struct Begun<T>(JoinHandle<T>);

impl<T: Send + 'static> Begun<T> {
    pub(crate) fn new(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(tokio::task::spawn_blocking(work))
    }

    /// Whether it is done.
    #[cfg(feature = "disk")]
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Begun<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let done = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(
            done.map_err(|error| {
                Error::internal("work on a thread of its own did not end").with_source(error)
            }),
        )
    }
}
