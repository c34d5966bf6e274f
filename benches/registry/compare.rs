//! What the figures say.

use super::ours::SYNCED;
use super::report::{self, median};
use super::servers::Server;
use super::work::{Cost, Round};

pub(crate) const RIVAL: &str = "docker-registry";

/// The goal of the project: at least so much of the rival's rate, at most so much of its CPU for an item.
const RATE: f64 = 2.0;
const CPU: f64 = 0.5;

/// A kind of work, and where a round has what it costs.
type Kind = (&'static str, fn(&Round) -> Cost);

const KINDS: [Kind; 5] = [
    ("blob push", |round| round.blob_push),
    ("blob pull", |round| round.blob_pull),
    ("manifest push", |round| round.manifest_push),
    ("manifest pull", |round| round.manifest_pull),
    ("list of tags", |round| round.tags),
];

pub(crate) fn tell(servers: &[Server], rounds: &[Vec<Round>]) {
    let Some(rival) = servers.iter().position(|server| server.name == RIVAL) else {
        println!("nothing to compare with: {RIVAL} is not installed");
        return;
    };
    for (server, ours) in servers.iter().zip(rounds).filter(|(server, _)| server.name != RIVAL) {
        println!("\n{} against {RIVAL}", server.name);
        for (what, of) in KINDS {
            let ratio = |figure: fn(Cost) -> f64| {
                median(
                    ours.iter()
                        .zip(&rounds[rival])
                        .map(|(one, other)| figure(of(one)) / figure(of(other)))
                        .collect(),
                )
            };
            let (rate, cpu) = (ratio(|cost| cost.rate), ratio(|cost| cost.cpu));
            if server.name == SYNCED {
                // No goal: the rival syncs nothing.
                println!("          {what}: {rate:.2} x the rate, {cpu:.2} x the CPU for each");
                continue;
            }
            report::tell("6", &format!("{what}, rate"), rate, RATE, " x", false);
            report::tell("6", &format!("{what}, CPU for each"), cpu, CPU, " x", true);
        }
    }
}
