use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

fn from_blob(content: Vec<u8>, kind: LayerKind) -> Result<InjectedLayer, Error> {
    InjectedLayer::from_blob(content.into(), kind, &Limits::default())
}

mod layers {
    use super::*;

    /// A tar that doesn't pack to nothing.
    fn tar() -> Vec<u8> {
        (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    #[test]
    fn every_kind_is_measured() {
        let tar = tar();
        for (content, kind) in [
            (tar.clone(), LayerKind::Tar),
            (gzip(&tar), LayerKind::Gzip),
            ([gzip(&tar[..1000]), gzip(b""), gzip(&tar[1000..])].concat(), LayerKind::Gzip),
            (zstd(&tar), LayerKind::Zstd),
            // Several frames, and one to be skipped.
            (
                [zstd(&tar[..9]), b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), zstd(&tar[9..])].concat(),
                LayerKind::Zstd,
            ),
        ] {
            assert_eq!(LayerKind::of(&content), kind);
            let layer = from_blob(content.clone(), kind).unwrap();
            assert_eq!(*layer.diff_id(), Digest::sha256(&tar));
            assert_eq!(*layer.digest(), Digest::sha256(&content));
            assert_eq!(layer.size(), content.len() as u64);
            assert_eq!(layer.kind(), kind);
        }
        let packed = InjectedLayer::from_tar(tar.clone().into()).unwrap();
        assert_eq!(from_blob(packed.bytes().unwrap().to_vec(), LayerKind::Gzip).unwrap(), packed);
        assert_eq!(*packed.diff_id(), Digest::sha256(&tar));
    }

    #[test]
    fn what_is_malformed_is_refused_by_name() {
        let tar = tar();
        let cut = |mut content: Vec<u8>, length| {
            content.truncate(length);
            content
        };
        let packed = gzip(&tar);
        let length = packed.len();
        for (content, kind, message) in [
            (vec![], LayerKind::Gzip, "the layer is cut off: its tar+gzip has no end"),
            (vec![], LayerKind::Zstd, "the layer is cut off: its tar+zstd has no end"),
            (
                cut(packed.clone(), length - 1),
                LayerKind::Gzip,
                "the layer is cut off: its tar+gzip has no end",
            ),
            (
                cut(packed.clone(), length / 2),
                LayerKind::Gzip,
                "the layer is cut off: its tar+gzip has no end",
            ),
            (tar.clone(), LayerKind::Gzip, "the layer is no valid tar+gzip"),
            (
                [packed.clone(), b"garbage garbage".to_vec()].concat(),
                LayerKind::Gzip,
                "the layer is no valid tar+gzip",
            ),
            ([packed.clone(), vec![0; 512]].concat(), LayerKind::Gzip, "the layer is no valid tar+gzip"),
            (packed, LayerKind::Zstd, "the layer is no valid tar+zstd"),
            (
                [zstd(&tar), b"garbage garbage".to_vec()].concat(),
                LayerKind::Zstd,
                "the layer is no valid tar+zstd",
            ),
            (
                b"\x50\x2a\x4d\x18\xff\0\0\0abc".to_vec(),
                LayerKind::Zstd,
                "the layer is cut off: its tar+zstd has no end",
            ),
        ] {
            let error = from_blob(content, kind).unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, ErrorCode::ManifestInvalid));
            assert_eq!(error.to_string(), message);
        }
        let mut flipped = gzip(&tar);
        flipped[length - 6] ^= 1;
        assert!(from_blob(flipped, LayerKind::Gzip).is_err(), "the check sum is checked");
        let cut_zstd = cut(zstd(&tar), 1000);
        assert_eq!(from_blob(cut_zstd, LayerKind::Zstd).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn bombs_are_refused_before_they_go_off() {
        let zeros = vec![0; 17 * 1024 * 1024];
        for (content, kind) in [(gzip(&zeros), LayerKind::Gzip), (zstd(&zeros), LayerKind::Zstd)] {
            let most = Limits::RATIO_FROM.max(content.len() as u64 * 100);
            let error = from_blob(content.clone(), kind).unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::TooLarge, ErrorCode::SizeInvalid));
            assert_eq!(
                error.to_string(),
                format!("the layer inflates to more than {most} bytes, which its size allows")
            );
            let ratio = Limits::default().with_max_ratio(u64::MAX);
            assert!(InjectedLayer::from_blob(content.clone().into(), kind, &ratio).is_ok());
            let total = ratio.with_max_inflated(1000);
            let error = InjectedLayer::from_blob(content.into(), kind, &total).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the layer inflates to more than 1000 bytes, which its size allows"
            );
        }
        let small = Limits::default().with_max_size(9);
        let error = InjectedLayer::from_blob(vec![0; 10].into(), LayerKind::Tar, &small).unwrap_err();
        assert_eq!(error.to_string(), "the layer has 10 bytes, more than 9");
        // A zstd frame that declares a window of 2 GiB.
        let window = b"\x28\xb5\x2f\xfd\x00\xa8\x01\0\0".to_vec();
        assert_eq!(from_blob(window, LayerKind::Zstd).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn what_was_said_of_a_layer_is_compared() {
        let layer = from_blob(vec![0; 10], LayerKind::Tar).unwrap();
        let other = Digest::sha256(b"other");
        let (digest, found) = (*layer.digest(), *layer.digest());
        let expecting = |digest, diff_id, size| {
            let compared = layer.clone().expecting(digest, diff_id, size);
            compared.map_err(|error| (error.code(), error.to_string()))
        };
        assert_eq!(expecting(None, None, None).unwrap(), layer);
        assert_eq!(expecting(Some(&digest), Some(&digest), Some(10)).unwrap(), layer);
        assert_eq!(
            expecting(Some(&digest), None, Some(11)).unwrap_err(),
            (ErrorCode::SizeInvalid, "the layer has 10 bytes, not 11".to_owned())
        );
        assert_eq!(
            expecting(Some(&other), None, None).unwrap_err(),
            (ErrorCode::DigestInvalid, format!("the layer has the digest {found}, not {other}"))
        );
        assert_eq!(
            expecting(None, Some(&other), None).unwrap_err(),
            (ErrorCode::DigestInvalid, format!("the tar of the layer has the digest {found}, not {other}"))
        );
    }

    #[test]
    fn a_location_is_an_http_address_and_its_query_a_secret() {
        let at = |uri: &str, size| {
            let digest = Digest::sha256(b"");
            InjectedLayer::from_http(uri.parse().unwrap(), digest, digest, size, HttpMode::Stream)
        };
        for (uri, size, message) in [
            ("ftp://host/x", 1, "the layer location `host/x` is no http or https address"),
            ("/x", 1, "the layer location `/x` is no http or https address"),
            ("https://user:secret@host/x", 1, "the layer location `host/x` has a user name in it"),
        ] {
            assert_eq!(at(uri, size).unwrap_err().to_string(), message);
        }
        for size in [0, u64::MAX] {
            assert_eq!(at("https://host/x", size).unwrap_err().code(), ErrorCode::SizeInvalid);
        }
        let layer = at("https://host/x?sig=secret", 1).unwrap().with_kind(LayerKind::Zstd);
        assert_eq!(layer.kind(), LayerKind::Zstd);
        let plan = Plan::builder().layer(layer.clone()).env("PASSWORD=secret").build().unwrap();
        let shown = format!("{layer:?} {plan:?} {:?}", Rewrite::new(plan.clone()));
        assert!(shown.contains("host/x") && !shown.contains("secret"), "{shown}");
        let seen = from_blob(vec![0; 10], LayerKind::Tar).unwrap().with_kind(LayerKind::Gzip);
        assert_eq!(seen.kind(), LayerKind::Tar, "what has been seen stays what it is");
    }
}

