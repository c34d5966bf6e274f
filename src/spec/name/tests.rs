use super::*;

const DIGEST: &str = "sha256:975f4b14f326b05db86e16de00144f9c12257553bba9484fed41f9b6f2257800";

#[test]
fn image_names_have_dockers_defaults() {
    let with_digest = format!("a/b:tag@{DIGEST}");
    for (text, registry, repository, reference) in [
        ("busybox", "docker.io", "library/busybox", "latest"),
        ("foo/busybox:bar", "docker.io", "foo/busybox", "bar"),
        ("docker.io/busybox", "docker.io", "library/busybox", "latest"),
        ("index.docker.io/busybox", "docker.io", "library/busybox", "latest"),
        ("quay.io/busybox", "quay.io", "busybox", "latest"),
        ("quay.io/a/b/c:v1.1", "quay.io", "a/b/c", "v1.1"),
        ("host:5000/fedora/httpd:version1.0", "host:5000", "fedora/httpd", "version1.0"),
        ("localhost/x", "localhost", "x", "latest"),
        ("[::1]:5000/x:y", "[::1]:5000", "x", "y"),
        (&with_digest, "docker.io", "a/b", DIGEST),
    ] {
        let name: ImageName = text.parse().unwrap();
        assert_eq!(name.registry().as_str(), registry, "{text}");
        assert_eq!(name.repository().as_str(), repository, "{text}");
        assert_eq!(name.reference().to_string(), reference, "{text}");
        assert_eq!(name.to_string().parse(), Ok(name), "{text}");
    }
    let latest = "busybox".parse::<ImageName>().unwrap().or_latest();
    assert_eq!(latest.to_string(), "docker.io/library/busybox:latest");
    assert_eq!(with_digest.parse::<ImageName>().unwrap().tag().unwrap().as_str(), "tag");
}

#[test]
fn what_is_no_image_name_is_refused() {
    for text in [
        "",
        "https://docker.io/busybox",
        "docker://busybox",
        "busy box",
        "busybox:",
        "busybox@sha256:00",
        "Busybox",
        "a//b",
        "/a",
        "a/",
        "quay.io/",
        "quay.io:99999/a",
        "a/../b",
        "-.io/a",
    ] {
        assert!(text.parse::<ImageName>().is_err(), "{text}");
    }
}

#[test]
fn repository_names_follow_the_specification() {
    for good in
        ["a", "0", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c", "v2/manifests/blobs", "a.b_c__d-e/f"]
    {
        assert!(good.parse::<Repository>().is_ok(), "{good}");
    }
    for bad in
        ["", ".", "..", "a.", ".a", "a..b", "a___b", "a_.b", "A", "a b", "a%2fb", "a/", "/a", "a//b", "é"]
    {
        assert!(bad.parse::<Repository>().is_err(), "{bad}");
    }
    assert!("a".repeat(255).parse::<Repository>().is_ok());
    assert!("a".repeat(256).parse::<Repository>().is_err());
}

#[test]
fn tags_follow_the_specification() {
    for good in ["a", "_", "A.b-c_d", "1.0", &"x".repeat(128)] {
        assert!(good.parse::<Tag>().is_ok(), "{good}");
    }
    for bad in ["", ".a", "-a", "a:b", "a/b", "a b", "é", &"x".repeat(129)] {
        assert!(bad.parse::<Tag>().is_err(), "{bad}");
    }
}

#[test]
fn references_with_a_colon_are_digests() {
    assert!(DIGEST.parse::<Reference>().unwrap().digest().is_some());
    assert_eq!("latest".parse::<Reference>().unwrap().tag(), Some(&Tag::latest()));
    assert!("sha256:00".parse::<Reference>().is_err());
}

#[test]
fn hosts_have_a_name_and_a_port() {
    let host: Host = "[2001:db8::1]:5000".parse().unwrap();
    assert_eq!((host.hostname(), host.port()), ("2001:db8::1", Some(5000)));
    let host: Host = "quay.io".parse().unwrap();
    assert_eq!((host.hostname(), host.port()), ("quay.io", None));
    for bad in ["", "a:0", "a:", "a:b", "a@b", "a/b", "A.io", "[::1", "[x]", "a..b", "user@host", "a b", "%"]
    {
        assert!(bad.parse::<Host>().is_err(), "{bad}");
    }
}

#[test]
fn prefixes_end_at_slashes() {
    let repository: Repository = "team/app/web".parse().unwrap();
    assert!(repository.is_under("team/app"));
    assert!(repository.is_under("team/app/web"));
    assert!(!repository.is_under("team/ap"));
    assert_eq!(repository.strip_prefix("team").unwrap().as_str(), "app/web");
    assert_eq!(repository.strip_prefix("tea"), None);
    assert_eq!(repository.strip_prefix("team/app/web"), None);
}

#[test]
fn debug_output_has_no_wave_token() {
    for (name, shown) in [
        ("wt/secret/library/busybox", "Repository(wt/_/library/busybox)"),
        ("wt/secret", "Repository(wt/_)"),
        ("wt", "Repository(wt)"),
        ("library/wt/x", "Repository(library/wt/x)"),
    ] {
        let repository: Repository = name.parse().unwrap();
        assert_eq!((format!("{repository:?}"), repository.to_string()), (shown.to_owned(), name.to_owned()));
    }
}
