//! A registry that is kept beside docker-registry: pushes, pulls and lists, one run.
//!
//! Each server is a process of its own: ours (this program once more) on disk, on disk with everything synced, and in
//! memory; and `docker-registry` on its file system, which syncs nothing, so that it is to be compared with ours that doesn't
//! either. The clients are threads here. CPU is user and system time of the serving process. What is printed are ratios
//! within a round, medians over rounds of which the servers take turns, with the figures that they are made of and the
//! goals of the project. Nothing is asserted: the machine is shared.
//!
//! `cargo bench --all-features --bench registry` takes some minutes; with `-- --test` all is small and done once. Where
//! docker-registry isn't installed, that is said and ours are measured alone.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "what can't go on stops")]

mod compare;
mod image;
mod list;
#[path = "../rivals/load.rs"]
mod load;
mod ours;
#[path = "../rivals/push.rs"]
mod push;
#[path = "../rivals/report.rs"]
mod report;
#[path = "../rivals/servers.rs"]
mod servers;
#[path = "../rivals/serving.rs"]
mod serving;
mod work;

use self::report::enter_namespace;
use self::servers::{Scratch, Server};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    /// The size of a large blob, and how often it is pulled in a round.
    pub(crate) blob: usize,
    pub(crate) pulls: usize,
    /// How many manifests are pushed, and how often each is pulled from ours; from docker-registry a tenth of that.
    pub(crate) manifests: usize,
    pub(crate) reads: usize,
    /// How many tags are listed, and how often by ours; by docker-registry a tenth of that.
    pub(crate) tags: usize,
    pub(crate) lists: usize,
}

const FULL: Scale =
    Scale { rounds: 5, blob: 256 << 20, pulls: 8, manifests: 1000, reads: 20, tags: 10_000, lists: 100 };
const TEST: Scale = Scale { rounds: 1, blob: 4 << 20, pulls: 1, manifests: 20, reads: 1, tags: 50, lists: 1 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve") {
        return ours::serve(&arguments[at + 1], &arguments[at + 2]);
    }
    if !has("--inside") && enter_namespace(&arguments) {
        return;
    }
    let scale = if has("--test") { TEST } else { FULL };
    if has("--test") {
        println!("a test: what is measured is too small for its figures to mean anything");
    }
    let scratch = Scratch::new();
    let servers = start(&scratch);
    for server in &servers {
        work::prepare(scale, server);
    }
    let mut rounds: Vec<Vec<work::Round>> = vec![Vec::new(); servers.len()];
    // The first round counts for nothing: memory that the system hasn't given out before costs whoever is first.
    for round in 0..=scale.rounds {
        let blob = image::Blob::new(round as u64 + 1, scale.blob);
        for (server, found) in servers.iter().zip(&mut rounds) {
            let figures = work::round(scale, round, &blob, server);
            if round > 0 {
                println!("round {round}: {:<24} {figures}", server.name);
                found.push(figures);
            }
        }
        servers.iter().for_each(Server::forget_blobs);
    }
    compare::tell(&servers, &rounds);
}

/// Ours first, and docker-registry last where there is one.
fn start(scratch: &Scratch) -> Vec<Server> {
    let rival = servers::registry(compare::RIVAL, None, &scratch.directory("registry"));
    let ours = ours::KINDS.map(|(name, kind)| {
        let directory = scratch.directory(kind);
        servers::ours(name, &directory, ["--serve".as_ref(), kind.as_ref(), directory.as_os_str()])
    });
    ours.into_iter().chain(rival).collect()
}
