use std::process::Command;

use tower_oci::layer::rewrite::Rewrite;
use tower_oci::spec::image::Manifest as Document;

use crate::source::*;

/// Set for a process that is started to tell what it derives.
const CHILD: &str = "TOWER_OCI_TEST_DERIVES";

/// All that this process derives from an index, digest by digest.
async fn derived() -> Vec<String> {
    let source = Source::new();
    source.index("v1");
    let registry = source.stack(Rewrite::new(plan()));
    let root = get(&registry, "v1").await.unwrap();
    let mut digests = vec![root.digest.to_string()];
    let Document::Index(index) = parse(&root) else { unreachable!() };
    for entry in index.manifests() {
        let child = get(&registry, *entry.digest()).await.unwrap();
        digests.push(child.digest.to_string());
        let Document::Image(image) = parse(&child) else { continue };
        digests.push(image.config_digest().to_string());
        digests.extend(image.layers().iter().map(|layer| layer.digest().to_string()));
    }
    digests
}

#[tokio::test]
async fn processes_derive_the_same_digests() {
    let here = derived().await.join(" ");
    #[expect(clippy::disallowed_methods, reason = "how a parent tells its child that it is one")]
    let is_child = std::env::var_os(CHILD).is_some();
    if is_child {
        println!("derived: {here}.");
        return;
    }
    for _ in 0..2 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["processes::processes_derive_the_same_digests", "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let output = String::from_utf8(child.stdout).unwrap();
        let (_, there) = output.split_once("derived: ").unwrap();
        assert_eq!(there.split_once('.').unwrap().0, here);
    }
    assert!(here.split(' ').count() > 8, "{here}");
}
