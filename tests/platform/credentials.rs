//! Which credential of the platform's is for which repository.

use tower_oci::operation::Credential;

use super::support::{World, failure};

#[tokio::test]
async fn the_longest_path_that_fits_counts() {
    let world = World::new().await;
    for (id, registry) in [
        ("whole", Some("quay.io")),
        ("team", Some("quay.io/team")),
        ("app", Some("quay.io/team/app")),
        ("again", Some("quay.io/team")),
        ("hub", None),
    ] {
        world.platform.registry(None, id, registry, id, &format!("password of {id}"));
    }
    for (registry, repository, expected) in [
        ("quay.io", "other/app", Some("whole")),
        ("quay.io", "team/x", Some("team")),
        ("quay.io", "team/app", Some("app")),
        ("quay.io", "team/app/x", Some("app")),
        ("quay.io", "team/apple", Some("team")),
        ("docker.io", "library/busybox", Some("hub")),
        ("ghcr.io", "team/app", None),
        ("quay.io:443", "team/app", None),
    ] {
        let expected = match expected {
            Some(id) => Credential::basic(id, format!("password of {id}")),
            None => Credential::Anonymous,
        };
        assert_eq!(world.find(registry, repository).await.unwrap(), expected, "{registry}/{repository}");
    }
    let whole = world.platforms.credential(&world.access("access"), &"quay.io".parse().unwrap(), None).await;
    assert_eq!(whole.unwrap(), Credential::basic("whole", "password of whole"));
}

#[tokio::test]
async fn a_list_and_keys_are_asked_for_once_in_a_minute() {
    let world = World::new().await;
    world.platform.registry(None, "a b/c", Some("quay.io"), "robot", "hunter2");
    let pairing = world.pair().await;
    let id = pairing.pairing_id();
    let all =
        ["GET /credentials".to_owned(), format!("GET /credentials/a%20b%2Fc/keys?pairingId={id}&keyId={id}")];
    // The stand-in doesn't unescape, and knows no such credential.
    assert_eq!(failure(world.find("quay.io", "a").await).0, 502);
    assert_eq!(world.asked(), all);

    world.platform.registry(None, "one", Some("ghcr.io"), "robot", "hunter2");
    world.advance(60);
    let session = world.platforms.session(world.access("access"));
    let (registry, repository) = ("ghcr.io".parse().unwrap(), "a/b".parse().unwrap());
    let asks = (0..16).map(|_| session.credential(&registry, Some(&repository)));
    for found in futures_util::future::join_all(asks).await {
        assert_eq!(found.unwrap(), Credential::basic("robot", "hunter2"));
    }
    let keys = format!("GET /credentials/one/keys?pairingId={id}&keyId={id}");
    assert_eq!(world.asked(), ["GET /credentials", &keys]);
    world.advance(59);
    assert!(world.find("ghcr.io", "other").await.is_ok());
    assert_eq!(world.asked(), [""; 0]);
    world.advance(1);
    assert!(world.find("ghcr.io", "other").await.is_ok());
    assert_eq!(world.asked(), ["GET /credentials", &keys]);
}

#[tokio::test]
async fn a_workspace_has_credentials_of_its_own() {
    let world = World::new().await;
    world.platform.registry(None, "one", Some("quay.io"), "personal", "p");
    world.platform.registry(Some(42), "two", Some("quay.io"), "shared", "s");
    let pairing = world.pair().await;
    let id = pairing.pairing_id();
    assert_eq!(world.find("quay.io", "a").await.unwrap(), Credential::basic("personal", "p"));
    world.asked();
    let shared = world.access("access").workspace(42);
    assert_eq!(world.find_as(&shared, "quay.io", "a").await.unwrap(), Credential::basic("shared", "s"));
    assert_eq!(
        world.asked(),
        [
            "GET /credentials?workspaceId=42".to_owned(),
            format!("GET /credentials/two/keys?pairingId={id}&keyId={id}&workspaceId=42"),
        ]
    );
    let none = world.access("access").workspace(43);
    let expected = (400, format!("`towerWorkspaceId`: {} has no workspace 43", world.name()));
    assert_eq!(failure(world.find_as(&none, "quay.io", "a").await), expected);
}
