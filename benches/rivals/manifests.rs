//! Goals 5, 6, 9 and 11: manifests.

use super::Scale;
use super::load::Client;
use super::origin::{Origin, REPOSITORY};
use super::ours::REWRITTEN;
use super::report::{median, tell};
use super::rivals::Rivals;
use super::servers::Server;
use bytes::Bytes;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;

const CONNECTIONS: usize = 4;

/// Requests in a second, and microseconds of the server's CPU for one.
#[derive(Clone, Copy, Debug)]
struct Rate {
    rate: f64,
    cpu: f64,
}

pub(crate) fn run(scale: Scale, origin: &Origin, rivals: &Rivals) {
    let digest = Digest::sha256(&origin.manifest);
    let by_digest = format!("/v2/{REPOSITORY}/manifests/{digest}");
    let rewritten = format!("/v2/{REPOSITORY}/manifests/{REWRITTEN}");
    origin.document(&rewritten, MediaType::OCI_MANIFEST.as_str(), &origin.manifest);
    println!("\na manifest of {} bytes, warm, {CONNECTIONS} connections", origin.manifest.len());
    let paths = [
        ("ours, by digest", Some(&rivals.ours), by_digest.as_str(), 1),
        ("ours, rewritten, by tag", Some(&rivals.ours), rewritten.as_str(), 1),
        ("hyper alone, fixed bytes", Some(&rivals.hyper), "/", 1),
        ("nginx, a static file", rivals.nginx.as_ref(), "/static/manifest", 1),
        ("docker-registry", rivals.registry.as_ref(), by_digest.as_str(), 20),
        ("docker-registry as a proxy", rivals.proxy.as_ref(), by_digest.as_str(), 20),
    ];
    let mut found: Vec<Vec<Rate>> = vec![Vec::new(); paths.len()];
    for round in 0..scale.rounds {
        for ((what, server, path, share), found) in paths.iter().zip(&mut found) {
            let Some(server) = server else { continue };
            let rate = measure(server, path, scale.requests / share);
            println!(
                "round {}: {what:<28} {:>8.0}/s, {:>7.1} us of CPU each",
                round + 1,
                rate.rate,
                rate.cpu
            );
            found.push(rate);
        }
    }
    let [ours, rewritten, hyper, nginx, registry] = [0, 1, 2, 3, 4].map(|index| &found[index]);
    let ratio = |one: &[Rate], other: &[Rate], of: fn(&Rate) -> f64| {
        median(one.iter().zip(other).map(|(one, other)| of(one) / of(other)).collect())
    };
    if !nginx.is_empty() {
        tell(
            "5",
            "rate against an nginx static file",
            ratio(ours, nginx, |rate| rate.rate),
            1.0,
            " x",
            false,
        );
    }
    tell(
        "5",
        "CPU for a warm manifest",
        median(ours.iter().map(|rate| rate.cpu).collect()),
        15.0,
        " us",
        true,
    );
    let against = |other: &[Rate]| ratio(ours, other, |rate| rate.cpu);
    println!(
        "          CPU against hyper alone: {:.2} x, against nginx: {:.2} x",
        against(hyper),
        against(nginx)
    );
    if !registry.is_empty() {
        tell("5", "rate against docker-registry", ratio(ours, registry, |rate| rate.rate), 40.0, " x", false);
        println!(
            "          the rate of nginx's static file against it: {:.2} x",
            ratio(nginx, registry, |rate| rate.rate)
        );
    }
    tell("6", "CPU of a rewritten manifest by tag", ratio(rewritten, ours, |rate| rate.cpu), 1.3, " x", true);
}

fn measure(server: &Server, path: &str, requests: usize) -> Rate {
    let each = (requests / CONNECTIONS).max(1);
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::connect(server.address)).collect();
    for client in &mut clients {
        assert_eq!(client.get(path).status, 200, "{} {path}", server.name);
    }
    let (cpu, wall) = server.cost(|| {
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(move || {
                    for _ in 0..each {
                        assert_eq!(client.get(path).status, 200);
                    }
                });
            }
        });
    });
    let requests = (each * CONNECTIONS) as f64;
    Rate { rate: requests / wall, cpu: cpu * 1e6 / requests }
}

/// What the stack adds to the upstream's own answer for something that isn't cached.
pub(crate) fn added_latency(scale: Scale, origin: &Origin, rivals: &Rivals) {
    let count = (scale.requests / 20).clamp(20, 3000);
    let addresses =
        [Some(origin.address), Some(rivals.ours.address), rivals.nginx.as_ref().map(|nginx| nginx.address)];
    let mut clients = addresses.map(|address| address.map(Client::connect));
    let mut times: [Vec<f64>; 3] = Default::default();
    for number in 0..count {
        let content = Bytes::from(format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[],"annotations":{{"n":"{number}"}}}}"#,
            MediaType::OCI_INDEX
        ));
        let path = format!("/v2/{REPOSITORY}/manifests/{}", Digest::sha256(&content));
        origin.document(&path, MediaType::OCI_INDEX.as_str(), &content);
        for (client, times) in clients.iter_mut().zip(&mut times) {
            let Some(client) = client else { continue };
            let answer = client.get(&path);
            assert_eq!(answer.status, 200);
            times.push(answer.total.as_secs_f64() * 1e6);
        }
    }
    let mut at = |part: f64| {
        times.each_mut().map(|times| {
            times.sort_by(f64::total_cmp);
            times.get((times.len().saturating_sub(1) as f64 * part) as usize).copied().unwrap_or(f64::NAN)
        })
    };
    let ([direct, ours, nginx], [direct_99, ours_99, nginx_99]) = (at(0.5), at(0.99));
    println!(
        "{count} cold manifests, one after the other; the upstream itself takes {direct:.0} us, p99 {direct_99:.0} us"
    );
    tell("9", "added at the median", ours - direct, 150.0, " us", true);
    tell("9", "added at the 99th percentile", ours_99 - direct_99, 1000.0, " us", true);
    println!(
        "          nginx, which verifies nothing, adds {:.0} us, p99 {:.0} us",
        nginx - direct,
        nginx_99 - direct_99
    );
}
