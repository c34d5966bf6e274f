//! A line of figures now and then.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tower_oci::layer::cache::{CacheLayer, Figures};

use super::say;
use super::units::Size;

const EVERY: Duration = Duration::from_secs(60);

/// Says what the cache did: every minute when there is something new, and when a `SIGUSR1` asks. It never ends.
pub(crate) async fn report(cache: &CacheLayer) {
    let mut asked = signal(SignalKind::user_defined1()).ok();
    let mut minutes = interval(EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once.
    minutes.tick().await;
    let mut said = cache.figures();
    loop {
        let is_asked = tokio::select! {
            _ = minutes.tick() => false,
            () = next(asked.as_mut()) => true,
        };
        let figures = cache.figures();
        if is_asked || figures != said {
            say(&line(&figures));
            said = figures;
        }
    }
}

async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        // Where the signal can't be had, the minutes remain.
        None => std::future::pending().await,
    }
}

fn line(figures: &Figures) -> String {
    format!(
        "{hits} hits, {misses} misses, {collapsed} collapsed, {stale} stale, {passed} passed on; \
         {fetched} fetched, {served} served; {blobs} blobs kept, {kept}, {evicted} evicted",
        hits = figures.hits,
        misses = figures.misses,
        collapsed = figures.collapsed,
        stale = figures.stale,
        passed = figures.passed,
        fetched = Size::new(figures.bytes_fetched),
        served = Size::new(figures.bytes_served),
        blobs = figures.blobs,
        kept = Size::new(figures.bytes),
        evicted = figures.evicted,
    )
}
