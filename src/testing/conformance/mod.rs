//! The suite for registries: what the distribution specification says, seen from outside, over HTTP.
//!
//! It has a case for every MUST, SHOULD and MAY that a client can see, in the order of the specification's sections, and
//! some for what HTTP itself asks for. Each case works in a repository of its own, whose name no other run has.
//!
//! What a registry doesn't offer is said with [`Target::without`]: then the suite checks that it refuses that properly,
//! where the specification says how. What isn't said counts as offered, optional or not.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::hosted::Memory;
//! use tower_oci::http::OciService;
//! use tower_oci::testing::conformance::{self, Feature, Target};
//! use tower_oci::testing::serve;
//!
//! let served = serve(OciService::new(Memory::new()))?;
//! let target = Target::new(served.url("")).without([Feature::MountWithoutFrom, Feature::Catalog]);
//! let report = conformance::run(&target).await?;
//! println!("{report}");
//! report.check();
//! # Ok(()) }
//! ```

mod answer;
mod case;
mod catalog;
mod chunks;
mod deletes;
mod errors;
mod exists;
mod fixtures;
mod mount;
mod pull_blobs;
mod pull_manifests;
mod push_blobs;
mod push_manifests;
mod push_tags;
mod ranges;
mod referrer;
mod referrers;
mod report;
mod site;
mod subject;
mod support;
mod tags;
mod target;

pub use self::case::Level;
pub use self::report::{Counts, Outcome, Report, Verdict};
pub use self::target::{Feature, Target};

use self::case::{Group, Stop};
use self::site::Site;
use crate::error::Error;

/// All cases, in the order of the specification.
const GROUPS: [Group; 18] = [
    pull_manifests::GROUP,
    pull_blobs::GROUP,
    ranges::GROUP,
    exists::GROUP,
    push_blobs::GROUP,
    chunks::GROUP,
    mount::GROUP,
    push_manifests::GROUP,
    push_tags::GROUP,
    subject::GROUP,
    tags::GROUP,
    referrers::GROUP,
    deletes::TAGS,
    deletes::MANIFESTS,
    deletes::BLOBS,
    support::GROUP,
    errors::GROUP,
    catalog::GROUP,
];

/// Runs all cases against `target`, one after the other.
///
/// It needs a tokio runtime with I/O and time. A request that isn't answered within a minute fails its case.
///
/// # Errors
///
/// When the target's URL isn't an absolute one, or nothing can be connected with. What the registry does wrong is in the
/// report.
pub async fn run(target: &Target) -> Result<Report, Error> {
    let mut report = Report::default();
    let site = Site::new(target)?;
    for (number, group) in GROUPS.iter().enumerate() {
        for (index, case) in group.cases.iter().enumerate() {
            let site = site.named(&format!("case-{}.{}", number + 1, index + 1));
            let verdict = match case.applies(target) {
                Ok(()) => (case.run)(&site).await,
                Err(why) => Err(why),
            };
            let verdict = match verdict {
                Ok(()) => Verdict::Passed,
                Err(Stop::Failed(why)) => Verdict::Failed(why),
                Err(Stop::NotApplicable(why)) => Verdict::NotApplicable(why),
            };
            report.push(Outcome {
                section: group.section,
                level: case.level,
                sentence: case.sentence,
                verdict,
            });
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