mod plans {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (plan, message) in [
            (Plan::builder().env("A"), "the environment entry `A` is not of the form `NAME=value`"),
            (Plan::builder().env("=x"), "the environment entry `=x` is not of the form `NAME=value`"),
            (Plan::builder().env("A=1").env(""), "the environment entry `` is not of the form `NAME=value`"),
            (Plan::builder().env("A=\0"), "`A=\\0` contains a NUL"),
            (Plan::builder().entrypoint(["", "x"]), "the first word of the entry point is empty"),
            (Plan::builder().cmd([""]), "the first word of the command is empty"),
            (Plan::builder().label("", "x"), "the name of a label is empty"),
            (Plan::builder().annotation("", "x"), "the name of an annotation is empty"),
            (Plan::builder().entry_chain("A=B"), "`A=B` is no name of a variable for the entry chain"),
            (Plan::builder().working_dir("/\0"), "`/\\0` contains a NUL"),
        ] {
            let error = plan.build().unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, ErrorCode::ManifestInvalid));
            assert_eq!(error.to_string(), message);
        }
        let long = Plan::builder().env(format!("A={}", "x".repeat(Plan::MAX_TEXT))).build().unwrap_err();
        assert_eq!(long.to_string(), "the configuration has 1048578 bytes of text, more than 1048576");
        let layer = from_blob(vec![0; 10], LayerKind::Tar).unwrap();
        let many = Plan::builder().layers(vec![layer; 65]).build().unwrap_err();
        assert_eq!(many.to_string(), "65 layers are more than 64");
        assert!(Plan::builder().env("A=").cmd(["x", ""]).build().is_ok());
    }

    #[test]
    fn plans_that_mean_something_else_have_another_name() {
        let layer = from_blob(vec![0; 10], LayerKind::Tar).unwrap();
        let http = |uri: &str, kind| {
            let (digest, uri) = (Digest::sha256(b""), uri.parse().unwrap());
            InjectedLayer::from_http(uri, digest, digest, 5, HttpMode::Stream).unwrap().with_kind(kind)
        };
        let plans = [
            Plan::builder(),
            Plan::builder().layer(layer.clone()),
            Plan::builder().layer(layer.clone()).layer(layer.clone()),
            Plan::builder().layer(layer.clone().for_platforms([Platform::LINUX_AMD64])),
            Plan::builder().layer(http("http://a/", LayerKind::Gzip)),
            Plan::builder().layer(http("http://a/", LayerKind::Zstd)),
            Plan::builder().entrypoint(["a"]),
            Plan::builder().cmd(["a"]),
            Plan::builder().entrypoint(["a", "b"]),
            Plan::builder().entrypoint(["ab"]),
            Plan::builder().env("A=1"),
            Plan::builder().env("A=1").env("B=2"),
            Plan::builder().env("B=2").env("A=1"),
            Plan::builder().working_dir("a"),
            Plan::builder().user("a"),
            Plan::builder().label("a", "b"),
            Plan::builder().annotation("a", "b"),
            Plan::builder().platforms([Platform::LINUX_AMD64]),
            Plan::builder().entry_chain("a"),
            Plan::builder().base_annotations(true),
            Plan::builder().base_name("a"),
        ];
        let mut digests: Vec<_> = plans.into_iter().map(|plan| *plan.build().unwrap().digest()).collect();
        let count = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count);

        let same = |one: PlanBuilder, other: PlanBuilder| {
            assert_eq!(one.build().unwrap().digest(), other.build().unwrap().digest());
        };
        same(
            Plan::builder().layer(http("http://a/", LayerKind::Gzip)),
            Plan::builder().layer(http("http://b/", LayerKind::Gzip)),
        );
        same(
            Plan::builder().label("a", "1").label("b", "2"),
            Plan::builder().label("b", "2").label("a", "1"),
        );
        let platforms = [Platform::LINUX_AMD64, Platform::LINUX_ARM64];
        same(
            Plan::builder().platforms(platforms.clone()),
            Plan::builder().platforms(platforms.into_iter().rev().cycle().take(4)),
        );
        same(Plan::builder().working_dir("").user("").cmd::<String>([]), Plan::builder());
    }
}
