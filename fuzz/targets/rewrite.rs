//! The rewrite: whatever stands in source documents and plan, a derived document says what the plan says, keeps what the
//! plan doesn't touch, and is the same each time.
//!
//! An input is a plan, a config, and a manifest or an index, with a byte 0xFF between them. A plan has a line for each
//! of its parts: `env A=1`, `layer zstd linux/arm64`.

use bytes::Bytes;
use tower_oci::error::ErrorKind;
use tower_oci::layer::rewrite::apply::{self, Choice, Outcome};
use tower_oci::layer::rewrite::{HttpMode, InjectedLayer, LayerKind, Plan};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::{Config, ImageManifest, Index, Manifest};
use tower_oci::spec::json::{Document, Object, Raw};

pub(crate) fn run(data: &[u8]) {
    let mut sections = data.splitn(3, |byte| *byte == 0xff);
    let mut next = || sections.next().unwrap_or_default();
    let Ok(text) = std::str::from_utf8(next()) else { return };
    let Some(plan) = plan(text) else { return };
    assert_eq!(self::plan(text).map(|again| *again.digest()), Some(*plan.digest()));
    let config = Config::parse(Bytes::copy_from_slice(next())).ok();
    if let Some(config) = &config {
        check_config(config, &plan);
    }
    let bytes = Bytes::copy_from_slice(next());
    match (Manifest::parse(None, bytes.clone()), &config) {
        (Ok(Manifest::Image(manifest)), Some(config)) => check_image(&manifest, config, &plan),
        (Ok(Manifest::Index(index)), _) => check_index(&index, &plan),
        _ => {}
    }
}

fn check_config(source: &Config, plan: &Plan) {
    let derived = match apply::config(source, plan) {
        Ok(Some(derived)) => derived,
        Ok(None) => {
            assert!(plan.layers_for(source.platform()).next().is_none(), "a layer was left out");
            return;
        }
        Err(error) => return assert_ne!(error.kind(), ErrorKind::Internal, "{error}"),
    };
    assert!(!plan.is_empty());
    assert_eq!(apply::config(source, plan).ok().flatten().as_ref(), Some(&derived));
    let Ok(config) = Config::parse(derived.bytes().clone()) else { unreachable!("{derived:?}") };
    assert_eq!(config.platform(), source.platform());
    let added = plan.layers_for(source.platform()).map(|layer| Raw::of(layer.diff_id()));
    assert!(config.diff_ids().iter().cloned().eq(source.diff_ids().iter().cloned().chain(added)));
    assert!(!source.history_agrees() || config.history_agrees());
    assert_kept(source.document().object(), derived.object(), &["config", "rootfs", "history"]);

    let execution =
        |document: &Document| document.object().object("config").ok().flatten().unwrap_or_default();
    let (before, after) = (execution(source.document()), execution(&derived));
    assert_kept(&before, &after, &["Entrypoint", "Cmd", "Env", "WorkingDir", "User", "Labels"]);
    for (index, entry) in plan.env().iter().enumerate() {
        let name = |entry: &str| entry.split('=').next().map(str::to_owned);
        if plan.env()[index + 1..].iter().any(|later| name(later) == name(entry)) {
            continue;
        }
        let env: Vec<String> = after.read_member("Env").ok().flatten().unwrap_or_default();
        let found: Vec<_> = env.iter().filter(|other| name(other) == name(entry)).collect();
        assert_eq!(found, [entry], "set once, by the last entry of its name");
    }
    if plan.layers().is_empty() && plan.entry_chain().is_none() {
        assert_eq!(apply::config(&config, plan).ok().flatten(), Some(derived), "nothing is left to do");
    }
}

fn check_image(source: &ImageManifest, config: &Config, plan: &Plan) {
    let source_digest = Digest::sha256(source.document().bytes());
    let image = match apply::image(source, &source_digest, config, plan) {
        Ok(Some(image)) => image,
        Ok(None) => return,
        Err(error) => return assert_ne!(error.kind(), ErrorKind::Internal, "{error}"),
    };
    assert!(!plan.is_empty());
    assert_eq!(apply::image(source, &source_digest, config, plan).ok().flatten().as_ref(), Some(&image));
    assert!(image.manifest_digest.matches(image.manifest.bytes()));
    let parsed = Manifest::parse(Some(source.media_type()), image.manifest.bytes().clone());
    let Ok(Manifest::Image(derived)) = parsed else { unreachable!("{parsed:?}") };
    let (before, after) = (source.document().object(), image.manifest.object());
    assert_kept(before, after, &["config", "layers", "annotations", "subject"]);
    assert_eq!(after.get("subject"), None);
    let added = plan.layers_for(config.platform());
    let layers =
        source.layers().iter().map(|layer| *layer.digest()).chain(added.map(|layer| *layer.digest()));
    assert!(derived.layers().iter().map(|layer| *layer.digest()).eq(layers));
    match &image.config {
        Some((config, digest)) => {
            assert!(digest.matches(config.bytes()) && digest == derived.config_digest());
            assert_eq!(derived.config().size(), config.bytes().len() as u64);
            let has_data = source.config().object().get("data").is_some();
            assert_eq!(derived.config().data(), has_data.then(|| config.bytes().clone()));
        }
        None => assert_eq!(before.get("config"), after.get("config")),
    }
}

