use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;

/// `htpasswd -nbB -C 4`.
const ANN: (&str, &str) = ("correct horse", "$2y$04$DyziG3zggZffZejMiRlICOk/072RBRw8LWoZZqgWr15lJ6/Ko3d8m");
const BOB: (&str, &str) = ("battery staple", "$2y$04$00IUF17s/ueWGCS4WRsUI.c4udexgwvlIHI73Zi6UpmoHBqOA3Krm");

fn written(content: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    std::fs::write(&path, content).unwrap();
    (directory, path)
}

async fn is_right(users: &Htpasswd, name: &str, password: &str) -> bool {
    users.verify(name, &password.into()).await.unwrap()
}

#[tokio::test]
async fn every_prefix_of_bcrypt_is_understood() {
    let [a, b] = ["$2a$", "$2b$"].map(|prefix| ANN.1.replace("$2y$", prefix));
    let content = format!("# users\n\nann:{}\r\n  a:{a}\nb:{b}\nbob:{}\nö x:{}", ANN.1, BOB.1, BOB.1);
    let (_directory, path) = written(&content);
    let users = Htpasswd::open(&path).await.unwrap();
    for (name, password, right) in [
        ("ann", ANN.0, true),
        ("a", ANN.0, true),
        ("b", ANN.0, true),
        ("bob", BOB.0, true),
        ("ö x", BOB.0, true),
        ("ann", BOB.0, false),
        ("ann", "", false),
        ("ANN", ANN.0, false),
        ("# users", ANN.0, false),
        ("", ANN.0, false),
        ("ann", ANN.1, false),
    ] {
        assert_eq!(is_right(&users, name, password).await, right, "{name} {password}");
    }
    assert!(!format!("{users:?}").contains("$2"));
}

#[tokio::test]
async fn a_line_that_is_not_understood_is_named_and_not_shown() {
    let cost = |cost: &str| ANN.1.replace("$04$", cost);
    for (line, what) in [
        ("ann", "no colon"),
        (&format!(":{}", ANN.1)[..], "no name"),
        ("ann:secret", "the hash is not one of bcrypt, which is what `htpasswd -B` makes"),
        ("ann:$apr1$x$secret", "the hash is not one of bcrypt, which is what `htpasswd -B` makes"),
        (
            &format!("ann:{}", ANN.1.replace("$2y$", "$2x$")),
            "the hash is not one of bcrypt, which is what `htpasswd -B` makes",
        ),
        (&format!("ann:{}x", ANN.1), "the hash is not one of bcrypt, which is what `htpasswd -B` makes"),
        (&format!("ann:{}", cost("$17$")), "a cost of 17; it may be 4 to 16"),
        (&format!("ann:{}", cost("$03$")), "a cost of 3; it may be 4 to 16"),
        (&format!("bob:{}", ANN.1), "a name that stood in a line before"),
    ] {
        let (_directory, path) = written(&format!("bob:{}\n{line}\n", BOB.1));
        let error = Htpasswd::open(&path).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the file of users {}: line 2: {what}", path.display()));
    }
    let (_directory, path) = written("");
    let absent = Htpasswd::open(path.with_extension("absent")).await.unwrap_err();
    assert!(absent.to_string().ends_with("htpasswd.absent can't be read"), "{absent}");
    File::create(&path).unwrap().set_len(Htpasswd::MAX_FILE + 1).unwrap();
    let large = Htpasswd::open(&path).await.unwrap_err();
    assert!(large.to_string().ends_with("has more than 4194304 bytes"), "{large}");
}

#[tokio::test]
async fn an_unknown_name_costs_what_a_known_one_does() {
    static CHECKS: AtomicUsize = AtomicUsize::new(0);
    let check = |_: &Secret, hash: &str| {
        assert_eq!(hash.len(), 60);
        CHECKS.fetch_add(1, Ordering::SeqCst);
        // Whatever the check of a decoy comes to, it opens nothing.
        true
    };
    for content in [format!("ann:{}\nbob:{}\n", ANN.1, BOB.1), String::new()] {
        let (_directory, path) = written(&content);
        let users = Htpasswd::with_check(&path, check).await.unwrap();
        for name in ["ann", "bob", "carl", "dora", ""] {
            let before = CHECKS.load(Ordering::SeqCst);
            assert_eq!(
                is_right(&users, name, "x").await,
                content.contains(&format!("{name}:$")) && !name.is_empty()
            );
            assert_eq!(CHECKS.load(Ordering::SeqCst), before + 1, "{name}");
        }
    }
    let cost = Htpasswd::NOBODY.parse::<HashParts>().unwrap().get_cost();
    assert_eq!(cost, 10);
}

#[tokio::test]
async fn decoys_are_the_same_for_a_name_and_those_of_all_users() {
    let (_directory, path) = written(&format!("ann:{}\nbob:{}\n", ANN.1, BOB.1));
    let users = Htpasswd::open(&path).await.unwrap();
    let lines = users.lines().await.unwrap();
    let decoys: Vec<_> = (0..64).map(|n| users.decoy(&lines, &format!("user{n}"))).collect();
    assert!([ANN.1, BOB.1].iter().all(|hash| decoys.iter().any(|decoy| &**decoy == *hash)));
    assert_eq!(users.decoy(&lines, "user7"), decoys[7]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_read_again() {
    let (_directory, path) = written(&format!("ann:{}\n", ANN.1));
    let users = Htpasswd::open(&path).await.unwrap();
    let first = users.revision("ann").await.unwrap();
    assert!(first.is_some());
    assert_eq!(users.revision("bob").await.unwrap(), None);

    std::fs::write(&path, format!("ann:{}\nbob:{}\n", BOB.1, ANN.1)).unwrap();
    assert_eq!(users.revision("ann").await.unwrap(), first);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_ne!(users.revision("ann").await.unwrap(), first);
    assert!(is_right(&users, "ann", BOB.0).await);
    assert!(!is_right(&users, "ann", ANN.0).await);
    assert!(is_right(&users, "bob", ANN.0).await);

    // While it can't be read nobody gets in, and what is said to clients doesn't name it.
    for broken in [Some("ann:"), None] {
        match broken {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let error = users.verify("ann", &BOB.0.into()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Unavailable, "nobody can log in: the users aren't known")
        );
    }
    std::fs::write(&path, format!("ann:{}\n", ANN.1)).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(is_right(&users, "ann", ANN.0).await);
}
