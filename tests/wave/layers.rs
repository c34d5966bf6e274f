//! Layers that come with a request are checked in full, those at addresses as far as can be said.

use tower_oci::spec::digest::Digest;
use tower_oci::wave::{HttpLayers, Limits};

use super::support::{Layer, Service, base64, gzip, tar};

const NAME: &str = "containerConfig.layers[0]";

#[tokio::test]
async fn every_form_of_a_right_layer_is_taken() {
    let service = Service::new();
    let layer = Layer::new();
    let (data, digest, diff_id, size) = (layer.data(), layer.digest, layer.diff_id, layer.blob.len());
    let typed = data.replacen("data:", "data:application/vnd.oci.image.layer.v1.tar+gzip;base64,", 1);
    let escaped = data.replace('/', "\\/");
    for json in [
        layer.json(),
        format!(
            r#"{{"location":"{data}","gzipDigest":"{digest}","gzipSize":"{size}","tarDigest":"{diff_id}"}}"#
        ),
        format!(
            r#"{{"location":"{typed}","gzipDigest":"{digest}","gzipSize":{size},"tarDigest":"{diff_id}"}}"#
        ),
        format!(r#"{{"location":"{escaped}","gzipDigest":null,"gzipSize":"","tarDigest":""}}"#),
        format!(r#"{{"location":"{data}"}}"#),
    ] {
        service.submit(&Layer::request(&json)).await;
    }
    let plans: Vec<_> = service.seen().into_iter().map(|seen| seen.plan).collect();
    assert_eq!(plans, [plans[0]; 5], "they are one plan");
}

#[tokio::test]
async fn a_zstd_layer_is_taken() {
    let service = Service::new();
    let tar = tar("a", b"b");
    let blob = zstd::encode_all(&tar[..], 3).unwrap();
    let json = format!(
        r#"{{"location":"data:{}","gzipDigest":"{}","gzipSize":{},"tarDigest":"{}"}}"#,
        base64(&blob),
        Digest::sha256(&blob),
        blob.len(),
        Digest::sha256(&tar)
    );
    service.submit(&Layer::request(&json)).await;
}

#[tokio::test]
async fn a_wrong_layer_is_refused_and_named() {
    let service = Service::new();
    let layer = Layer::new();
    let (data, digest, diff_id, size) = (layer.data(), layer.digest, layer.diff_id, layer.blob.len());
    let other = Digest::sha256(b"other");
    let cut = format!("data:{}", base64(&layer.blob[..size - 9]));
    let behind = format!("data:{}", base64(&[&layer.blob[..], b"more than a header"].concat()));
    for (json, message) in [
        ("{}".to_owned(), format!("`{NAME}.location` is missing")),
        (
            format!(r#"{{"location":"{data}","gzipDigest":"{other}"}}"#),
            format!("`{NAME}`: the layer has the digest {digest}, not {other}"),
        ),
        (
            format!(r#"{{"location":"{data}","tarDigest":"{other}"}}"#),
            format!("`{NAME}`: the tar of the layer has the digest {diff_id}, not {other}"),
        ),
        (
            format!(r#"{{"location":"{data}","gzipSize":{}}}"#, size + 1),
            format!("`{NAME}`: the layer has {size} bytes, not {}", size + 1),
        ),
        (format!(r#"{{"location":"{data}","gzipSize":0}}"#), format!("`{NAME}.gzipSize` is 0")),
        (
            format!(r#"{{"location":"{data}","gzipSize":-1}}"#),
            format!("`{NAME}.gzipSize` is no size in bytes: -1"),
        ),
        (
            format!(r#"{{"location":"{data}","gzipSize":"+5"}}"#),
            format!("`{NAME}.gzipSize` is no size in bytes: \"+5\""),
        ),
        (
            format!(r#"{{"location":"{data}","gzipSize":1.5}}"#),
            format!("`{NAME}.gzipSize` is no size in bytes: 1.5"),
        ),
        (
            format!(r#"{{"location":"{data}","gzipSize":99999999999999999999}}"#),
            format!("`{NAME}.gzipSize` is no size in bytes: 99999999999999999999"),
        ),
        (
            format!(r#"{{"location":"{data}","gzipDigest":"sha256:AB"}}"#),
            format!("`{NAME}.gzipDigest`: invalid digest `sha256:AB`: the number of its hex digits is wrong"),
        ),
        (
            format!(r#"{{"location":"{data}","tarDigest":"sha512:{}"}}"#, "0".repeat(128)),
            format!("`{NAME}.tarDigest` is no sha256 digest: `sha512:{}`", "0".repeat(128)),
        ),
        (
            r#"{"location":"data:H4s=x"}"#.to_owned(),
            format!("`{NAME}.location` is no valid base64: the character at 3 doesn't belong there"),
        ),
        (
            r#"{"location":"data:text/plain,hello"}"#.to_owned(),
            format!("`{NAME}.location` is no base64 data: `data:text/plain,`"),
        ),
        (
            format!(r#"{{"location":"data:{}"}}"#, base64(b"hello")),
            format!("`{NAME}.location` is neither gzip nor zstd"),
        ),
        (r#"{"location":"data:"}"#.to_owned(), format!("`{NAME}.location` is neither gzip nor zstd")),
        (
            format!(r#"{{"location":"{cut}"}}"#),
            format!("`{NAME}`: the layer is cut off: its tar+gzip has no end"),
        ),
        (format!(r#"{{"location":"{behind}"}}"#), format!("`{NAME}`: the layer is no valid tar+gzip")),
        (
            r#"{"location":"file:///etc/passwd"}"#.to_owned(),
            format!("`{NAME}.location` is neither `data:` nor an http address: `file:///etc/passwd`"),
        ),
        (
            r#"{"location":"/a.tgz?sig=hunter2"}"#.to_owned(),
            format!("`{NAME}.location` is neither `data:` nor an http address: `/a.tgz`"),
        ),
        (
            format!(r#"{{"location":"https://a.test/{}"}}"#, "x".repeat(8192)),
            format!(
                "`{NAME}.location` is an address of 8207 bytes, more than 8192: `https://a.test/{}…`",
                "x".repeat(113)
            ),
        ),
        (
            r#"{"location":7}"#.to_owned(),
            format!("`{NAME}.location`: invalid type: integer `7`, expected a string"),
        ),
        ("[]".to_owned(), format!("`{NAME}` is no object")),
    ] {
        println!("{json}");
        service.post(Layer::request(&json)).await.assert_failure(400, &message);
    }
    let second = format!("{},{{}}", layer.json());
    let answer = service.post(Layer::request(&second)).await;
    answer.assert_failure(400, "`containerConfig.layers[1].location` is missing");
    assert_eq!(service.seen(), [], "nothing was looked up");
}

#[tokio::test]
async fn a_layer_over_a_limit_is_refused() {
    let mut limits = Limits::default();
    limits.max_location = 4000;
    limits.max_layers = 2;
    let service = Service::with(|wave| wave.limits(limits));
    let long = format!(r#"{{"location":"data:{}"}}"#, "A".repeat(3996));
    service
        .post(Layer::request(&long))
        .await
        .assert_failure(400, &format!("`{NAME}.location` has 4001 characters, more than 4000"));
    let three = ["{}"; 3].join(",");
    service
        .post(Layer::request(&three))
        .await
        .assert_failure(400, "`containerConfig.layers` has 3 layers, more than 2");
}

#[tokio::test]
async fn the_default_limit_of_a_location_is_waves() {
    let service = Service::new();
    let long = format!(r#"{{"location":"data:{}"}}"#, "A".repeat(13_999_996));
    service
        .post(Layer::request(&long))
        .await
        .assert_failure(400, &format!("`{NAME}.location` has 14000001 characters, more than 14000000"));
}

#[tokio::test]
async fn bombs_are_refused() {
    let service = Service::new();
    // 32 MiB of zeros are 32 KiB of gzip: a thousand times as much.
    let bomb = gzip(&vec![0; 32 << 20]);
    let json = format!(r#"{{"location":"data:{}"}}"#, base64(&bomb));
    service.post(Layer::request(&json)).await.assert_failure(
        400,
        &format!("`{NAME}`: the layer inflates to more than 16777216 bytes, which its size allows"),
    );
    // Several members count as one.
    let bomb = gzip(&vec![0; 9 << 20]).repeat(2);
    let json = format!(r#"{{"location":"data:{}"}}"#, base64(&bomb));
    service.post(Layer::request(&json)).await.assert_failure(
        400,
        &format!("`{NAME}`: the layer inflates to more than 16777216 bytes, which its size allows"),
    );
}

#[tokio::test]
async fn a_layer_at_an_address_needs_all_that_is_said_of_it() {
    let service = Service::new();
    let layer = Layer::new();
    let (digest, diff_id) = (layer.digest, layer.diff_id);
    let location = "https://layers.test/a.tgz?sig=hunter2";
    let whole = format!(
        r#"{{"location":"{location}","gzipDigest":"{digest}","gzipSize":10,"tarDigest":"{diff_id}"}}"#
    );
    service.submit(&Layer::request(&whole)).await;
    for missing in ["gzipDigest", "gzipSize", "tarDigest"] {
        let json = whole.replace(missing, "other");
        service.post(Layer::request(&json)).await.assert_failure(
            400,
            &format!("`{NAME}.{missing}` is missing, which a layer at an http address needs"),
        );
    }
    let user = whole.replace("https://", "https://user:hunter2@");
    service.post(Layer::request(&user)).await.assert_failure(
        400,
        &format!("`{NAME}`: the layer location `layers.test/a.tgz` has a user name in it"),
    );
    let refusing = Service::with(|wave| wave.http_layers(HttpLayers::Refuse));
    refusing
        .post(Layer::request(&whole))
        .await
        .assert_failure(400, &format!("`{NAME}.location`: this service takes no layers from http addresses"));
}
