//! Goal 11: what the upstream is asked.

use super::Scale;
use super::load::Client;
use super::origin::{Origin, REPOSITORY};
use super::report::tell;
use super::rivals::ours;
use super::servers::Scratch;
use tower_oci::spec::digest::Digest;

const CLIENTS: usize = 64;

pub(crate) fn run(scale: Scale, origin: &Origin, scratch: &Scratch) {
    println!("\nrequests to the upstream, of a server of its own");
    let server = ours(origin.address, &scratch.directory("requests"));
    let asked = |work: &dyn Fn()| {
        let before = origin.requests();
        work();
        (origin.requests() - before) as f64
    };
    let get = |path: &str| {
        let answer = Client::connect(server.address).get(path);
        assert_eq!(answer.status, 200, "{path}");
    };
    let manifest = |reference: &str| format!("/v2/{REPOSITORY}/manifests/{reference}");
    let (tag, digest) = (manifest("latest"), manifest(&Digest::sha256(&origin.manifest).to_string()));
    let blob = origin.blob(2000, scale.blob).path();
    let [mut cold, mut warm] = [const { Vec::new() }; 2];
    for (what, path, at_most) in [("tag", &tag, 2.0), ("digest", &digest, 0.0), ("blob", &blob, 1.0)] {
        cold.push((what, asked(&|| get(path)), at_most));
        warm.push((what, asked(&|| get(path)), if what == "tag" { 1.0 } else { 0.0 }));
    }
    for (what, requests, at_most) in cold {
        let what =
            if what == "digest" { "a digest that a tag has led to" } else { &format!("a cold {what}") };
        tell("11", what, requests, at_most, "", true);
    }
    for (what, requests, at_most) in warm {
        tell("11", &format!("a warm {what}"), requests, at_most, "", true);
    }
    let blob = origin.blob(2001, scale.blob).path();
    let at_once = asked(&|| {
        std::thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(|| get(&blob)))));
    });
    tell("11", &format!("{CLIENTS} identical misses"), at_once, 1.0, "", true);
}
