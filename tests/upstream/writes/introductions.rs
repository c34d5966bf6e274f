//! Who writes: tokens, scopes, and that nothing that comes only once is spent on a challenge.

use tower_oci::operation::{Credential, StartUpload};
use tower_oci::testing::{Account, BasicAuth, BearerAuth, Recorder};

use super::*;
use crate::web::{Answer, Web};

const TOKEN: &str = "GET /token?service=testing&scope=repository:a/b:";

/// A registry that `user` may write to, `a/source` only read from.
struct Guarded {
    memory: Memory,
    auth: BearerAuth<OciService<Memory>>,
    faulty: Faulty<BearerAuth<OciService<Memory>>>,
}

impl Guarded {
    fn new() -> Self {
        let account =
            Account::new("user", "hunter2").may("a/b", &["pull", "push"]).may("a/source", &["pull"]);
        let memory = Memory::new();
        let auth = BearerAuth::new(OciService::new(memory.clone())).account(account);
        Self { memory, faulty: Faulty::new(auth.clone()), auth }
    }

    fn builder(&self) -> UpstreamBuilder {
        upstream(&Hosts::new().on(HOST, self.faulty.clone())).credential(Credential::basic("user", "hunter2"))
    }

    fn client(&self) -> Client {
        Client::new(self.builder().build().unwrap())
    }

    fn recorder(&self) -> &Recorder {
        self.faulty.recorder()
    }

