//! Documents: what is accepted keeps its bytes; an edit changes what it names and nothing else; views over a document
//! say what stands in it.

use bytes::Bytes;
use serde_json::Value;
use tower_oci::spec::digest::Algorithm;
use tower_oci::spec::image::{Config, Manifest};
use tower_oci::spec::json::{Document, Object, Raw, check};
use tower_oci::spec::media_type::MediaType;

/// A key that no seed has.
const NEW: &str = "tower-oci.fuzz";

pub(crate) fn run(data: &[u8]) {
    let source = Bytes::copy_from_slice(data);
    let Ok(document) = Document::parse(source.clone()) else {
        // A view accepts nothing that the document refuses.
        assert!(Manifest::parse(None, source.clone()).is_err());
        assert!(Config::parse(source).is_err());
        return;
    };
    assert_eq!(document.bytes(), &source);
    assert_eq!(check(data), Ok(()));
    let Ok(Value::Object(value)) = serde_json::from_slice::<Value>(data) else {
        assert!(has_private_key(document.object()), "a document is a JSON object");
        return;
    };
    assert_eq!(value.len(), document.object().iter().len(), "no member is lost");
    edits(&document, &Value::Object(value));

    if let Ok(config) = Config::parse(source.clone()) {
        assert_eq!(config.document(), &document);
        assert!(!config.history_agrees() || config.history().is_some());
    }
    for served in [None, Some(MediaType::OCI_INDEX), Some(MediaType::DOCKER_MANIFEST), Some(MediaType::JSON)]
    {
        let Ok(manifest) = Manifest::parse(served.as_ref(), source.clone()) else { continue };
        assert_eq!(manifest.document().bytes(), &source);
        let has = |key| document.object().get(key).is_some();
        match &manifest {
            Manifest::Index(index) => {
                assert!(index.media_type().is_index() && has("manifests") && !has("layers"))
            }
            Manifest::Image(image) => assert!(image.media_type().is_manifest() && !has("manifests")),
            _ => assert!(manifest.references().is_empty()),
        }
        for descriptor in manifest.references() {
            let (size, digest) = (descriptor.size(), descriptor.digest());
            assert_eq!(digest.to_string().parse(), Ok(*digest));
            if let Some(content) = descriptor.data() {
                assert!(content.len() as u64 == size && digest.matches(&content));
            }
            let moved = descriptor.with_content(document.digest(Algorithm::Sha256), data);
            assert_eq!(moved.media_type(), descriptor.media_type());
            assert_eq!(moved.data().is_some(), descriptor.object().get("data").is_some());
        }
    }
}

/// Whether one of serde_json's own keys stands anywhere within, at which its `Value` doesn't take an object for one.
fn has_private_key(object: &Object) -> bool {
    let within = |raw: &Raw| match (raw.object(), raw.array()) {
        (Ok(object), _) => has_private_key(&object),
        (_, Ok(list)) => list.iter().any(is_private),
        _ => false,
    };
    object.iter().any(|(key, value)| key.starts_with("$serde_json::private::") || within(value))
}

fn is_private(raw: &Raw) -> bool {
    let mut object = Object::new();
    object.set("list", raw.clone());
    has_private_key(&object)
}

/// Written anew, edited and edited back.
fn edits(document: &Document, value: &Value) {
    let mut object = document.object().clone();
    let compact = Document::from(object.clone());
    assert_eq!(serde_json::from_slice::<Value>(compact.bytes()).ok().as_ref(), Some(value));
    assert_eq!(Document::parse(compact.bytes().clone()).as_ref(), Ok(&compact), "written as it is read");

    if object.get(NEW).is_some() {
        return;
    }
    object.set(NEW, Raw::of(NEW));
    let longer = Document::from(object.clone());
    let kept = compact.bytes().len() - 1;
    assert_eq!(longer.bytes()[..kept], compact.bytes()[..kept], "a new member goes to the end");
    object.set(NEW, Raw::of(&1));
    object.remove(NEW);
    assert_eq!(Document::from(object), compact);
}
