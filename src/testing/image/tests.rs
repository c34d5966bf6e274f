use std::io::Read as _;

use super::*;
use crate::operation::{GetManifest, Registry as _, Request};
use crate::spec::image::{Config, Manifest};

fn image() -> Image {
    let deep = format!("{}/{}", "d".repeat(120), "f".repeat(90));
    let base = [
        File::directory("bin"),
        File::executable("bin/tool", "#!/bin/true\n"),
        File::symlink("bin/alias", "tool"),
        File::new(deep, vec![7; 1000]),
    ];
    Image::new()
        .layer(base)
        .layer([File::new("etc/motd", "hello\n").mode(0o600)])
        .env("A=1")
        .env("B=2")
        .entrypoint(["/bin/tool"])
        .cmd(["x", "y"])
        .member("WorkingDir", Raw::of("/tmp"))
}

#[test]
fn a_tar_is_read_as_it_was_written() {
    let built = image().build().unwrap();
    let (descriptor, content) = &built.blobs()[1];
    assert_eq!(descriptor.media_type(), &MediaType::OCI_LAYER_GZIP);
    let mut archive = ::tar::Archive::new(flate2::read::GzDecoder::new(&content[..]));
    let entries: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            (path, header.mode().unwrap(), header.entry_type(), content.len())
        })
        .collect();
    use ::tar::EntryType::{Directory, Regular, Symlink};
    assert_eq!(
        entries,
        [
            ("bin/".to_owned(), 0o755, Directory, 0),
            ("bin/tool".to_owned(), 0o755, Regular, 12),
            ("bin/alias".to_owned(), 0o777, Symlink, 0),
            (format!("{}/{}", "d".repeat(120), "f".repeat(90)), 0o644, Regular, 1000),
        ]
    );
    let error = Image::new().layer([File::new("x".repeat(101), "")]).build().unwrap_err();
    assert_eq!(
        error.message(),
        format!("the tar format has no place for `{}` or its target", "x".repeat(101))
    );
}

#[test]
fn every_kind_of_image_agrees_with_itself() {
    for (image, manifest_type, layer_type) in [
        (image(), MediaType::OCI_MANIFEST, MediaType::OCI_LAYER_GZIP),
        (image().docker(), MediaType::DOCKER_MANIFEST, MediaType::DOCKER_LAYER_GZIP),
        (image().compression(Compression::None), MediaType::OCI_MANIFEST, MediaType::OCI_LAYER),
        (image().compression(Compression::Zstd), MediaType::OCI_MANIFEST, MediaType::OCI_LAYER_ZSTD),
        (image().without_media_type(), MediaType::OCI_MANIFEST, MediaType::OCI_LAYER_GZIP),
        (image().without_media_type().docker(), MediaType::DOCKER_MANIFEST, MediaType::DOCKER_LAYER_GZIP),
    ] {
        let built = image.build().unwrap();
        assert_eq!(built.content(), image.build().unwrap().content(), "the same bytes each time");
        // What it is follows from the document alone.
        let parsed = Manifest::parse(None, built.content().clone()).unwrap();
        assert_eq!((parsed.media_type(), built.media_type()), (&manifest_type, &manifest_type));
        let Manifest::Image(parsed) = parsed else { panic!("{parsed:?}") };
        let described = std::iter::once(parsed.config()).chain(parsed.layers());
        assert!(described.zip(built.blobs()).all(|(said, (kept, _))| said == kept));
        assert_eq!(parsed.layers()[1].media_type(), &layer_type);

        let config = Config::parse(built.blobs()[0].1.clone()).unwrap();
        assert!(config.history_agrees());
        for ((_, layer), diff_id) in built.blobs()[1..].iter().zip(config.parsed_diff_ids().unwrap()) {
            let mut tar = Vec::new();
            match layer_type.as_str().rsplit('.').next().unwrap() {
                "tar" => tar.extend_from_slice(layer),
                "tar+zstd" => tar = ::zstd::decode_all(&layer[..]).unwrap(),
                _ => _ = flate2::read::GzDecoder::new(&layer[..]).read_to_end(&mut tar).unwrap(),
            }
            assert_eq!(Digest::sha256(&tar), diff_id);
        }
    }
    let config = image().without_history().build().unwrap().blobs()[0].1.clone();
    assert_eq!(Config::parse(config.clone()).unwrap().history(), None);
    let text = std::str::from_utf8(&config).unwrap();
    let run =
        r#""config":{"Env":["A=1","B=2"],"Entrypoint":["/bin/tool"],"Cmd":["x","y"],"WorkingDir":"/tmp"}"#;
    assert!(text.starts_with(&format!(r#"{{"architecture":"amd64","os":"linux",{run},"rootfs""#)), "{text}");
}

#[tokio::test]
async fn an_index_is_pushed_with_all_that_is_under_it() {
    let arm: Platform = "linux/arm/v7".parse().unwrap();
    let nested = Index::new().docker().image(image().docker().platform(arm).build().unwrap()).build();
    let index = Index::new().image(image().build().unwrap()).attestation().image(nested.clone()).build();
    let (registry, repository): (_, Repository) =
        (Memory::builder().sparse_indexes(false).build(), "a/b".parse().unwrap());
    index.push(&registry, &repository, &"v1".parse().unwrap()).unwrap();
    for digest in [index.digest(), nested.digest(), index.children()[1].digest()] {
        let get = GetManifest::new(repository.clone(), (*digest).into());
        let found = registry.send(Request::new(get)).await.unwrap().into_reply().full().unwrap();
        assert_eq!(&found.digest, digest);
    }
    let Manifest::Index(parsed) = Manifest::parse(None, index.content().clone()).unwrap() else { panic!() };
    let [amd64, attestation, list] = parsed.manifests() else { panic!("{parsed:?}") };
    assert_eq!(amd64.platform().unwrap(), Some(Platform::LINUX_AMD64));
    assert_eq!((attestation.is_attestation(), attestation.attested()), (true, Some(*amd64.digest())));
    assert_eq!(attestation.platform().unwrap().unwrap().to_string(), "unknown/unknown");
    assert_eq!(list.media_type(), &MediaType::DOCKER_LIST);
}
