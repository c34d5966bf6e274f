//! The check at submission: whose token it is.

use tower_oci::wave::platform::PlatformAccess;

use super::support::{World, failure};

#[tokio::test]
async fn a_token_has_a_user_who_is_asked_for_once_in_a_minute() {
    let world = World::new().await;
    let user = world.platforms.user(&world.access("access")).await.unwrap();
    assert_eq!(
        (user.id, user.user_name.as_str(), user.email.as_deref()),
        (1, "alice", Some("alice@platform.test"))
    );
    world.advance(59);
    assert_eq!(world.platforms.user(&world.access("access")).await.unwrap(), user);
    assert_eq!(world.asked(), ["GET /user-info"]);
    world.advance(1);
    assert_eq!(world.platforms.user(&world.access("access")).await.unwrap(), user);
    assert_eq!(world.asked(), ["GET /user-info"]);
}

#[tokio::test]
async fn a_wrong_token_is_a_401_that_says_so_and_is_not_remembered() {
    let world = World::new().await;
    let refused = (401, format!("{} doesn't accept the access token", world.name()));
    for _ in 0..2 {
        assert_eq!(failure(world.platforms.user(&world.access("wrong")).await), refused);
        assert_eq!(world.asked(), ["GET /user-info"]);
    }
    assert_eq!(failure(world.find_as(&world.access("wrong"), "quay.io", "a").await), refused);
    // A token that ended in the meantime is found out when the minute is over.
    world.platforms.user(&world.access("access")).await.unwrap();
    world.platform.expire("access");
    world.advance(60);
    assert_eq!(failure(world.platforms.user(&world.access("access")).await), refused);
    let odd = world.access("a\nb");
    let message = "`towerAccessToken` has characters that no token has";
    assert_eq!(failure(world.platforms.user(&odd).await), (400, message.to_owned()));
}

#[tokio::test]
async fn tokens_go_to_trusted_platforms_only() {
    let world = World::new().await;
    let other = "this service doesn't take credentials from this platform";
    let port = world.endpoint.rsplit_once(':').unwrap().1;
    for (endpoint, reason) in [
        ("https://platform.example", other),
        (&format!("https://127.0.0.1:{port}"), other),
        (&format!("http://127.0.0.2:{port}"), other),
        (&format!("http://127.0.0.1:{port}/api"), other),
        (&format!("http://127.0.0.1:{port}@evil.example"), "it carries credentials"),
        ("platform.example", "it starts with neither `https://` nor `http://`"),
    ] {
        let access = PlatformAccess::new("access").endpoint(endpoint);
        let expected = (400, format!("`towerEndpoint`: `{endpoint}`: {reason}"));
        assert_eq!(failure(world.platforms.user(&access).await), expected);
        assert_eq!(failure(world.find_as(&access, "quay.io", "a").await), expected);
    }
    // A request that names none means the usual one, which isn't trusted here.
    let expected = (400, format!("`towerEndpoint`: `https://api.cloud.seqera.io`: {other}"));
    assert_eq!(failure(world.platforms.user(&PlatformAccess::new("access")).await), expected);
    assert_eq!(world.asked(), [""; 0]);
    // The same address in another form is the same platform.
    let access = PlatformAccess::new("access").endpoint(format!("HTTP://127.0.0.1:{port}/"));
    assert_eq!(world.platforms.user(&access).await.unwrap().user_name, "alice");
}

#[tokio::test]
async fn a_platform_that_has_not_paired_is_told_from_others_and_not_asked() {
    let world = World::unpaired(|platforms| platforms);
    let expected = (400, format!("`towerEndpoint`: {} has not paired with this service", world.name()));
    assert_eq!(failure(world.platforms.user(&world.access("access")).await), expected);
    assert_eq!(failure(world.find("quay.io", "a").await), expected);
    assert_eq!(world.asked(), [""; 0]);
    world.pair().await;
    assert_eq!(world.platforms.user(&world.access("access")).await.unwrap().id, 1);
}
