use super::config::set_all;
use super::{checked, invalid_source};
use crate::error::Error;
use crate::layer::rewrite::plan::Plan;
use crate::spec::digest::Digest;
use crate::spec::image::ImageManifest;
use crate::spec::json::{Document, InvalidDocument, Object, Raw};
use crate::spec::platform::Platform;

/// The manifest that `plan` makes of `source`, whose own digest is `source_digest`, for an image of `platform` with
/// the derived config `config` and its digest. `None` when it changes nothing about it.
///
/// Layers for the platform go at the end of `layers` with the types of the manifest's own family. The config's
/// descriptor gets digest, size and, where it was there, `data` of the derived config. Annotations are set on OCI
/// manifests. A derived manifest has no `subject`: nobody signed it or attached it to anything.
///
/// # Errors
///
/// `MANIFEST_INVALID` when a zstd layer would go into a Docker manifest, and when what has to be changed in the source
/// isn't what it should be; `TooLarge` when the result is over
/// [`MAX_DOCUMENT`](crate::spec::json::MAX_DOCUMENT).
pub fn manifest(
    source: &ImageManifest,
    source_digest: &Digest,
    platform: &Platform,
    config: Option<(&Document, Digest)>,
    plan: &Plan,
) -> Result<Option<Document>, Error> {
    let docker = source.is_docker();
    let has_annotations = !docker && !plan.annotations().is_empty();
    let mut layers = plan.layers_for(platform).peekable();
    if config.is_none() && layers.peek().is_none() && !has_annotations {
        return Ok(None);
    }
    let invalid = |error| invalid_source("manifest", error);
    let mut object = source.document().object().clone();
    if let Some((config, digest)) = config {
        let descriptor = source.config().with_content(digest, config.bytes());
        object.set("config", descriptor.object().to_raw());
    }
    if layers.peek().is_some() {
        let added = layers.map(|layer| layer.descriptor(docker).map(|new| new.object().to_raw()));
        let mut all = object.array("layers").map_err(invalid)?.unwrap_or_default();
        for layer in added {
            all.push(layer?);
        }
        object.set("layers", Raw::list(&all));
    }
    if !docker {
        annotate(&mut object, source_digest, plan).map_err(invalid)?;
    }
    object.remove("subject");
    checked("manifest", Document::from(object)).map(Some)
}

fn annotate(object: &mut Object, source_digest: &Digest, plan: &Plan) -> Result<(), InvalidDocument> {
    if plan.annotations().is_empty() && !plan.base_annotations() {
        return Ok(());
    }
    let mut annotations = object.object("annotations")?.unwrap_or_default();
    if plan.base_annotations() {
        annotations.set(BASE_DIGEST, Raw::of(source_digest));
        match plan.base_name() {
            Some(name) => annotations.set(BASE_NAME, Raw::of(name)),
            // The name of the base's own base would contradict the digest.
            None => drop(annotations.remove(BASE_NAME)),
        }
    }
    set_all(&mut annotations, plan.annotations());
    object.set("annotations", annotations.to_raw());
    Ok(())
}

const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
const BASE_NAME: &str = "org.opencontainers.image.base.name";
