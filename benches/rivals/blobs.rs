//! Goals 2, 3, 4 and the blobs' half of 9: large blobs, cold and warm; the first byte.

use std::time::{Duration, Instant};

use super::Scale;
use super::load::Client;
use super::origin::{Blob, Origin};
use super::report::{median, tell};
use super::rivals::{PROXY, Rivals};
use super::servers::Server;

const GIB: f64 = (1_u64 << 30) as f64;

/// What a round found of one server.
#[derive(Clone, Copy, Debug)]
struct Round {
    cold_cpu: f64,
    /// Until the client has it.
    cold_wall: f64,
    /// Until it is kept, too.
    kept_wall: f64,
    warm_cpu: f64,
    warm_wall: f64,
}

pub(crate) fn run(scale: Scale, origin: &Origin, rivals: &Rivals) {
    println!("\nlarge blobs of {} MiB, one client; CPU and wall in seconds for a GiB", scale.blob >> 20);
    let servers: Vec<&Server> =
        [Some(&rivals.ours), rivals.nginx.as_ref(), rivals.proxy.as_ref()].into_iter().flatten().collect();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); servers.len()];
    for round in 0..=scale.rounds {
        let blob = origin.blob(round as u64 + 1, scale.blob);
        if round == 0 {
            // Memory that the system hasn't given out before costs whoever is first.
            for server in &servers {
                let _ = measure(server, blob, scale);
            }
            servers.iter().for_each(|server| server.forget_blobs());
            continue;
        }
        for (index, server) in servers.iter().enumerate() {
            let found = measure(server, blob, scale);
            println!(
                "round {round}: {:<26} cold {:.2} CPU, {:.2} wall, {:.2} until kept; warm {:.2} CPU, {:.2} wall",
                server.name,
                found.cold_cpu,
                found.cold_wall,
                found.kept_wall,
                found.warm_cpu,
                found.warm_wall
            );
            rounds[index].push(found);
        }
        servers.iter().for_each(|server| server.forget_blobs());
    }
    let ratio = |rival: &str, of: fn(&Round) -> f64| {
        let rival = servers.iter().position(|server| server.name == rival)?;
        let ratios = rounds[0].iter().zip(&rounds[rival]).map(|(ours, theirs)| of(ours) / of(theirs));
        Some(median(ratios.collect()))
    };
    let compare = |goal: &str, what: &str, rival: &str, of: fn(&Round) -> f64, limit: f64| {
        if let Some(ratio) = ratio(rival, of) {
            tell(goal, what, ratio, limit, " x", true);
        }
    };
    compare("2", "warm blob, CPU against nginx's sendfile", "nginx", |round| round.warm_cpu, 2.0);
    compare("2", "warm blob, CPU against docker-registry", PROXY, |round| round.warm_cpu, 0.4);
    compare("3", "cold blob, CPU against docker-registry", PROXY, |round| round.cold_cpu, 0.45);
    compare("3", "cold blob, wall until kept against docker-registry", PROXY, |round| round.kept_wall, 0.5);
    if let Some(ratio) = ratio(PROXY, |round| round.cold_wall) {
        println!(
            "          cold blob, wall until served, which docker-registry does unverified: {ratio:.2} x"
        );
    }
    if let Some(ratio) = ratio("nginx", |round| round.cold_cpu) {
        println!("          cold blob, CPU against nginx, which verifies nothing: {ratio:.2} x");
    }
    let fill = median(rounds[0].iter().map(|round| round.cold_cpu).collect());
    shared(scale, origin, &rivals.ours, fill);
    first_bytes(scale, origin, rivals);
}

