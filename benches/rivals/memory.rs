//! Goal 10: what the server takes of memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Scale;
use super::load::{Client, memory};
use super::origin::Origin;
use super::report::tell;
use super::rivals::ours;
use super::servers::{Scratch, Server};

pub(crate) fn run(scale: Scale, origin: &Origin, scratch: &Scratch) {
    println!("\nmemory, in a server of its own");
    let server = ours(origin.address, &scratch.directory("memory"));
    let mib = |kib: u64| kib as f64 / 1024.0;
    assert_eq!(Client::connect(server.address).get("/v2/").status, 200);
    tell("10", "resident at rest", mib(memory(server.process(), "VmRSS")), 12.0, " MiB", true);

    let rest = memory(server.process(), "RssAnon");
    let blob = origin.blob(500, scale.blob * 4);
    for what in ["cold", "warm"] {
        let peak = peak(&server, || {
            std::thread::scope(|scope| {
                for _ in 0..scale.streams {
                    scope.spawn(|| {
                        let answer = Client::connect(server.address).get(&blob.path());
                        assert_eq!((answer.status, answer.bytes), (200, blob.size));
                    });
                }
            });
        });
        let what =
            format!("anonymous memory under {} pulls of {} MiB, {what}", scale.streams, blob.size >> 20);
        tell("10", &what, mib(peak), 64.0, " MiB", true);
        let each = peak.saturating_sub(rest) as f64 / scale.streams as f64;
        tell("10", "for each of these streams", each, 256.0, " KiB", true);
    }

    let server = ours(origin.address, &scratch.directory("idle"));
    let mut idle: Vec<Client> = (0..scale.idle).map(|_| Client::connect(server.address)).collect();
    for client in &mut idle {
        let (status, length, _) = client.head("GET", &blob.path(), "", &[]);
        assert_eq!((status, length), (200, blob.size));
    }
    std::thread::sleep(Duration::from_secs(1));
    let what = format!("resident with {} streams that nobody reads", scale.idle);
    tell("10", &what, mib(memory(server.process(), "RssAnon")), 64.0, " MiB", true);
}

/// The most anonymous memory, in KiB, while `work` runs.
fn peak(server: &Server, work: impl FnOnce()) -> u64 {
    let (is_over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(memory(server.process(), "RssAnon"), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        work();
        is_over.store(true, Ordering::Relaxed);
    });
    peak.into_inner()
}