    fn seen(&self) -> Vec<String> {
        let lines = self.recorder().lines_with(&["authorization"]);
        self.recorder().take();
        lines.iter().map(|line| named(line).replace("Basic dXNlcjpodW50ZXIy", "Basic")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_costs_one_challenge_and_one_token_for_its_repository() {
    let registry = Guarded::new();
    let client = registry.client();
    let digest = client.push_blob("a/b", "content").await;
    client.push_blob("a/b", "more content").await;
    let seen = registry.seen();
    assert_eq!(
        seen[..4],
        [
            "POST /v2/a/b/blobs/uploads/".to_owned(),
            format!("{TOKEN}pull,push authorization=Basic"),
            "POST /v2/a/b/blobs/uploads/ authorization=Bearer bearer-token-1".to_owned(),
            format!("PUT /v2/a/b/blobs/uploads/<id>?digest={digest} authorization=Bearer bearer-token-1"),
        ]
    );
    assert_eq!(seen.len(), 6);
    let delete = client.send("DELETE", &format!("/v2/a/b/blobs/{digest}"), &[], "").await;
    let message = "registry.example answered with 401: UNAUTHORIZED: authentication required; it refuses the token \
                   that its token service gave for repository:a/b:delete";
    assert_eq!(delete.error(), refused(403, "DENIED", message));
    let line = format!("DELETE /v2/a/b/blobs/{digest} authorization=Bearer bearer-token-");
    let token = format!("{TOKEN}delete authorization=Basic");
    assert_eq!(registry.seen(), [token.clone(), format!("{line}2"), token, format!("{line}3")]);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_comes_to_a_fresh_instance_is_not_spent_on_the_challenge() {
    let registry = Guarded::new();
    let opened = registry.client().open("a/b").await;
    registry.seen();
    let fresh = registry.client();
    let chunk = fresh.send("PATCH", &opened, &[], streamed("content")).await;
    assert_eq!((chunk.status, chunk.header("range")), (202, Some("0-6")));
    let digest = Digest::sha256(b"content");
    let finish = format!("{}?digest={digest}", chunk.location());
    let another = registry.client();
    assert_eq!(another.send("PUT", &finish, &[], streamed("")).await.status, 201);
    let upload = "/v2/a/b/blobs/uploads/<id>";
    assert_eq!(
        registry.seen(),
        [
            format!("GET {upload}"),
            format!("{TOKEN}pull,push authorization=Basic"),
            format!("PATCH {upload} authorization=Bearer bearer-token-2"),
            format!("GET {upload}"),
            format!("{TOKEN}pull,push authorization=Basic"),
            format!("PUT {upload}?digest={digest} authorization=Bearer bearer-token-3"),
        ]
    );
    let single = format!("/v2/a/b/blobs/uploads/?digest={}", Digest::sha256(b"single"));
    assert_eq!(registry.client().send("POST", &single, &[], streamed("single")).await.status, 201);
    let posted = format!("POST {single} authorization=Bearer bearer-token-4");
    assert_eq!(
        registry.seen(),
        ["GET /v2/".to_owned(), format!("{TOKEN}pull,push authorization=Basic"), posted]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_there_as_a_whole_is_just_sent_again() {
    let registry = Guarded::new();
    let opened = registry.client().open("a/b").await;
    registry.seen();
    assert_eq!(registry.client().send("PATCH", &opened, &[], "content").await.status, 202);
    let upload = "PATCH /v2/a/b/blobs/uploads/<id>";
    assert_eq!(
        registry.seen(),
        [
            upload.to_owned(),
            format!("{TOKEN}pull,push authorization=Basic"),
            format!("{upload} authorization=Bearer bearer-token-2")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_before_the_content_was_touched_is_renewed() {
    let registry = Guarded::new();
    let client = registry.client();
    let opened = client.open("a/b").await;
    registry.auth.expire_all();
    registry.seen();
    let chunk = client.send("PATCH", &opened, &[], streamed("content")).await;
    assert_eq!((chunk.status, chunk.header("range")), (202, Some("0-6")));
    let upload = "PATCH /v2/a/b/blobs/uploads/<id>";
    assert_eq!(
        registry.seen(),
        [
            format!("{upload} authorization=Bearer bearer-token-1"),
            format!("{TOKEN}pull,push authorization=Basic"),
            format!("{upload} authorization=Bearer bearer-token-2"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn content_that_is_gone_with_a_refusal_is_the_clients_to_send_again() {
    // It reads all of a request, and takes only its newest token.
    let web = Web::new(|call| {
        if call.line.contains("/token") {
            return Answer::token(&format!("t{}", call.nth), 300);
        }
        let is_good = match call.line.split_once(' ').unwrap().0 {
            "POST" => call.authorization() == Some("Bearer t0"),
            _ => call.authorization() == Some("Bearer t1"),
        };
        if !is_good {
            return Answer::challenge(r#"Bearer realm="https://registry.example/token",service="reg""#);
        }
        Answer::status(202).header("location", "1").header("range", "0-6")
    });
    let upstream = web.upstream().writes(true).upload_key(KEY).build().unwrap();
    let client = Client::new(upstream);
    let opened = client.open("a/b").await;
    web.seen();
    let refusal = client.send("PATCH", &opened, &[], streamed("content")).await;
    assert_eq!((refusal.status, refusal.error().1.as_str()), (403, "DENIED"));
    assert_eq!(refusal.header("www-authenticate"), None);
    let again = client.send("PATCH", &opened, &[], streamed("content")).await;
    assert_eq!((again.status, again.header("range")), (202, Some("0-6")));
    let patch = "PATCH https://registry.example/v2/a/b/blobs/uploads/1";
    assert_eq!(
        web.seen(),
        [
            format!("{patch} [Bearer t0] content"),
            "GET https://registry.example/token?service=reg&scope=repository:a/b:pull,push".to_owned(),
            format!("{patch} [Bearer t1] content"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn basic_credentials_go_along_and_none_are_missed_at_once() {
    let memory = Memory::new();
    let basic = BasicAuth::new(OciService::new(memory)).account(Account::new("user", "hunter2"));
    let faulty = Faulty::new(basic);
    let hosts = Hosts::new().on(HOST, faulty.clone());
    let knows =
        || Client::new(upstream(&hosts).credential(Credential::basic("user", "hunter2")).build().unwrap());
    let opened = knows().open("a/b").await;
    faulty.recorder().take();
    assert_eq!(knows().send("PATCH", &opened, &[], streamed("content")).await.status, 202);
    let lines = faulty.recorder().lines_with(&["authorization"]);
    let lines: Vec<_> = lines.iter().map(|line| named(line)).collect();
    let upload = "/v2/a/b/blobs/uploads/<id>";
    assert_eq!(
        lines,
        [format!("GET {upload}"), format!("PATCH {upload} authorization=Basic dXNlcjpodW50ZXIy")]
    );
    faulty.recorder().take();
    let nobody = Client::new(upstream(&hosts).build().unwrap());
    let got = nobody.send("PATCH", &opened, &[], stalled("content")).await;
    let message = "registry.example answered with 401: UNAUTHORIZED: authentication required; it wants credentials for \
                   repository:a/b:pull,push, and there are none for it";
    assert_eq!(got.error(), refused(403, "DENIED", message));
    assert_eq!(faulty.recorder().take().len(), 1, "the content stays where it is");
}

#[tokio::test(start_paused = true)]
async fn a_mount_asks_to_read_its_source_and_is_an_upload_where_it_may_not() {
    let registry = Guarded::new();
    let digest = Client::new(registry.memory.clone()).push_blob("a/source", "content").await;
    let hidden = Client::new(registry.memory.clone()).push_blob("secret/x", "hidden").await;
    let client = registry.client();
    let target = format!("/v2/a/b/blobs/uploads/?mount={digest}&from=a/source");
    assert_eq!(client.send("POST", &target, &[], "").await.status, 201);
    assert_eq!(
        registry.seen(),
        [
            format!("POST {target}"),
            format!("{TOKEN}pull,push&scope=repository:a/source:pull authorization=Basic"),
            format!("POST {target} authorization=Bearer bearer-token-1"),
        ]
    );
    let secret = format!("/v2/a/b/blobs/uploads/?mount={hidden}&from=secret/x");
    let absent = format!("/v2/a/b/blobs/uploads/?mount={}&from=secret/x", Digest::sha256(b"absent"));
    for target in [secret, absent] {
        let opened = client.send("POST", &target, &[], "").await;
        assert_eq!((opened.status, opened.header("range")), (202, Some("0-0")), "there or not: {target}");
        assert_eq!(client.send("DELETE", opened.location(), &[], "").await.status, 204);
    }
}

#[tokio::test(start_paused = true)]
async fn the_credential_of_a_request_is_the_one_that_writes() {
    let registry = Guarded::new();
    let upstream = registry.builder().credential(Credential::basic("other", "x")).build().unwrap();
    let mut request = tower_oci::operation::Request::new(StartUpload::new("a/b".parse().unwrap()));
    request.extensions_mut().insert(Credential::basic("user", "hunter2"));
    upstream.send(request).await.unwrap();
    assert!(registry.seen()[1].ends_with("authorization=Basic"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_given_up_where_every_delete_needs_the_right_to_delete() {
    let web = Web::new(|call| match call.line.split_once(' ').unwrap() {
        (_, uri) if uri.contains("/token") => {
            Answer::token(if uri.contains("delete") { "deletes" } else { "pushes" }, 300)
        }
        ("DELETE", _) if call.authorization() == Some("Bearer deletes") => Answer::status(204),
        ("POST", _) if call.authorization() == Some("Bearer pushes") => {
            Answer::status(202).header("location", "1")
        }
        _ => Answer::challenge(
            r#"Bearer realm="https://registry.example/token",scope="repository:a/b:delete""#,
        ),
    });
    let client = Client::new(web.upstream().writes(true).build().unwrap());
    let opened = client.open("a/b").await;
    web.seen();
    assert_eq!(client.send("DELETE", &opened, &[], "").await.status, 204);
    let delete = "DELETE https://registry.example/v2/a/b/blobs/uploads/1";
    let token = "GET https://registry.example/token?scope=repository:a/b:";
    assert_eq!(
        web.seen(),
        [
            format!("{delete} [Bearer pushes]"),
            format!("{token}pull,push"),
            format!("{delete} [Bearer pushes]"),
            format!("{token}delete,pull,push"),
            format!("{delete} [Bearer deletes]"),
        ]
    );
}
