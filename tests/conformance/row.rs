//! A row of the matrix: a registry on a socket, and how it has to do.

use tower_oci::http::OciService;
use tower_oci::operation::Registry;
use tower_oci::testing::conformance::{self, Feature, Target};
use tower_oci::testing::{Served, serve};

/// What a registry of this crate doesn't offer unless it is told to.
pub(crate) const BY_DEFAULT: [Feature; 2] = [Feature::MountWithoutFrom, Feature::Catalog];

/// A registry on a port of its own.
pub(crate) fn on_a_socket(registry: impl Registry) -> Served {
    serve(OciService::new(registry)).unwrap()
}

/// Runs the suite: nothing may fail, and this many cases have to hold.
pub(crate) async fn passes(row: &str, expected: usize, target: Target) {
    let report = conformance::run(&target).await.unwrap();
    println!("{row}\n{report}\n");
    report.check();
    assert_eq!(report.counts().passed, expected, "{row}: {}", report.counts());
}
