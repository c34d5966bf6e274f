//! What a hostile or broken registry, token service or storage could try: each row of the list of threats that concerns
//! the client.

use http::{HeaderName, HeaderValue, header};
use tower_oci::client::{Redirects, RetryPolicy, Upstreams};
use tower_oci::error::Error;
use tower_oci::operation::{
    BlobContent, Credential, DeleteManifest, GetBlob, GetManifest, ListTags, Registry as _, Request,
    StartUpload, UpstreamId, WithoutRedirect,
};

use crate::web::*;

fn basic() -> Credential {
    Credential::basic("user", "hunter2")
}

#[tokio::test(start_paused = true)]
async fn a_realm_elsewhere_gets_no_credentials() {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.starts_with("GET https://evil.example/token") => Answer::token("anonymous", 300),
        _ => Answer::challenge(r#"Bearer realm="https://evil.example/token",service="reg""#),
    });
    for credential in [basic(), Credential::IdentityToken("refresh-secret".into())] {
        let upstream = web.upstream().credential(credential).build().unwrap();
        assert_eq!(
            told(pull(&upstream, "v1").await),
            error(
                403,
                "DENIED",
                "registry.example answered with 401: UNAUTHORIZED: authentication required; its token service \
                 evil.example is neither built in nor configured for it, so it was not given the credentials"
            )
        );
        assert_eq!(
            web.seen(),
            [
                GET_V1.to_owned(),
                "~GET https://evil.example/token?service=reg&scope=repository:team/app:pull".to_owned(),
                format!("{GET_V1} [Bearer anonymous]"),
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_token_host_gets_the_credentials_and_its_look_alikes_do_not() {
    for (realm, trusted) in [
        ("https://auth.example/token", true),
        ("https://AUTH.example:443/token", true),
        ("https://auth.example:8443/token", false),
        ("https://auth.example.evil.example/token", false),
        ("https://evil-auth.example/token", false),
        ("https://sub.auth.example/token", false),
        ("https://sub.registry.example/token", false),
        ("https://registry.example:444/token", false),
        ("https://registry.example./token", false),
    ] {
        let web = Web::new(move |call| match call.line.as_str() {
            line if line.contains("/token") => Answer::token("t", 300),
            _ if call.authorization().is_some() => Answer::manifest(),
            _ => Answer::challenge(&format!("Bearer realm=\"{realm}\"")),
        });
        let upstream =
            web.upstream().credential(basic()).token_host("auth.example".parse().unwrap()).build().unwrap();
        pull(&upstream, "v1").await.unwrap();
        let with = if trusted { ("", " [Basic dXNlcjpodW50ZXIy]") } else { ("~", "") };
        let wanted = format!("{}GET {realm}?scope=repository:team/app:pull{}", with.0, with.1);
        assert_eq!(web.seen()[1], wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_alike_of_a_known_registry_is_a_stranger() {
    // The built-in token host of docker.io is not one of docker.io.evil.example, nor of docker.io at another endpoint.
    let challenge = r#"Bearer realm="https://auth.docker.io/token""#;
    let web = Web::new(move |call| match call.line.as_str() {
        line if line.contains("/token") => Answer::token("t", 300),
        _ if call.authorization().is_some() => Answer::manifest(),
        _ => Answer::challenge(challenge),
    });
    for upstream in [
        web.upstream_at("docker.io.evil.example"),
        web.upstream_at("evil-docker.io"),
        web.upstream_at("docker.io").endpoint("mirror.example".parse().unwrap()),
    ] {
        pull(&upstream.credential(basic()).build().unwrap(), "v1").await.unwrap();
        assert_eq!(web.seen()[1], "~GET https://auth.docker.io/token?scope=repository:team/app:pull");
    }
}

#[tokio::test(start_paused = true)]
async fn a_realm_over_plain_http_is_not_asked() {
    let web = Web::new(|_| Answer::challenge(r#"Bearer realm="http://registry.example/token""#));
    let upstream = web.upstream().credential(basic()).build().unwrap();
    assert_eq!(
        told(pull(&upstream, "v1").await),
        error(
            403,
            "DENIED",
            "registry.example wants a token, but only over plain http, from http://registry.example"
        )
    );
    assert_eq!(web.seen(), [GET_V1]);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_over_plain_http_may_have_a_realm_over_plain_http() {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.contains("/token") => Answer::token("t", 300),
        _ if call.authorization().is_some() => Answer::manifest(),
        _ => Answer::challenge(r#"Bearer realm="http://10.0.0.9:5001/token""#),
    });
    let host = "10.0.0.9:5000";
    let upstream = web.upstream_at(host).plain_http(true).credential(basic());
    let upstream = upstream.token_host("10.0.0.9:5001".parse().unwrap()).build().unwrap();
    pull(&upstream, "v1").await.unwrap();
    assert_eq!(
        web.seen(),
        [
            "GET http://10.0.0.9:5000/v2/team/app/manifests/v1",
            "GET http://10.0.0.9:5001/token?scope=repository:team/app:pull [Basic dXNlcjpodW50ZXIy]",
            "GET http://10.0.0.9:5000/v2/team/app/manifests/v1 [Bearer t]",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_redirect_of_a_token_request_is_not_followed() {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.contains("/token") => Answer::redirect("https://evil.example/collect"),
        _ => Answer::challenge(r#"Bearer realm="https://registry.example/token""#),
    });
    let upstream = web.upstream().credential(basic()).build().unwrap();
    assert_eq!(
        told(pull(&upstream, "v1").await),
        error(
            502,
            "UNSUPPORTED",
            "registry.example: the token service registry.example answered 307 Temporary Redirect, and redirects of it are not followed"
        )
    );
    let token = "GET https://registry.example/token?scope=repository:team/app:pull [Basic dXNlcjpodW50ZXIy]";
    assert_eq!(web.seen(), [GET_V1, token]);
}

#[tokio::test(start_paused = true)]
async fn a_token_answer_is_read_up_to_64_kib() {
    for (length, message) in [
        (64 * 1024, None),
        (
            64 * 1024 + 1,
            Some("registry.example: the token service registry.example answered with more than 65536 bytes"),
        ),
    ] {
        let web = Web::new(move |call| match call.line.as_str() {
            line if line.contains("/token") => {
                let answer = format!(r#"{{"token":"t","pad":"{}"}}"#, "x".repeat(length - 22));
                assert_eq!(answer.len(), length);
                Answer::content(answer)
            }
            _ if call.authorization().is_some() => Answer::manifest(),
            _ => Answer::challenge(r#"Bearer realm="https://registry.example/token""#),
        });
        let pulled = pull(&web.upstream().build().unwrap(), "v1").await;
        match message {
            None => assert!(pulled.is_ok()),
            Some(message) => assert_eq!(told(pulled), error(502, "UNSUPPORTED", message)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_asked_for_the_repository_of_the_operation_and_for_reading_only() {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.contains("/token") => Answer::token("t", 300),
        _ if call.authorization().is_some() => Answer::manifest(),
        _ => Answer::challenge(
            r#"Bearer realm="https://registry.example/token",scope="repository:secret/other:pull repository:team/app:pull,push,delete registry:catalog:*""#,
        ),
    });
    pull(&web.upstream().build().unwrap(), "v1").await.unwrap();
    assert_eq!(web.seen()[1], "GET https://registry.example/token?scope=repository:team/app:pull");
}

#[tokio::test(start_paused = true)]
async fn credentials_do_not_follow_a_redirect_and_are_not_put_back_when_it_returns() {
    let signed = "https://cdn.example/x?X-Sig=%2F%2f+~";
    let web = Web::new(move |call| match call.line.as_str() {
        "GET https://cdn.example/x?X-Sig=%2F%2f+~" => Answer::redirect("https://registry.example/back"),
        "GET https://registry.example/back" => Answer::redirect("/again"),
        // It echoes what it gets, and finds no secret in it.
        "GET https://registry.example/again" => {
            let names: Vec<_> = call.headers.keys().map(HeaderName::as_str).collect();
            assert_eq!(names, ["accept-encoding", "user-agent"]);
            Answer::content(BLOB)
        }
        _ if call.authorization().is_none() => Answer::challenge(r#"Basic realm="x""#),
        _ => Answer::redirect(signed),
    });
    let cookie = HeaderValue::from_static("session=secret");
    let own = HeaderValue::from_static("api-key");
    let upstream = web
        .upstream()
        .credential(basic())
        .secret_header(header::COOKIE, cookie)
        .secret_header(HeaderName::from_static("x-api-key"), own)
        .build()
        .unwrap();
    assert_eq!(drained(&upstream).await.0, BLOB);
    assert_eq!(
        web.seen(),
        [
            format!("{} [session=secret]", get_blob_line()),
            format!("{} [Basic dXNlcjpodW50ZXIy] [session=secret]", get_blob_line()),
            format!("~GET {signed}"),
            "~GET https://registry.example/back".to_owned(),
            "~GET https://registry.example/again".to_owned(),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_follow_within_the_upstreams_own_origin_only() {
    for (location, with) in [
        ("/elsewhere", true),
        ("https://registry.example/elsewhere", true),
        ("https://registry.example:443/elsewhere", true),
        ("https://registry.example:8443/elsewhere", false),
        ("https://sub.registry.example/elsewhere", false),
        ("//other.example/elsewhere", false),
    ] {
        let web = Web::new(move |call| match call.line.as_str() {
            line if line.ends_with("/elsewhere") => Answer::content(BLOB),
            _ if call.authorization().is_none() => Answer::challenge(r#"Basic realm="x""#),
            _ => Answer::redirect(location),
        });
        let upstream = web.upstream().credential(basic()).build().unwrap();
        assert_eq!(drained(&upstream).await.0, BLOB);
        let last = web.seen().pop().unwrap();
        assert_eq!((last.contains("[Basic"), last.starts_with('~')), (with, !with), "{location}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_five_redirects_are_followed() {
    let web = Web::new(|_| Answer::redirect("https://cdn.example/loop"));
    let upstream = web.upstream().build().unwrap();
    assert_eq!(
        told(get_blob(&upstream).await),
        error(502, "UNSUPPORTED", "cdn.example redirects once more after 5 redirects")
    );
    let mut wanted = vec![get_blob_line()];
    wanted.extend(vec!["~GET https://cdn.example/loop".to_owned(); 5]);
    assert_eq!(web.seen(), wanted);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_never_leads_from_https_to_http() {
    for redirects in [Redirects::Follow, Redirects::HandOn] {
        let web = Web::new(|_| Answer::redirect("http://cdn.example/x?X-Sig=secret"));
        let upstream = web.upstream().redirects(redirects).build().unwrap();
        assert_eq!(
            told(get_blob(&upstream).await),
            error(502, "UNSUPPORTED", "registry.example redirects from https to http://cdn.example")
        );
        assert_eq!(web.seen(), [get_blob_line()]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_another_origin_can_be_handed_on() {
    let signed = "https://cdn.example/x?X-Sig=%2F%2f+~";
    let web = Web::new(move |call| match call.line.as_str() {
        line if line.ends_with("/inside") => Answer::redirect(signed),
        _ => Answer::redirect("/inside"),
    });
    let upstream = web.upstream().redirects(Redirects::HandOn).build().unwrap();
    let content = get_blob(&upstream).await.unwrap().content;
    assert_eq!(format!("{content:?}"), "Redirect(\"cdn.example\")");
    let BlobContent::Redirect(uri) = content else { panic!("no redirect") };
    assert_eq!(uri, signed);
    assert_eq!(web.seen(), [get_blob_line(), "GET https://registry.example/inside".to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_followed_for_a_layer_that_reads_the_blob_itself() {
    let web = Web::new(|call| match call.line.as_str() {
        "GET https://cdn.example/x" => Answer::content(BLOB),
        _ => Answer::redirect("https://cdn.example/x"),
    });
    let upstream = web.upstream().redirects(Redirects::HandOn).build().unwrap();
    let mut request = Request::new(GetBlob::new(REPOSITORY.parse().unwrap(), blob_digest()));
    request.extensions_mut().insert(WithoutRedirect::new());
    let body = upstream.send(request).await.unwrap().into_reply().into_whole().unwrap();
    assert_eq!(body.read(BLOB.len()).await.unwrap(), BLOB);
    assert_eq!(web.seen(), [get_blob_line(), "~GET https://cdn.example/x".to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn the_challenge_of_a_storage_is_not_answered() {
    let web = Web::new(|call| match call.line.as_str() {
        "GET https://cdn.example/x" => Answer::challenge(r#"Basic realm="x""#),
        _ => Answer::redirect("https://cdn.example/x"),
    });
    let upstream = web.upstream().credential(basic()).build().unwrap();
    assert_eq!(
        told(get_blob(&upstream).await),
        error(
            403,
            "DENIED",
            "cdn.example, where registry.example redirects to, answered with 401: UNAUTHORIZED: authentication \
             required; redirects take no credentials along"
        )
    );
    assert_eq!(web.seen(), [get_blob_line(), "~GET https://cdn.example/x".to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn urls_of_foreign_layers_are_not_followed() {
    let web = Web::new(|call| {
        match call.line.as_str() {
        line if line.contains("/manifests/") => Answer::content(
            r#"{"schemaVersion":2,"config":{},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"sha256:ab","size":1,"urls":["https://evil.example/layer"]}]}"#,
        )
        .header("content-type", MANIFEST_TYPE),
        _ => Answer::json(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#),
    }
    });
    let upstream = web.upstream().build().unwrap();
    pull(&upstream, "v1").await.unwrap();
    assert_eq!(
        told(get_blob(&upstream).await),
        error(
            404,
            "BLOB_UNKNOWN",
            "registry.example answered with 404: BLOB_UNKNOWN: blob unknown to registry"
        )
    );
    assert_eq!(web.seen(), [GET_V1.to_owned(), get_blob_line()]);
}

#[tokio::test(start_paused = true)]
async fn only_configured_registries_are_asked() {
    let web = Web::new(open_registry);
    let upstreams = Upstreams::builder().upstream(web.upstream()).build().unwrap();
    let ask = |host: Option<&str>| {
        let mut request = Request::new(GetManifest::new(REPOSITORY.parse().unwrap(), "v1".parse().unwrap()));
        if let Some(host) = host {
            request.extensions_mut().insert(UpstreamId::new(host.parse().unwrap()));
        }
        upstreams.send(request)
    };
    for host in ["evil.example", "169.254.169.254", "localhost:8080", "registry.example.evil.example"] {
        let message = format!("no upstream is configured for the registry `{host}`");
        assert_eq!(told(ask(Some(host)).await), error(404, "NAME_UNKNOWN", &message));
    }
    let message = "the name says no registry, and there is no default one";
    assert_eq!(told(ask(None).await), error(404, "NAME_UNKNOWN", message));
    assert_eq!(web.seen(), [""; 0]);
    ask(Some(HOST)).await.unwrap();
    assert_eq!(web.seen(), [GET_V1]);
}

#[tokio::test]
async fn a_host_that_only_a_client_names_is_not_reached_at_a_private_address() {
    let upstreams = Upstreams::builder().any_host(true).build().unwrap();
    for host in ["127.0.0.1", "169.254.169.254", "10.1.2.3:5000", "[::1]", "[::ffff:127.0.0.1]:5000"] {
        let mut request = Request::new(GetManifest::new(REPOSITORY.parse().unwrap(), "v1".parse().unwrap()));
        request.extensions_mut().insert(UpstreamId::new(host.parse().unwrap()));
        let (status, code, message) = told(upstreams.send(request).await);
        assert_eq!((status, code), (403, "DENIED"), "{host}");
        assert!(message.ends_with("which may not be connected to"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_echoed_secret_is_not_told() {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.contains("/token") => match call.authorization() {
            Some("Basic dXNlcjpodW50ZXIy") => Answer::token("opaque-token", 300),
            echo => Answer::json(401, &format!(r#"{{"details":"no user for {}"}}"#, echo.unwrap())),
        },
        _ => match call.authorization() {
            None => Answer::challenge(r#"Bearer realm="https://registry.example/token""#),
            Some(echo) => {
                let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"you sent {echo}"}}]}}"#);
                Answer::json(403, &body)
            }
        },
    });
    let told_to = |credential: Credential| {
        let upstream = web.upstream().credential(credential).build().unwrap();
        async move {
            let error = pull(&upstream, "v1").await.unwrap_err();
            let all = format!("{error} {error:?} {upstream:?}");
            assert!(
                !all.contains("opaque-token") && !all.contains("hunter2") && !all.contains("dXNlcj"),
                "{all}"
            );
            error.to_string()
        }
    };
    assert_eq!(told_to(basic()).await, "registry.example refused the request, in words that echo a secret");
    assert_eq!(
        told_to(Credential::basic("user", "hunter22")).await,
        "registry.example: the token service registry.example answered 401 Unauthorized to repository:team/app:pull"
    );
}

#[tokio::test(start_paused = true)]
async fn writes_are_not_passed_on() {
    let web = Web::new(open_registry);
    let upstream = web.upstream().credential(basic()).build().unwrap();
    let repository = || REPOSITORY.parse().unwrap();
    let upload = upstream.send(Request::new(StartUpload::new(repository()))).await;
    let message = "StartUpload is not passed on to registry.example: upstreams are only read from";
    assert_eq!(told(upload), error(405, "UNSUPPORTED", message));
    let delete = upstream.send(Request::new(DeleteManifest::new(repository(), "v1".parse().unwrap()))).await;
    assert_eq!(told(delete).0, 405);
    assert_eq!(web.seen(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn documents_have_a_largest_size() {
    let web = Web::new(|_| {
        let max = tower_oci::spec::json::MAX_DOCUMENT;
        let answer = Answer::status(200).body(streamed(" ".repeat(max + 1)));
        answer.without("content-length").header("content-type", MANIFEST_TYPE)
    });
    let upstream = web.upstream().build().unwrap();
    let (status, code, message) = told(pull(&upstream, "v1").await);
    assert_eq!((status, code), (502, "UNSUPPORTED"));
    assert_eq!(message, "registry.example's document is larger than 4194304 bytes");
    let tags = upstream.send(Request::new(ListTags::new(REPOSITORY.parse().unwrap()))).await;
    assert_eq!(told(tags).2, "registry.example's document is larger than 4194304 bytes");
}

#[tokio::test(start_paused = true)]
async fn retries_have_a_budget_for_all_who_ask() {
    let web = Web::new(|_| Answer::Failure(Error::unavailable("the connection was refused")));
    let retry = RetryPolicy::new().random(|| 0.5).first_delay(std::time::Duration::ZERO);
    let upstream = web.upstream().retry(retry).build().unwrap();
    for _ in 0..100 {
        pull(&upstream, "v1").await.unwrap_err();
    }
    // A hundred requests, a fifth of that, and the reserve of ten.
    assert_eq!(web.seen().len(), 130);
}

#[tokio::test(start_paused = true)]
async fn one_request_costs_no_more_than_its_tries() {
    let web = Web::new(|_| Answer::status(503));
    let upstream = web.upstream().build().unwrap();
    assert_eq!(
        told(pull(&upstream, "v1").await),
        error(503, "UNSUPPORTED", "registry.example answered with 503")
    );
    assert_eq!(web.seen(), [GET_V1; 5]);
}

/// CVE-2021-41190: what one client takes for an index and another for an image.
#[tokio::test(start_paused = true)]
async fn a_manifest_that_can_be_taken_for_two_things_is_refused() {
    const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
    for (media_type, content, why) in [
        (
            MANIFEST_TYPE,
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
            "it has both the members of an index and those of an image manifest".to_owned(),
        ),
        (
            INDEX_TYPE,
            MANIFEST,
            format!("its mediaType is `{MANIFEST_TYPE}`, but it was served as `{INDEX_TYPE}`"),
        ),
        (
            MANIFEST_TYPE,
            r#"{"layers":[],"layers":[]}"#,
            "the key `layers` stands twice in one object at line 1 column 25".to_owned(),
        ),
    ] {
        let web = Web::new(move |_| Answer::content(content).header("content-type", media_type));
        let upstream = web.upstream().build().unwrap();
        let digest = tower_oci::spec::digest::Digest::sha256(content.as_bytes());
        for reference in ["v1".to_owned(), digest.to_string()] {
            let message = format!(
                "registry.example answered with the manifest {digest}, which can be mistaken: invalid document: {why}"
            );
            assert_eq!(told(pull(&upstream, &reference).await), error(502, "MANIFEST_INVALID", &message));
        }
    }
    // What nobody can mistake is passed on, whatever it is.
    for (media_type, content) in [
        ("application/json", MANIFEST),
        ("application/octet-stream", MANIFEST),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", r#"{"schemaVersion":1,"fsLayers":[]}"#),
        ("application/vnd.example.thing+json", r#"{"anything":["goes"]}"#),
    ] {
        let web = Web::new(move |_| Answer::content(content).header("content-type", media_type));
        let manifest = pull(&web.upstream().build().unwrap(), "v1").await.unwrap();
        assert_eq!(
            (manifest.media_type.as_str(), manifest.content.as_deref()),
            (media_type, Some(content.as_bytes()))
        );
    }
}
