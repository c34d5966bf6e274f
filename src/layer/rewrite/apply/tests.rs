use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::layer::rewrite::{InjectedLayer, LayerKind, Limits, PlanBuilder};
use crate::spec::image::{Descriptor, Index, Manifest};
use crate::spec::json::Raw;
use crate::spec::media_type::MediaType;
use crate::spec::platform::Platform;

const DIFF: &str = "sha256:975f4b14f326b05db86e16de00144f9c12257553bba9484fed41f9b6f2257800";

/// A plain tar: its digest doesn't depend on how anybody packs.
fn layer() -> InjectedLayer {
    InjectedLayer::from_blob(vec![0; 1024].into(), LayerKind::Tar, &Limits::default()).unwrap()
}

fn injected() -> String {
    layer().digest().to_string()
}

fn build(plan: PlanBuilder) -> Plan {
    plan.build().unwrap()
}

fn read_config(text: &str) -> Config {
    Config::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

/// What a plan makes of the member `config` of a config.
fn execution(source: &str, plan: PlanBuilder) -> String {
    let source = read_config(&format!(r#"{{"os":"linux","architecture":"amd64","config":{source}}}"#));
    let derived = config(&source, &build(plan)).unwrap().unwrap();
    String::from_utf8(derived.object().get("config").unwrap().bytes().to_vec()).unwrap()
}

fn read_image(text: &str) -> ImageManifest {
    match Manifest::parse(None, Bytes::copy_from_slice(text.as_bytes())).unwrap() {
        Manifest::Image(image) => image,
        other => panic!("{other:?}"),
    }
}

fn read_index(text: &str) -> Index {
    match Manifest::parse(None, Bytes::copy_from_slice(text.as_bytes())).unwrap() {
        Manifest::Index(index) => index,
        other => panic!("{other:?}"),
    }
}

fn text(document: &Document) -> &str {
    std::str::from_utf8(document.bytes()).unwrap()
}

#[test]
fn the_configuration_changes_by_wave_s_table() {
    let plan = Plan::builder;
    for (source, plan, derived) in [
        // A non-empty value replaces the image's.
        (r#"{"Entrypoint":["/a"]}"#, plan().entrypoint(["/b", "c"]), r#"{"Entrypoint":["/b","c"]}"#),
        (r#"{"Cmd":["a"]}"#, plan().cmd(["b"]), r#"{"Cmd":["b"]}"#),
        (r#"{"WorkingDir":"/a","User":"u"}"#, plan().working_dir("/b"), r#"{"WorkingDir":"/b","User":"u"}"#),
        (r#"{"User":""}"#, plan().user("1000:1000"), r#"{"User":"1000:1000"}"#),
        // The command is kept when only the entry point changes.
        (
            r#"{"Cmd":["a"],"Entrypoint":null}"#,
            plan().entrypoint(["/b"]),
            r#"{"Cmd":["a"],"Entrypoint":["/b"]}"#,
        ),
        // A key that exists is replaced in its place, a new one is appended.
        (
            r#"{"Env":["A=1","B=2=3","C"]}"#,
            plan().env("B=x").env("D=4").env("C=5"),
            r#"{"Env":["A=1","B=x","C=5","D=4"]}"#,
        ),
        (r#"{"Env":["A=1","B=2","A=3"]}"#, plan().env("A=4"), r#"{"Env":["A=4","B=2"]}"#),
        (r#"{"Env":null}"#, plan().env("A=1").env("A=2"), r#"{"Env":["A=2"]}"#),
        ("null", plan().env("A="), r#"{"Env":["A="]}"#),
        (r#"{"Env":["PATH=/bin"]}"#, plan().env("PATHS=1"), r#"{"Env":["PATH=/bin","PATHS=1"]}"#),
        // The entry chain: one element as it is, several as a compact JSON array, none not at all.
        (
            r#"{"Entrypoint":["/a b"]}"#,
            plan().env("X=1").entry_chain("E"),
            r#"{"Entrypoint":["/a b"],"Env":["X=1","E=/a b"]}"#,
        ),
        (
            r#"{"Entrypoint":["/a","\"é"]}"#,
            plan().entrypoint(["/b"]).entry_chain("E"),
            r#"{"Entrypoint":["/b"],"Env":["E=[\"/a\",\"\\\"é\"]"]}"#,
        ),
        (r#"{"Entrypoint":[]}"#, plan().user("u").entry_chain("E"), r#"{"Entrypoint":[],"User":"u"}"#),
        (
            r#"{"Entrypoint":["/a"]}"#,
            plan().env("E=mine").entry_chain("E"),
            r#"{"Entrypoint":["/a"],"Env":["E=mine"]}"#,
        ),
        // Labels are set one by one.
        (
            r#"{"Labels":{"z":"1","a":"2"}}"#,
            plan().label("b", "3").label("a", "4"),
            r#"{"Labels":{"z":"1","a":"4","b":"3"}}"#,
        ),
        // What isn't touched keeps its order and its value.
        (
            r#"{"Memory": 1.0e2,"X":"\u00e9\/","Cmd":["a"],"Env":[ "A=\u00e9" ]}"#,
            plan().env("B=1"),
            r#"{"Memory":1.0e2,"X":"\u00e9\/","Cmd":["a"],"Env":["A=\u00e9","B=1"]}"#,
        ),
    ] {
        assert_eq!(execution(source, plan), derived);
    }
}

#[test]
fn layers_go_on_top_and_into_a_history_that_agrees() {
    let derive = |source: &str| {
        let derived = config(&read_config(source), &build(Plan::builder().layer(layer()))).unwrap().unwrap();
        text(&derived).to_owned()
    };
    let new = injected();
    let step = format!(r#"{{"created":"1970-01-01T00:00:00Z","created_by":"inject layer {new}"}}"#);
    assert_eq!(
        derive(&format!(
            r#"{{"rootfs":{{"diff_ids":["{DIFF}"],"type":"layers"}},"history":[{{"empty_layer":true}},{{"comment":"x"}}]}}"#
        )),
        format!(
            r#"{{"rootfs":{{"diff_ids":["{DIFF}","{new}"],"type":"layers"}},"history":[{{"empty_layer":true}},{{"comment":"x"}},{step}]}}"#
        )
    );
    // A history that doesn't agree, or isn't there, is left alone.
    assert_eq!(
        derive(&format!(
            r#"{{"history":[{{"empty_layer":true}}],"rootfs":{{"type":"layers","diff_ids":["{DIFF}"]}}}}"#
        )),
        format!(
            r#"{{"history":[{{"empty_layer":true}}],"rootfs":{{"type":"layers","diff_ids":["{DIFF}","{new}"]}}}}"#
        )
    );
    assert_eq!(derive("{}"), format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{new}"]}}}}"#));
    // Of an image without layers the history has none either.
    assert_eq!(
        derive(r#"{"history":[]}"#),
        format!(r#"{{"history":[{step}],"rootfs":{{"type":"layers","diff_ids":["{new}"]}}}}"#)
    );
}

#[test]
fn what_a_plan_does_not_touch_is_not_derived() {
    let source = read_config(r#"{"os":"linux","architecture":"amd64"}"#);
    let arm64 = layer().for_platforms([Platform::LINUX_ARM64]);
    for plan in [
        Plan::builder(),
        Plan::builder().platforms([Platform::LINUX_AMD64]),
        Plan::builder().entry_chain("E").base_name("a/b:c"),
        Plan::builder().layer(arm64),
        Plan::builder().entrypoint::<String>([]).cmd::<String>([]).working_dir("").user(""),
    ] {
        let plan = build(plan);
        assert_eq!(config(&source, &plan).unwrap(), None);
        let manifest = read_image(&image_text("", "application/vnd.oci.image.config.v1+json"));
        assert_eq!(image(&manifest, &Digest::sha256(b""), &source, &plan).unwrap(), None);
    }
}

#[test]
fn a_malformed_source_is_the_upstream_s_fault() {
    for (source, plan, message) in [
        (r#"{"config":{"Entrypoint":"/a"}}"#, Plan::builder().env("A=1"), "`Entrypoint`"),
        (r#"{"config":{"Env":[1]}}"#, Plan::builder().env("A=1"), "`Env`"),
        (r#"{"config":{"Labels":[]}}"#, Plan::builder().label("a", "b"), "`Labels`"),
        (r#"{"config":[]}"#, Plan::builder().env("A=1"), "`config`"),
    ] {
        let error = config(&read_config(source), &build(plan)).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::BadGateway, ErrorCode::ManifestInvalid));
        assert!(error.to_string().contains(message), "{error}");
    }
}

fn image_text(more: &str, config_type: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{config_type}","digest":"{DIFF}","size":7,"x":1}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{DIFF}","size":3,"urls":["http://x/"]}}]{more}}}"#
    )
}

fn derived_manifest(more: &str, config_type: &str, plan: PlanBuilder) -> Result<String, Error> {
    let source = read_image(&image_text(more, config_type));
    let config = Document::parse("{}".into()).unwrap();
    let digest = config.digest(Default::default());
    let source_digest = Digest::sha256(b"source");
    let derived =
        manifest(&source, &source_digest, &Platform::LINUX_AMD64, Some((&config, digest)), &build(plan))?;
    Ok(text(&derived.unwrap()).to_owned())
}

#[test]
fn a_manifest_gets_layers_of_its_family_and_loses_its_subject() {
    let empty = Digest::sha256(b"{}");
    let new = injected();
    let foreign = format!(
        r#"{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{DIFF}","size":3,"urls":["http://x/"]}}"#
    );
    for (kind, layer_type) in [
        ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"),
        ("application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar"),
    ] {
        let more = format!(
            r#","subject":{{"mediaType":"a/b","digest":"{DIFF}","size":1}},"annotations":{{"k":"v"}},"y":1.0"#
        );
        assert_eq!(
            derived_manifest(&more, kind, Plan::builder().layer(layer())).unwrap(),
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"{kind}","digest":"{empty}","size":2,"x":1}},"layers":[{foreign},{{"mediaType":"{layer_type}","digest":"{new}","size":1024}}],"annotations":{{"k":"v"}},"y":1.0}}"#
            )
        );
    }
}

#[test]
fn annotations_are_for_oci_manifests() {
    let oci = "application/vnd.oci.image.config.v1+json";
    let annotations = |more: &str, kind: &str, plan: PlanBuilder| {
        let derived = derived_manifest(more, kind, plan.env("A=1")).unwrap();
        derived.split_once(r#","annotations":"#).map(|(_, rest)| rest.to_owned())
    };
    let base = Digest::sha256(b"source");
    let plan = || Plan::builder().annotation("a", "1").base_name("docker.io/library/x:1");
    assert_eq!(
        annotations(r#","annotations":{"z":"0","a":"0"}"#, oci, plan()).unwrap(),
        format!(
            r#"{{"z":"0","a":"1","org.opencontainers.image.base.digest":"{base}","org.opencontainers.image.base.name":"docker.io/library/x:1"}}}}"#
        )
    );
    let more = r#","annotations":{"org.opencontainers.image.base.name":"old"}"#;
    assert_eq!(
        annotations(more, oci, Plan::builder().base_annotations(true)).unwrap(),
        format!(r#"{{"org.opencontainers.image.base.digest":"{base}"}}}}"#)
    );
    assert_eq!(annotations("", "application/vnd.docker.container.image.v1+json", plan()), None);
    assert_eq!(annotations("", oci, Plan::builder()), None);
}

#[test]
fn inline_config_data_is_kept_in_step() {
    let source = br#"{"os":"linux"}"#;
    let descriptor =
        Descriptor::of(MediaType::OCI_CONFIG, source).with_member("data", Raw::of("eyJvcyI6ImxpbnV4In0="));
    let mut object = crate::spec::json::Object::new();
    object.set("config", descriptor.object().to_raw());
    object.set("layers", Raw::list([]));
    let manifest = read_image(text(&Document::from(object)));
    let config = Config::parse(manifest.config().data().unwrap()).unwrap();
    let plan = build(Plan::builder().env("A=1"));
    let derived = image(&manifest, &Digest::sha256(b""), &config, &plan).unwrap().unwrap();
    let (config, digest) = derived.config.unwrap();
    let derived = read_image(text(&derived.manifest));
    assert_eq!(derived.config().data().unwrap(), config.bytes());
    assert_eq!(*derived.config_digest(), digest);
}

#[test]
fn zstd_has_no_place_in_a_docker_manifest() {
    let packed = zstd::encode_all(&[0_u8; 512][..], 1).unwrap();
    let layer = InjectedLayer::from_blob(packed.into(), LayerKind::Zstd, &Limits::default()).unwrap();
    let plan = || Plan::builder().layer(layer.clone());
    let oci = derived_manifest("", "application/vnd.oci.image.config.v1+json", plan()).unwrap();
    assert!(oci.contains(r#""application/vnd.oci.image.layer.v1.tar+zstd""#), "{oci}");
    let docker = derived_manifest("", "application/vnd.docker.container.image.v1+json", plan());
    let error = docker.unwrap_err();
    assert_eq!(error.status(), http::StatusCode::BAD_REQUEST);
    assert_eq!(
        error.to_string(),
        format!(
            "the layer {} is packed with zstd, which the image's Docker manifest has no type for; pack it with gzip",
            layer.digest()
        )
    );
}

fn entry(media_type: &str, digest: Digest, more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1{more}}}"#)
}

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

#[test]
fn the_entries_of_an_index_are_told_apart() {
    let on = |platform: &str| format!(r#","platform":{{{platform}}}"#);
    let attestation = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
    let amd64 = on(r#""os":"linux","architecture":"amd64""#);
    let wanted = build(Plan::builder().platforms([Platform::LINUX_AMD64]));
    for (entry, choice) in [
        (entry(OCI, Digest::sha256(b""), &amd64), Choice::Image(Some(Platform::LINUX_AMD64))),
        (entry(OCI, Digest::sha256(b""), ""), Choice::Image(None)),
        (
            entry(OCI, Digest::sha256(b""), &on(r#""os":"linux","architecture":"arm64","variant":"v8""#)),
            Choice::Drop(Platform::LINUX_ARM64),
        ),
        (
            entry(OCI, Digest::sha256(b""), &on(r#""os":"unknown","architecture":"unknown""#)),
            Choice::Attestation,
        ),
        (entry(OCI, Digest::sha256(b""), &format!("{amd64}{attestation}")), Choice::Attestation),
        (entry("application/vnd.oci.image.index.v1+json", Digest::sha256(b""), ""), Choice::Index),
        (entry("application/vnd.example+json", Digest::sha256(b""), &amd64), Choice::Keep),
        (entry(OCI, Digest::sha256(b""), r#","artifactType":"application/vnd.example""#), Choice::Keep),
        (
            entry(
                OCI,
                Digest::sha256(b""),
                &format!(r#","artifactType":"application/vnd.oci.image.config.v1+json"{amd64}"#),
            ),
            Choice::Image(Some(Platform::LINUX_AMD64)),
        ),
    ] {
        let index = read_index(&format!(r#"{{"manifests":[{entry}]}}"#));
        assert_eq!(select(&index, &wanted).unwrap(), [choice], "{entry}");
    }
}

#[test]
fn an_index_names_what_became_of_its_entries() {
    let [a, b, c] = [b"a", b"b", b"c"].map(|content| Digest::sha256(content));
    let about = |digest: Digest| {
        format!(
            r#","annotations":{{"vnd.docker.reference.digest":"{digest}","vnd.docker.reference.type":"attestation-manifest"}}"#
        )
    };
    let entries = [
        entry(OCI, a, r#","data":"YQ==","x":{ "y":1 }"#),
        entry(OCI, b, ""),
        entry(OCI, c, ""),
        entry(OCI, Digest::sha256(b"of a"), &about(a)),
        entry(OCI, Digest::sha256(b"of b"), &about(b)),
        entry(OCI, Digest::sha256(b"of c"), &about(c)),
        entry(OCI, Digest::sha256(b"of nobody"), r#","platform":{"os":"unknown","architecture":"unknown"}"#),
    ];
    let source = read_index(&format!(
        r#"{{"manifests":[{}],"subject":{{}},"annotations":{{"k":"v"}}}}"#,
        entries.join(",")
    ));
    let document = Document::parse(r#"{"new":1}"#.into()).unwrap();
    let digest = document.digest(Default::default());
    let attestations = || [const { Outcome::Attestation }; 4];
    let outcomes = [&[Outcome::Derived(document, digest), Outcome::Keep, Outcome::Drop][..], &attestations()];
    let derived = index(&source, &outcomes.concat()).unwrap().unwrap();
    assert_eq!(
        text(&derived),
        format!(
            r#"{{"manifests":[{{"mediaType":"{OCI}","digest":"{digest}","size":9,"data":"eyJuZXciOjF9","x":{{ "y":1 }}}},{},{}],"annotations":{{"k":"v"}}}}"#,
            entries[1], entries[4]
        )
    );
    let unchanged = [&[Outcome::Keep, Outcome::Keep, Outcome::Keep][..], &attestations()];
    assert_eq!(index(&source, &unchanged.concat()).unwrap(), None);
    assert_eq!(index(&source, &[]).unwrap_err().kind(), ErrorKind::Internal);
}

/// Pinned: another result is another rule, and takes the pulls apart that are under way.
#[test]
fn digests_are_the_same_in_every_process() {
    let plan = build(
        Plan::builder()
            .layer(layer().for_platforms([Platform::LINUX_ARM64, Platform::LINUX_AMD64]))
            .entrypoint(["/e"])
            .cmd(["c", "d"])
            .envs(["A=1", "B=é"])
            .working_dir("/w")
            .user("u")
            .label("l", "1")
            .label("k", "2")
            .annotation("a", "1")
            .platforms([Platform::LINUX_ARM64, Platform::LINUX_AMD64])
            .entry_chain("WAVE_ENTRY_CHAIN")
            .base_name("docker.io/library/busybox:latest"),
    );
    let config = read_config(&format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Entrypoint":["/x","y"]}},"rootfs":{{"type":"layers","diff_ids":["{DIFF}"]}},"history":[{{}}]}}"#
    ));
    let manifest = read_image(&image_text("", "application/vnd.oci.image.config.v1+json"));
    let derived = image(&manifest, &Digest::sha256(b"source"), &config, &plan).unwrap().unwrap();
    let found =
        [*plan.digest(), derived.config.unwrap().1, derived.manifest_digest, *Plan::default().digest()];
    assert_eq!(
        found.map(|digest| digest.hex()[..16].to_owned()),
        ["f2780be4b54014fd", "960d8be97933787c", "6a6a45b5ca3f2ba1", "15c8c0dfb4455b79"]
    );
}

fn words() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-zé\"\\\\]{1,8}", 0..4)
}

prop_compose! {
    fn any_plan()(
        entrypoint in words(),
        cmd in words(),
        env in proptest::collection::vec("[A-C]=[a-zé\n\"]{0,6}", 0..5),
        directory in "(/[a-z]{1,4})?",
        labels in proptest::collection::btree_map("[a-z\"]{1,4}", "[a-z]{0,4}", 0..3),
        layers in 0..3_usize,
        chain in any::<bool>(),
    ) -> Plan {
        let mut plan = Plan::builder().entrypoint(entrypoint).cmd(cmd).envs(env).working_dir(directory);
        for (key, value) in labels {
            plan = plan.label(key.clone(), value.clone()).annotation(key, value);
        }
        for _ in 0..layers {
            plan = plan.layer(layer());
        }
        if chain {
            plan = plan.entry_chain("CHAIN");
        }
        build(plan)
    }
}

proptest! {
    #[test]
    fn derived_documents_agree_with_each_other(
        plan in any_plan(),
        env in proptest::collection::vec("[A-D]=[a-z]{0,6}", 0..6),
        entrypoint in words(),
        layers in 0..4_usize,
    ) {
        let diff_ids: Vec<Raw> = (0..layers).map(|_| Raw::of(DIFF)).collect();
        let history: Vec<Raw> = (0..layers).map(|_| Raw::of(&[("a", 1)].into_iter().collect::<std::collections::BTreeMap<_, _>>())).collect();
        let config = read_config(&format!(
            r#"{{"os":"linux","architecture":"amd64","config":{{"Env":{:?},"Entrypoint":{:?}}},"rootfs":{{"type":"layers","diff_ids":{:?}}},"history":{:?}}}"#,
            Raw::of(&env), Raw::of(&entrypoint), Raw::list(&diff_ids), Raw::list(&history),
        ));
        let descriptors: Vec<Raw> =
            (0..layers).map(|_| Raw::of(&serde_json::value::RawValue::from_string(entry("a/b", Digest::sha256(b""), "")).unwrap())).collect();
        let manifest = read_image(&format!(
            r#"{{"config":{:?},"layers":{:?}}}"#,
            Descriptor::of(MediaType::OCI_CONFIG, config.document().bytes()).object().to_raw(),
            Raw::list(&descriptors),
        ));
        let digest = Digest::sha256(manifest.document().bytes());
        let derived = image(&manifest, &digest, &config, &plan).unwrap();
        prop_assert_eq!(derived.is_none(), plan.is_empty());
        prop_assert_eq!(&derived, &image(&manifest, &digest, &config, &plan).unwrap());
        let Some(derived) = derived else { return Ok(()) };
        let manifest = read_image(text(&derived.manifest));
        prop_assert!(derived.manifest_digest.matches(derived.manifest.bytes()));
        let derived_config = match &derived.config {
            Some((document, digest)) => {
                prop_assert_eq!(digest, manifest.config_digest());
                prop_assert_eq!(document.bytes().len() as u64, manifest.config().size());
                read_config(text(document))
            }
            None => config,
        };
        prop_assert_eq!(derived_config.diff_ids().len(), manifest.layers().len());
        prop_assert!(derived_config.history_agrees());
        let execution = derived_config.document().object().object("config").unwrap().unwrap();
        let found: Vec<String> = execution.read_member("Env").unwrap().unwrap();
        for entry in plan.env().iter().rev() {
            let name = entry.split_once('=').unwrap().0;
            let last = plan.env().iter().rfind(|other| other.starts_with(&format!("{name}="))).unwrap();
            let same: Vec<_> = found.iter().filter(|other| other.starts_with(&format!("{name}="))).collect();
            prop_assert_eq!(same, [last]);
        }
    }
}
