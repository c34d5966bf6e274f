//! Replays the fuzz corpora on stable: each target's property holds for every input that is kept.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a property that doesn't hold is meant to panic"
)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/targets/challenge.rs"]
mod challenge;
#[cfg(feature = "build")]
#[path = "../fuzz/targets/container_file.rs"]
mod container_file;
#[cfg(feature = "wave")]
#[path = "../fuzz/targets/container_token.rs"]
mod container_token;
#[path = "../fuzz/targets/document.rs"]
mod document;
#[path = "../fuzz/targets/login.rs"]
mod login;
#[path = "../fuzz/targets/range.rs"]
mod range;
#[path = "../fuzz/targets/reference.rs"]
mod reference;
#[path = "../fuzz/targets/request.rs"]
mod request;
#[path = "../fuzz/targets/rewrite.rs"]
mod rewrite;
#[path = "../fuzz/targets/scope.rs"]
mod scope;

/// Runs `target` on the files of its corpus, at least a dozen, and on the empty input.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).expect("the target has a corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(files.len() >= 12, "{} has {} files", folder.display(), files.len());
    target(b"");
    for file in files {
        // Shown when the next line panics.
        println!("{}", file.display());
        target(&fs::read(&file).expect("readable"));
    }
}

#[test]
fn challenge() {
    replay("challenge", challenge::run);
}

#[cfg(feature = "build")]
#[test]
fn container_file() {
    replay("container_file", container_file::run);
}

#[cfg(feature = "wave")]
#[test]
fn container_token() {
    replay("container_token", container_token::run);
}

#[test]
fn document() {
    replay("document", document::run);
}

#[test]
fn range() {
    replay("range", range::run);
}

#[test]
fn reference() {
    replay("reference", reference::run);
}

#[test]
fn request() {
    replay("request", request::run);
}

#[test]
fn rewrite() {
    replay("rewrite", rewrite::run);
}

#[test]
fn login() {
    replay("login", login::run);
}

#[test]
fn scope() {
    replay("scope", scope::run);
}
