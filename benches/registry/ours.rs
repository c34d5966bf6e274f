//! Our servers, each a process of its own: the edge over a registry, with nothing in between.

use tower_oci::hosted::{Hosted, Memory};

use super::serving;

pub(crate) const SYNCED: &str = "tower-oci on disk, synced";

/// What they are called, and what they are told.
pub(crate) const KINDS: [(&str, &str); 3] =
    [("tower-oci on disk", "disk"), (SYNCED, "synced"), ("tower-oci in memory", "memory")];

/// Serves a registry of a kind, in `directory`, until standard input ends.
pub(crate) fn serve(kind: &str, directory: &str) {
    match kind {
        "memory" => serving::serve(None, async { Memory::new() }),
        kind => serving::serve(None, async {
            Hosted::builder(directory).sync(kind == "synced").open().await.expect("a registry")
        }),
    }
}