fn measure(server: &Server, blob: Blob, scale: Scale) -> Round {
    let fetch = || {
        let answer = Client::connect(server.address).get(&blob.path());
        assert_eq!((answer.status, answer.bytes), (200, blob.size), "{}", server.name);
    };
    let per_gib = |seconds: f64, times: usize| seconds * GIB / (blob.size as f64 * times as f64);
    // What happens behind the last byte belongs to it: docker-registry keeps the blob then.
    let (mut cold_wall, mut kept_wall) = (0.0, 0.0);
    let (cold_cpu, _) = server.cost(|| {
        let start = Instant::now();
        fetch();
        cold_wall = start.elapsed().as_secs_f64();
        if server.name == PROXY {
            wait_until_kept(server, blob);
        }
        kept_wall = start.elapsed().as_secs_f64();
        server.settle();
    });
    let (warm_cpu, warm_wall) = server.cost(|| (0..scale.warm).for_each(|_| fetch()));
    Round {
        cold_cpu: per_gib(cold_cpu, 1),
        cold_wall: per_gib(cold_wall, 1),
        kept_wall: per_gib(kept_wall, 1),
        warm_cpu: per_gib(warm_cpu, scale.warm),
        warm_wall: per_gib(warm_wall, scale.warm),
    }
}

/// Waits until docker-registry has kept the blob, at most two minutes.
fn wait_until_kept(proxy: &Server, blob: Blob) {
    let (hex, deadline) = (blob.digest.hex(), Instant::now() + Duration::from_secs(120));
    let blobs = proxy.directory.join("storage/docker/registry/v2/blobs/sha256");
    let file = blobs.join(&hex[..2]).join(&hex).join("data");
    while !file.exists() {
        assert!(Instant::now() < deadline, "{} doesn't keep {}", proxy.name, blob.digest);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Many clients, one cold blob; then the same clients and the blob warm.
fn shared(scale: Scale, origin: &Origin, ours: &Server, fill: f64) {
    const CLIENTS: usize = 64;
    let mut ratios = Vec::new();
    for round in 0..scale.rounds as u64 {
        let blob = origin.blob(1000 + round, scale.blob);
        let before = origin.blob_gets();
        let fetch = || {
            std::thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    scope.spawn(|| {
                        let answer = Client::connect(ours.address).get(&blob.path());
                        assert_eq!((answer.status, answer.bytes), (200, blob.size));
                    });
                }
            });
        };
        let (cold, warm) = (ours.cost(fetch).0, ours.cost(fetch).0);
        let gets = origin.blob_gets() - before;
        tell("4", "upstream requests for 64 clients and one cold blob", gets as f64, 1.0, "", true);
        let expected = fill * blob.size as f64 / GIB + warm * (CLIENTS - 1) as f64 / CLIENTS as f64;
        ratios.push(cold / expected);
        ours.forget_blobs();
    }
    tell("4", "CPU against one fill and 63 warm deliveries at once", median(ratios), 1.1, " x", true);
}

/// The first byte of a body of 1 MiB, cold, against nginx and against the origin itself.
fn first_bytes(scale: Scale, origin: &Origin, rivals: &Rivals) {
    let rounds = (scale.requests / 100).clamp(5, 100);
    let mut firsts: [Vec<f64>; 3] = Default::default();
    let addresses =
        [Some(rivals.ours.address), rivals.nginx.as_ref().map(|nginx| nginx.address), Some(origin.address)];
    let mut clients = addresses.map(|address| address.map(Client::connect));
    for round in 0..rounds {
        let blob = origin.blob(10_000 + round as u64, 1 << 20);
        for (client, firsts) in clients.iter_mut().zip(&mut firsts) {
            let Some(client) = client else { continue };
            let answer = client.get(&blob.path());
            assert_eq!((answer.status, answer.bytes), (200, blob.size));
            firsts.push(answer.first.as_secs_f64() * 1000.0);
        }
    }
    let [ours, nginx, direct] = firsts.map(median);
    tell("3", "first byte of a cold blob behind the upstream's", ours - direct, 2.0, " ms", true);
    if nginx.is_finite() {
        tell("9", "first byte of a cold 1 MiB body against nginx", ours / nginx, 1.6, " x", true);
    }
}
