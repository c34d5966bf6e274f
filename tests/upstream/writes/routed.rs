//! Through the router: names are mapped, and what belongs to two registries is told apart.

use tower::ServiceBuilder;
use tower_oci::client::Upstreams;
use tower_oci::layer::route::{RouteLayer, Routes};

use super::*;

/// Two registries, `one.example` (by the alias `team` below `acme/team`) and `two.example`.
struct Routed {
    one: Home,
    two: Home,
    client: Client,
}

fn routed() -> Routed {
    let (one, two) = (Home::new(), Home::new());
    let hosts = Hosts::new().on("one.example", one.faulty.clone()).on("two.example", two.faulty.clone());
    let upstream = |host: &str| {
        let builder = Upstream::builder(host.parse().unwrap()).http(HttpService::new(hosts.clone()));
        builder.retry(RetryPolicy::never()).writes(true)
    };
    let upstreams = Upstreams::builder()
        .upstream(upstream("one.example"))
        .upstream(upstream("two.example"))
        .upload_key(KEY)
        .build()
        .unwrap();
    let routes = Routes::new()
        .alias_under("team", "one.example".parse().unwrap(), "acme/team".parse().unwrap())
        .unwrap()
        .host("one.example".parse().unwrap())
        .host("two.example".parse().unwrap());
    let client = Client::new(ServiceBuilder::new().layer(RouteLayer::new(routes)).service(upstreams));
    Routed { one, two, client }
}

#[tokio::test(start_paused = true)]
async fn an_image_goes_to_the_registry_that_its_name_means() {
    let Routed { one, two, client } = routed();
    client.push_blob("team/app", "{}").await;
    client.push_blob("team/app", "a layer of the image").await;
    let document = manifest("");
    let digest = Digest::sha256(document.as_bytes());
    let put = client
        .send("PUT", "/v2/team/app/manifests/v1", &[("content-type", MANIFEST)], document.clone())
        .await;
    assert_eq!((put.status, put.location()), (201, format!("/v2/team/app/manifests/{digest}").as_str()));
    let seen = one.seen();
    assert_eq!((seen[0].as_str(), seen.len()), ("POST /v2/acme/team/app/blobs/uploads/", 5));
    assert_eq!(seen[4], "PUT /v2/acme/team/app/manifests/v1");
    assert_eq!(
        client.send("GET", "/v2/one.example/acme/team/app/manifests/v1", &[], "").await.text(),
        document
    );
    assert_eq!(client.send("DELETE", "/v2/team/app/manifests/v1", &[], "").await.status, 202);
    assert_eq!(one.seen()[1], "DELETE /v2/acme/team/app/manifests/v1");
    assert_eq!(two.seen(), [""; 0]);
    let unknown = client.send("POST", "/v2/three.example/app/blobs/uploads/", &[], "").await;
    assert_eq!((unknown.status, unknown.error().1.as_str()), (404, "NAME_UNKNOWN"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_under_every_name_of_its_repository_and_no_other() {
    let Routed { one, two, client } = routed();
    let opened = client.open("team/app").await;
    let id = opened.strip_prefix("/v2/team/app/blobs/uploads/").unwrap();
    let same = format!("/v2/one.example/acme/team/app/blobs/uploads/{id}");
    let chunk = client.send("PATCH", &same, &[], "abc").await;
    assert_eq!(chunk.status, 202);
    assert!(chunk.location().starts_with("/v2/one.example/acme/team/app/blobs/uploads/"));
    one.seen();
    for other in ["team/other", "two.example/acme/team/app"] {
        let got = client.send("PATCH", &format!("/v2/{other}/blobs/uploads/{id}"), &[], "abc").await;
        assert_eq!((got.status, got.error().1.as_str()), (404, "BLOB_UPLOAD_UNKNOWN"), "{other}");
    }
    assert_eq!((one.seen(), two.seen()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_mounted_within_one_registry_and_uploaded_to_another() {
    let Routed { one, two, client } = routed();
    let digest = client.push_blob("team/app", "content").await;
    one.seen();
    let within = format!("/v2/one.example/b/blobs/uploads/?mount={digest}&from=team/app");
    let mounted = client.send("POST", &within, &[], "").await;
    assert_eq!(
        (mounted.status, mounted.location()),
        (201, format!("/v2/one.example/b/blobs/{digest}").as_str())
    );
    assert_eq!(one.seen(), [format!("POST /v2/b/blobs/uploads/?mount={digest}&from=acme/team/app")]);
    let across = format!("/v2/two.example/b/blobs/uploads/?mount={digest}&from=team/app");
    let opened = client.send("POST", &across, &[], "").await;
    assert_eq!(opened.status, 202);
    assert_eq!(two.seen(), ["POST /v2/b/blobs/uploads/"]);
    let finish = format!("{}?digest={digest}", opened.location());
    assert_eq!(client.send("PUT", &finish, &[], "content").await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn registries_that_nobody_configured_are_only_read_from() {
    let open = Upstreams::builder().any_host(true).upload_key(KEY).default_upstream(HOST.parse().unwrap());
    let client = Client::new(open.build().unwrap());
    let got = client.send("POST", "/v2/a/b/blobs/uploads/", &[], "").await;
    let message = "StartUpload is not passed on to registry.example: upstreams are only read from";
    assert_eq!(got.error(), refused(405, "UNSUPPORTED", message));
}
