//! The run that removes what nobody needs.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tower_oci::hosted::{Collect, Collected};
use tower_oci::rt::Tasks;

use super::settings::Settings;
use super::units::Size;
use super::{Failure, say};

/// How often it says how far it is.
const EVERY: Duration = Duration::from_secs(1);

/// Collects in the directory, and says what came of it.
pub(crate) async fn run(settings: &Settings) -> Result<(), Failure> {
    let directory = settings.data.as_deref().ok_or("--data says where to collect")?;
    // An empty registry would be made where a name is mistyped.
    if !directory.join("index.redb").is_file() {
        return Err(format!("there is no registry in {}", directory.display()).into());
    }
    let tasks = Tasks::new();
    let registry = settings.open_directory(&tasks).await?;
    let before = registry.usage().await?;
    let told = Mutex::new(None);
    let all = before.blobs;
    let collect =
        Collect::new().dry_run(settings.dry_run).untagged(settings.untagged).grace(settings.grace).progress(
            move |done| {
                let Ok(mut told) = told.lock() else { return };
                if told.is_none_or(|at: Instant| at.elapsed() >= EVERY) {
                    *told = Some(Instant::now());
                    eprintln!("collecting: {} of {all} blobs looked at, {}", done.checked, found(done));
                }
            },
        );
    let done = registry.collect(collect).await?;
    let left = registry.usage().await?;
    let verb = if settings.dry_run { "would remove" } else { "removed" };
    say(&format!("{verb} {}", found(&done)));
    say(&format!("kept: {} blobs, {}", left.blobs, Size::new(left.bytes)));
    tasks.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// What there is to remove, for a person.
fn found(done: &Collected) -> String {
    format!(
        "{blobs} blobs ({bytes}), {manifests} manifests, {links} names of blobs, {uploads} uploads",
        blobs = done.blobs,
        bytes = Size::new(done.bytes),
        manifests = done.manifests,
        links = done.links,
        uploads = done.uploads,
    )
}
