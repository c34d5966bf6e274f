//! When an example that serves has to end.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for ^C or a `SIGTERM`.
pub(crate) async fn stop() {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        // Without the signal, ^C remains.
        Err(_) => return drop(tokio::signal::ctrl_c().await),
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("stopping: waiting for open requests");
}
