//! What is measured.

use std::fmt;

use tower_oci::spec::digest::Digest;

use super::image::{self, Blob};
use super::load::{Client, memory};
use super::report::median;
use super::servers::Server;
use super::{Scale, compare, list, push};

const CONNECTIONS: usize = 4;
const TAGS: &str = "bench/tags";

/// What one kind of item costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Items in a second.
    pub(crate) rate: f64,
    /// Seconds of the server's CPU for one.
    pub(crate) cpu: f64,
}

impl Cost {
    fn new((cpu, wall): (f64, f64), items: f64) -> Self {
        Self { rate: items / wall, cpu: cpu / items }
    }
}

/// What a round found of one server. The items of large blobs are GiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) blob_push: Cost,
    pub(crate) blob_pull: Cost,
    pub(crate) manifest_push: Cost,
    pub(crate) manifest_pull: Cost,
    pub(crate) tags: Cost,
    /// From a request for the blob to its first byte and to its last, in milliseconds.
    first: f64,
    last: f64,
    /// What the server has of memory, in MiB.
    memory: f64,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |cost: Cost| format!("{:.2} GiB/s, {:.2} s/GiB", cost.rate, cost.cpu);
        let each = |cost: Cost| format!("{:.0}/s, {:.0} us", cost.rate, cost.cpu * 1e6);
        write!(
            f,
            "blob push {}; pull {}, first byte {:.1} ms, last {:.0} ms; manifest push {}; pull {}; list {}; {:.0} MiB resident",
            gib(self.blob_push),
            gib(self.blob_pull),
            self.first,
            self.last,
            each(self.manifest_push),
            each(self.manifest_pull),
            each(self.tags),
            self.memory,
        )
    }
}

/// Makes the repository whose tags are listed.
pub(crate) fn prepare(scale: Scale, server: &Server) {
    let content = image::manifest(0);
    push_blobs(server, TAGS);
    parallel(server, scale.tags, |client, number| {
        push::manifest(client, TAGS, &format!("tag-{number:05}"), &content);
    });
    server.settle();
}

pub(crate) fn round(scale: Scale, number: usize, blob: &Blob, server: &Server) -> Round {
    let share = if server.name == compare::RIVAL { 10 } else { 1 };
    let (reads, lists) = ((scale.reads / share).max(1), (scale.lists / share).max(1));
    let repository = format!("bench/app{number}");
    let gib = blob.content.len() as f64 / (1_u64 << 30) as f64;

    let mut client = Client::connect(server.address);
    let blob_push = cost(server, || push::blob(&mut client, &repository, &blob.digest, &blob.content));
    let path = format!("/v2/{repository}/blobs/{}", blob.digest);
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    let blob_pull = cost(server, || {
        for _ in 0..scale.pulls {
            let answer = client.get(&path);
            assert_eq!((answer.status, answer.bytes), (200, blob.content.len() as u64), "{}", server.name);
            firsts.push(answer.first.as_secs_f64() * 1e3);
            lasts.push(answer.total.as_secs_f64() * 1e3);
        }
    });
    let resident = memory(server.process(), "VmRSS") as f64 / 1024.0;
    // So that what is in memory doesn't become more and more; docker-registry deletes nothing unless it is told that it may.
    client.send("DELETE", &path, "", &[]);

    push_blobs(server, &repository);
    let manifests: Vec<Vec<u8>> = (0..scale.manifests).map(|number| image::manifest(number + 1)).collect();
    let manifest_push = cost(server, || {
        parallel(server, scale.manifests, |client, number| {
            push::manifest(client, &repository, &format!("tag-{number}"), &manifests[number]);
        });
    });
    let manifest_pull = cost(server, || {
        parallel(server, scale.manifests * reads, |client, number| {
            let number = number % scale.manifests;
            let answer = client.get(&format!("/v2/{repository}/manifests/tag-{number}"));
            assert_eq!(
                (answer.status, answer.bytes),
                (200, manifests[number].len() as u64),
                "{}",
                server.name
            );
        });
    });
    let tags = cost(server, || {
        for _ in 0..lists {
            assert_eq!(list::tags(server.address, TAGS), scale.tags, "{}", server.name);
        }
    });
    Round {
        blob_push: Cost::new(blob_push, gib),
        blob_pull: Cost::new(blob_pull, gib * scale.pulls as f64),
        manifest_push: Cost::new(manifest_push, scale.manifests as f64),
        manifest_pull: Cost::new(manifest_pull, (scale.manifests * reads) as f64),
        tags: Cost::new(tags, lists as f64),
        first: median(firsts),
        last: median(lasts),
        memory: resident,
    }
}

/// CPU and wall. What the server does behind its last answer belongs to the CPU.
fn cost(server: &Server, work: impl FnOnce()) -> (f64, f64) {
    let mut wall = 0.0;
    let (cpu, _) = server.cost(|| {
        wall = server.cost(work).1;
        server.settle();
    });
    (cpu, wall)
}

fn push_blobs(server: &Server, repository: &str) {
    let mut client = Client::connect(server.address);
    for content in [image::CONFIG, image::LAYER] {
        push::blob(&mut client, repository, &Digest::sha256(content), content);
    }
}

/// Does `work` for each number below `count`, over several connections at once.
fn parallel(server: &Server, count: usize, work: impl Fn(&mut Client, usize) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            let work = &work;
            scope.spawn(move || {
                let mut client = Client::connect(server.address);
                (first..count).step_by(CONNECTIONS).for_each(|number| work(&mut client, number));
            });
        }
    });
}