fn check_index(source: &Index, plan: &Plan) {
    let Ok(choices) = apply::select(source, plan) else { return };
    let stand_in = |place: usize| {
        let mut object = Object::new();
        object.set("place", Raw::of(&place));
        let document = Document::from(object);
        let digest = Digest::sha256(document.bytes());
        Outcome::Derived(document, digest)
    };
    let outcomes: Vec<Outcome> = choices
        .iter()
        .enumerate()
        .map(|(place, choice)| match choice {
            Choice::Image(_) if !plan.is_empty() => stand_in(place),
            Choice::Drop(_) => Outcome::Drop,
            Choice::Attestation => Outcome::Attestation,
            _ => Outcome::Keep,
        })
        .collect();
    let changed = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Drop | Outcome::Derived(..)));
    let Ok(derived) = apply::index(source, &outcomes) else { return };
    assert_eq!(derived.is_some(), changed);
    let Some(derived) = derived else { return };
    assert!(!plan.is_empty());
    let parsed = Manifest::parse(Some(source.media_type()), derived.bytes().clone());
    let Ok(Manifest::Index(index)) = parsed else { unreachable!("{parsed:?}") };
    assert_kept(source.document().object(), derived.object(), &["manifests", "subject"]);
    assert_eq!(derived.object().get("subject"), None);
    let is_there = |digest: Digest| index.manifests().iter().any(|entry| *entry.digest() == digest);
    for entry in index.manifests().iter().filter(|entry| entry.is_attestation()) {
        assert!(entry.attested().is_some_and(is_there), "an attestation of nothing");
    }
    for outcome in &outcomes {
        if let Outcome::Derived(_, digest) = outcome {
            assert!(is_there(*digest));
        }
    }
}

/// The members of `before` but for those of `touched` stand in `after` too, with their bytes and in their order, and
/// nothing else does.
fn assert_kept(before: &Object, after: &Object, touched: &[&str]) {
    let others = |(key, _): &(&str, &Raw)| !touched.contains(key);
    assert!(before.iter().filter(others).eq(after.iter().filter(others)), "{before:?} became {after:?}");
}

fn plan(text: &str) -> Option<Plan> {
    let mut builder = Plan::builder();
    let (mut entrypoint, mut cmd, mut platforms) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let (name, rest) = value.split_once('=').unwrap_or((value, ""));
        builder = match key {
            "env" => builder.env(value),
            "dir" => builder.working_dir(value),
            "user" => builder.user(value),
            "label" => builder.label(name, rest),
            "annotation" => builder.annotation(name, rest),
            "chain" => builder.entry_chain(value),
            "base" => builder.base_annotations(true),
            "base-name" => builder.base_name(value),
            "layer" => builder.layer(layer(value)?),
            _ => {
                match key {
                    "entrypoint" => entrypoint.push(value),
                    "cmd" => cmd.push(value),
                    "platform" => platforms.push(value.parse().ok()?),
                    _ => return None,
                }
                continue;
            }
        };
    }
    builder.entrypoint(entrypoint).cmd(cmd).platforms(platforms).build().ok()
}

fn layer(text: &str) -> Option<InjectedLayer> {
    let (kind, platforms) = text.split_once(' ').unwrap_or((text, ""));
    let (kind, platforms) = match kind {
        "tar" => (LayerKind::Tar, platforms),
        "gzip" => (LayerKind::Gzip, platforms),
        "zstd" => (LayerKind::Zstd, platforms),
        _ => return None,
    };
    let platforms = platforms.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>().ok()?;
    let uri = http::Uri::from_static("https://layers.example/layer");
    let digest = |what: &str| Digest::sha256(format!("{what} {text}").as_bytes());
    let layer = InjectedLayer::from_http(uri, digest("layer"), digest("tar"), 1234, HttpMode::Stream).ok()?;
    Some(layer.with_kind(kind).for_platforms(platforms))
}
