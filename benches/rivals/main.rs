//! The cache beside other people's proxies: the same blobs and manifests, one run.
//!
//! Each server is a process of its own: ours (this program once more, with the whole stack over a disk cache), nginx with
//! `proxy_cache`, `docker-registry` as a proxy and `docker-registry` with the image pushed to it. The origin and the
//! clients are threads here. CPU is user and system time of the serving process. What is printed are ratios within a
//! round, medians over rounds of which the rivals take turns, beside the goals of the project. Nothing is asserted: the
//! machine is shared.
//!
//! `cargo bench --all-features --bench rivals` takes some minutes; with `-- --test` all is small and done once, with
//! `-- --only blobs` (or `manifests`, `latency`, `requests`, `memory`) only that is measured. A rival that isn't installed is left out, and said
//! so. Where the system allows it, all runs in a network namespace of its own
//! with `reno`: other congestion controls blur loopback figures.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "what can't go on stops")]

mod blobs;
mod load;
mod manifests;
mod memory;
mod origin;
mod ours;
mod push;
mod report;
mod requests;
mod rivals;
mod servers;
mod serving;

use self::origin::Origin;
use self::report::enter_namespace;
use self::rivals::Rivals;
use self::servers::Scratch;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    pub(crate) blob: u64,
    /// How often a warm blob is read in a round.
    pub(crate) warm: usize,
    pub(crate) requests: usize,
    pub(crate) streams: usize,
    pub(crate) idle: usize,
}

const FULL: Scale = Scale { rounds: 5, blob: 256 << 20, warm: 4, requests: 60_000, streams: 64, idle: 1000 };
const TEST: Scale = Scale { rounds: 1, blob: 4 << 20, warm: 1, requests: 100, streams: 4, idle: 10 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve") {
        return ours::serve(&arguments[at + 1], &arguments[at + 2]);
    }
    if has("--serve-fixed") {
        return ours::serve_fixed();
    }
    if !has("--inside") && enter_namespace(&arguments) {
        return;
    }
    let scale = if has("--test") { TEST } else { FULL };
    let scratch = Scratch::new();
    let origin = Origin::start(scale);
    let rivals = Rivals::start(&scratch, &origin);
    let only =
        arguments.iter().position(|argument| argument == "--only").map(|at| arguments[at + 1].as_str());
    let wants = |part: &str| only.is_none_or(|only| only == part);
    if wants("blobs") {
        blobs::run(scale, &origin, &rivals);
    }
    if wants("manifests") {
        manifests::run(scale, &origin, &rivals);
    }
    if wants("latency") {
        manifests::added_latency(scale, &origin, &rivals);
    }
    if wants("requests") {
        requests::run(scale, &origin, &scratch);
    }
    if wants("memory") {
        memory::run(scale, &origin, &scratch);
    }
}
