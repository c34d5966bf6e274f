//! What fails, and what is left of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower_oci::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use tower_oci::hosted::Memory;
use tower_oci::operation::OperationKind;
use tower_oci::operation::middleware::{self, Next};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::json::{Object, Raw};
use tower_oci::spec::media_type::MediaType;
use tower_oci::testing::image::{Built, Index};
use tower_oci::testing::{Fault, Kind, When, serve};
use tower_oci::transfer::{Limits, Place, Transfer, Transferred};

use crate::support::*;

/// An image of so many layers at `a/b` of the source, to be copied to `c/d` of the target.
fn pair(layers: usize) -> (Pair, Built) {
    let pair = Pair::new();
    let image = image(layers);
    image.push(&pair.source.memory, &repository("a/b"), &reference("v1")).unwrap();
    (pair, image)
}

fn transfer(pair: &Pair) -> Transfer {
    Transfer::new(pair.from("a/b"), pair.to("c/d")).concurrency(1)
}

async fn run(transfer: &Transfer) -> Result<Transferred, Error> {
    transfer.run(&reference("v1"), &[tag("v1")]).await
}

fn digest_of(image: &Built, blob: usize) -> Digest {
    *image.blobs()[blob].0.digest()
}

/// What a blob that isn't there costs the target.
fn sent(image: &Built, blob: usize) -> [String; 3] {
    let digest = short(&digest_of(image, blob));
    [
        format!("HEAD /v2/c/d/blobs/{digest}"),
        "POST /v2/c/d/blobs/uploads/".to_owned(),
        format!("PUT /v2/c/d/blobs/uploads/<id>?digest={digest}"),
    ]
}

fn asked_first(image: &Built) -> Vec<String> {
    vec!["HEAD /v2/c/d/manifests/v1".to_owned(), format!("HEAD /v2/c/d/manifests/{}", short(image.digest()))]
}

const GIVEN_UP: &str = "DELETE /v2/c/d/blobs/uploads/<id>";

#[tokio::test(start_paused = true)]
async fn what_broke_off_goes_on_and_only_the_rest_is_sent() {
    let (pair, image) = pair(5);
    // The third blob's content is refused for good.
    pair.target.faulty.inject(
        When::kind(Kind::Upload).method(Method::PUT).nth(3),
        Fault::Status(StatusCode::PAYLOAD_TOO_LARGE),
    );
    let told = Told::default();
    let transfer = transfer(&pair).progress(told.listener());
    let error = run(&transfer).await.unwrap_err();
    let message = format!(
        "writing the blob {} to the destination `target.example/c/d`: target.example answered with 413: UNSUPPORTED: \
         told to fail",
        digest_of(&image, 2)
    );
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::TooLarge, message));
    let mut expected = asked_first(&image);
    (0..3).for_each(|blob| expected.extend(sent(&image, blob)));
    expected.push(GIVEN_UP.to_owned());
    assert_eq!(pair.target.seen(), expected);
    assert_eq!((pair.target.memory.usage().blobs, pair.target.memory.usage().uploads), (2, 0));
    assert!(!exists(&pair.target.memory, "c/d", *image.digest()).await);
    let done: u64 = image.blobs()[..2].iter().map(|(blob, _)| blob.size()).sum();
    assert_eq!((told.last().blobs_done, told.last().bytes_done), (2, done));
    pair.source.seen();

    let done = run(&transfer).await.unwrap();
    assert_eq!((done.present, done.copied, done.manifests), (2, 4, 1));
    let mut expected = asked_first(&image);
    (0..2).for_each(|blob| expected.push(sent(&image, blob)[0].clone()));
    (2..6).for_each(|blob| expected.extend(sent(&image, blob)));
    expected.push("PUT /v2/c/d/manifests/v1".to_owned());
    assert_eq!(pair.target.seen(), expected);
    let read: Vec<_> = pair.source.seen().into_iter().filter(|line| line.contains("/blobs/")).collect();
    let rest = (2..6).map(|blob| format!("GET /v2/a/b/blobs/{}", short(&digest_of(&image, blob))));
    assert_eq!(read, rest.collect::<Vec<_>>());
    assert_eq!((told.last().blobs_done, told.last().bytes_done), (6, told.last().bytes));
}

#[tokio::test(start_paused = true)]
async fn an_index_that_broke_off_goes_on_without_the_images_that_are_there() {
    let pair = Pair::new();
    let (one, two) = (image(1), image(2));
    let index = Index::new().image(one.clone()).image(two.clone()).build();
    index.push(&pair.source.memory, &repository("a/b"), &reference("v1")).unwrap();
    pair.target
        .faulty
        .inject(When::kind(Kind::Manifest).method(Method::PUT).nth(2), Fault::Status(StatusCode::FORBIDDEN));
    let error = run(&transfer(&pair)).await.unwrap_err();
    let message = format!(
        "writing the manifest {} to the destination `target.example/c/d`: target.example answered with 403: \
         UNSUPPORTED: told to fail",
        two.digest()
    );
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Denied, message));
    pair.target.seen();
    let done = run(&transfer(&pair)).await.unwrap();
    assert_eq!((done.present, done.copied, done.manifests), (3, 0, 2));
    let head = |digest: &Digest| format!("HEAD /v2/c/d/manifests/{}", short(digest));
    let mut expected = asked_first(&index);
    expected.extend([head(one.digest()), head(two.digest())]);
    (0..3).for_each(|blob| expected.push(sent(&two, blob)[0].clone()));
    expected.push(format!("PUT /v2/c/d/manifests/{}", short(two.digest())));
    expected.push("PUT /v2/c/d/manifests/v1".to_owned());
    assert_eq!(pair.target.seen(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again() {
    let put = || When::kind(Kind::Upload).method(Method::PUT).nth(2);
    let delay = |seconds| Some(RetryAfter::Delay(Duration::from_secs(seconds)));
    for (fault, waited) in [
        (Fault::Close, 1),
        (Fault::Status(StatusCode::INTERNAL_SERVER_ERROR), 1),
        (Fault::Status(StatusCode::BAD_GATEWAY), 1),
        (Fault::Status(StatusCode::SERVICE_UNAVAILABLE), 1),
        (Fault::Status(StatusCode::GATEWAY_TIMEOUT), 1),
        (Fault::TooManyRequests(None), 1),
        (Fault::TooManyRequests(delay(20)), 20),
    ] {
        let (pair, image) = pair(2);
        let shown = format!("{fault:?}");
        pair.target.faulty.inject(put(), fault);
        let told = Told::default();
        let start = Instant::now();
        let done = run(&transfer(&pair).progress(told.listener())).await.unwrap();
        assert_eq!((done.copied, done.present), (3, 0), "{shown}");
        assert_eq!(start.elapsed().as_secs(), waited, "{shown}");
        let mut expected = asked_first(&image);
        expected.extend(sent(&image, 0));
        expected.extend(sent(&image, 1));
        expected.push(GIVEN_UP.to_owned());
        expected.extend(sent(&image, 1));
        expected.extend(sent(&image, 2));
        expected.push("PUT /v2/c/d/manifests/v1".to_owned());
        assert_eq!(pair.target.seen(), expected, "{shown}");
        assert_eq!(told.last().bytes_done, told.last().bytes, "{shown}");
        assert_eq!(pair.target.memory.usage().uploads, 0, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_done_before_the_answer_broke_off_is_not_done_twice() {
    let (pair, image) = pair(1);
    let first = Arc::new(AtomicBool::new(true));
    let breaks_off = middleware::from_fn(move |request: Request, next: Next| {
        let first = Arc::clone(&first);
        async move {
            let finishes = request.operation().kind() == OperationKind::FinishUpload;
            let answer = next.run(request).await;
            if finishes && first.swap(false, Ordering::Relaxed) {
                return Err(Error::unavailable("the connection broke off"));
            }
            answer
        }
    });
    let target = ServiceBuilder::new().layer(breaks_off).service(pair.stack.clone());
    let to = Place::new(target, repository("c/d")).origin(host(TARGET));
    let done = run(&Transfer::new(pair.from("a/b"), to).concurrency(1)).await.unwrap();
    assert_eq!((done.copied, done.present), (1, 1));
    let mut expected = asked_first(&image);
    expected.extend(sent(&image, 0));
    expected.push(GIVEN_UP.to_owned());
    expected.push(sent(&image, 0)[0].clone());
    expected.extend(sent(&image, 1));
    expected.push("PUT /v2/c/d/manifests/v1".to_owned());
    assert_eq!(pair.target.seen(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_stalls_is_asked_again_and_then_blamed() {
    for (stalls, waited) in [(1, 45 + 1), (usize::MAX, 45 + 1 + 45 + 2 + 45)] {
        let (pair, image) = pair(1);
        let when = When::kind(Kind::Blob).path(digest_of(&image, 1).hex()).times(stalls);
        pair.source.faulty.inject(when, Fault::Stall(5));
        let told = Told::default();
        let start = Instant::now();
        let result = run(&transfer(&pair).progress(told.listener())).await;
        assert_eq!(start.elapsed().as_secs(), waited);
        assert_eq!(pair.target.memory.usage().uploads, 0);
        match result {
            Ok(done) => assert_eq!((stalls, done.copied, told.last().bytes_done), (1, 2, told.last().bytes)),
            Err(error) => {
                let message = format!(
                    "reading the blob {} from the source `source.example/a/b`: nothing came for 45 s in the middle of a \
                     body",
                    digest_of(&image, 1)
                );
                assert_eq!((error.kind(), error.to_string()), (ErrorKind::TimedOut, message));
                assert_eq!(told.last().bytes_done, image.blobs()[0].0.size());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_off_goes_on_where_it_was_or_is_asked_again() {
    for (broken, copied) in [(1, true), (usize::MAX, false)] {
        let (pair, image) = pair(1);
        let when = When::kind(Kind::Blob).path(digest_of(&image, 1).hex()).times(broken);
        pair.source.faulty.inject(when, Fault::CutOff(5));
        let result = run(&transfer(&pair)).await;
        assert_eq!(result.is_ok(), copied, "{result:?}");
        if let Err(error) = result {
            let context = format!("reading the blob {} from the source ", digest_of(&image, 1));
            assert!(error.to_string().starts_with(&context), "{error}");
        }
        assert_eq!(pair.target.memory.usage().uploads, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_is_put_again_too() {
    let (pair, image) = pair(0);
    let put = When::kind(Kind::Manifest).method(Method::PUT).times(2);
    pair.target.faulty.inject(put, Fault::Status(StatusCode::SERVICE_UNAVAILABLE));
    let start = Instant::now();
    assert_eq!(run(&transfer(&pair)).await.unwrap().manifests, 1);
    assert_eq!(start.elapsed().as_secs(), 1 + 2);
    let mut expected = asked_first(&image);
    expected.extend(sent(&image, 0));
    expected.extend(vec!["PUT /v2/c/d/manifests/v1".to_owned(); 3]);
    assert_eq!(pair.target.seen(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_is_given_up_after_three_tries_or_at_once() {
    let far = RetryAfter::At(SystemTime::now() + Duration::from_secs(3600));
    for (fault, tries, waited, kind) in [
        (Fault::Status(StatusCode::SERVICE_UNAVAILABLE), 3, 1 + 2, ErrorKind::Unavailable),
        (Fault::TooManyRequests(Some(far)), 1, 0, ErrorKind::TooManyRequests),
        (Fault::Status(StatusCode::FORBIDDEN), 1, 0, ErrorKind::Denied),
        (Fault::Status(StatusCode::UNAUTHORIZED), 1, 0, ErrorKind::Denied),
        (Fault::Status(StatusCode::NOT_FOUND), 1, 0, ErrorKind::NotFound),
        (Fault::Status(StatusCode::BAD_REQUEST), 1, 0, ErrorKind::Invalid),
        (Fault::Status(StatusCode::METHOD_NOT_ALLOWED), 1, 0, ErrorKind::Unsupported),
    ] {
        let (pair, image) = pair(1);
        let shown = format!("{fault:?}");
        pair.target.faulty.inject(When::kind(Kind::Upload).method(Method::POST), fault);
        let start = Instant::now();
        let error = run(&transfer(&pair)).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (kind, waited), "{shown}");
        let context = format!(
            "writing the blob {} to the destination `target.example/c/d`: target.example answered with ",
            digest_of(&image, 0)
        );
        assert!(error.to_string().starts_with(&context), "{error}");
        let mut expected = asked_first(&image);
        (0..tries).for_each(|_| expected.extend_from_slice(&sent(&image, 0)[..2]));
        assert_eq!(pair.target.seen(), expected, "{shown}");
        assert_eq!(pair.source.seen().len(), 2, "{shown}: no blob was asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_look_does_not_keep_from_writing() {
    let (pair, _) = pair(1);
    let heads = When::any().method(Method::HEAD).path("/c/d/");
    pair.target.faulty.inject(heads, Fault::Status(StatusCode::FORBIDDEN));
    assert_eq!(run(&transfer(&pair)).await.unwrap().copied, 2);
    // Anything else does: it isn't known then whether it is there.
    let (pair, _) = self::pair(1);
    let heads = When::any().method(Method::HEAD).path("/c/d/");
    pair.target.faulty.inject(heads, Fault::Status(StatusCode::INTERNAL_SERVER_ERROR));
    let error = run(&transfer(&pair)).await.unwrap_err();
    let message =
        "writing the image `v1` to the destination `target.example/c/d`: target.example answered with 500";
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::BadGateway, message.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn corrupt_content_is_never_committed() {
    for (fault, end) in
        [(Fault::FlippedByte(0), "is "), (Fault::Gzip, ""), (Fault::EndsEarly(10), ""), (Fault::Html, "")]
    {
        let (pair, image) = pair(2);
        let bad = digest_of(&image, 1);
        let shown = format!("{fault:?}");
        pair.source.faulty.inject(When::kind(Kind::Blob).path(bad.hex()), fault);
        let told = Told::default();
        let error = run(&transfer(&pair).progress(told.listener())).await.unwrap_err();
        let context = format!("reading the blob {bad} from the source `source.example/a/b`: ");
        assert!(error.to_string().starts_with(&context), "{shown}: {error}");
        assert!(error.to_string().contains(end), "{shown}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::BadGateway), "{shown}: {error:?}");
        assert_eq!((pair.target.memory.usage().blobs, pair.target.memory.usage().uploads), (1, 0), "{shown}");
        assert!(!exists(&pair.target.memory, "c/d", reference("v1")).await);
        assert_eq!(told.last().bytes_done, image.blobs()[0].0.size(), "{shown}");
        assert_eq!(told.last().blobs_done, 1, "{shown}");
    }
}

#[tokio::test]
async fn corrupt_content_is_never_committed_over_sockets() {
    let (source, target) = (Home::new(), Home::new());
    let image = image(1);
    image.push(&source.memory, &repository("a/b"), &reference("v1")).unwrap();
    let bad = digest_of(&image, 1);
    source.faulty.inject(When::kind(Kind::Blob).path(bad.hex()), Fault::FlippedByte(100));
    let served = [serve(source.faulty.clone()).unwrap(), serve(target.faulty.clone()).unwrap()];
    let place = |served: &tower_oci::testing::Served, name: &str| {
        let upstream = tower_oci::client::Upstream::builder(host(&served.addr().to_string()));
        Place::new(upstream.plain_http(true).writes(true).build().unwrap(), repository(name))
    };
    let transfer = Transfer::new(place(&served[0], "a/b"), place(&served[1], "c/d")).concurrency(1);
    let error = run(&transfer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let start = format!("reading the blob {bad} from the source `a/b`: ");
    assert!(error.to_string().starts_with(&start), "{error}");
    assert_eq!(target.memory.usage().blobs, 1, "the config alone");
    for served in served {
        served.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_blob_is_named() {
    let (pair, image) = pair(1);
    let absent = digest_of(&image, 1);
    let when = When::kind(Kind::Blob).path(absent.hex());
    pair.source.faulty.inject(when, Fault::Status(StatusCode::NOT_FOUND));
    let error = run(&transfer(&pair)).await.unwrap_err();
    let message = format!(
        "reading the blob {absent} from the source `source.example/a/b`: source.example answered with 404: UNSUPPORTED: \
         told to fail"
    );
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::NotFound, message));
    assert_eq!(pair.target.seen().last().unwrap(), GIVEN_UP);
    assert_eq!(pair.target.memory.usage().uploads, 0);
}

#[tokio::test(start_paused = true)]
async fn a_mount_that_is_refused_falls_back_to_sending() {
    // Told by opening an upload, which is used; or by an error.
    for (fault, posts) in [
        (None, 1),
        (Some(StatusCode::NOT_FOUND), 2),
        (Some(StatusCode::METHOD_NOT_ALLOWED), 2),
        (Some(StatusCode::FORBIDDEN), 2),
    ] {
        let (pair, image) = pair(0);
        if let Some(status) = fault {
            let mount = When::kind(Kind::Upload).method(Method::POST).nth(1);
            pair.target.faulty.inject(mount, Fault::Status(status));
        }
        let transfer = transfer(&pair).mount_from(repository("other"));
        let done = run(&transfer).await.unwrap();
        assert_eq!((done.mounted, done.copied), (0, 1), "{fault:?}");
        let [head, post, put] = sent(&image, 0);
        let mount = format!("{post}?mount={}&from=other", short(&digest_of(&image, 0)));
        let mut expected = asked_first(&image);
        expected.extend([head, mount]);
        expected.extend(vec![post; posts - 1]);
        expected.extend([put, "PUT /v2/c/d/manifests/v1".to_owned()]);
        assert_eq!(pair.target.seen(), expected, "{fault:?}");
        assert_eq!(pair.target.memory.usage().uploads, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_got_lost_is_begun_anew() {
    let (pair, image) = pair(0);
    let lost = Bytes::from_static(br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}"#);
    pair.target.faulty.inject(
        When::kind(Kind::Upload).method(Method::PUT).nth(1),
        Fault::Answer(StatusCode::NOT_FOUND, Vec::new(), lost),
    );
    assert_eq!(run(&transfer(&pair)).await.unwrap().copied, 1);
    let puts = pair.target.seen().into_iter().filter(|line| *line == sent(&image, 0)[2]).count();
    assert_eq!(puts, 2);
}

#[tokio::test(start_paused = true)]
async fn when_one_fails_the_others_are_given_up() {
    let (pair, image) = pair(3);
    // Three hang, and then the fourth is refused.
    for blob in 0..3 {
        let when = When::kind(Kind::Blob).path(digest_of(&image, blob).hex()).method(Method::GET);
        pair.source.faulty.inject(when, Fault::Stall(5));
    }
    let last = When::kind(Kind::Blob).path(digest_of(&image, 3).hex()).method(Method::GET);
    pair.source.faulty.inject(last.clone(), Fault::Delay(Duration::from_secs(3)));
    pair.source.faulty.inject(last, Fault::Status(StatusCode::NOT_FOUND));
    let start = Instant::now();
    let error = run(&transfer(&pair).concurrency(4)).await.unwrap_err();
    assert!(error.to_string().contains(&digest_of(&image, 3).to_string()), "{error}");
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(pair.target.memory.usage().uploads, 0);
    assert_eq!(pair.target.seen().iter().filter(|line| *line == GIVEN_UP).count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_is_dropped_leaves_uploads_to_expire_and_nothing_else() {
    let target = Home::of(Memory::builder().upload_timeout(Duration::from_secs(600)).build());
    let pair = Pair::of(Home::new(), target);
    let image = image(3);
    image.push(&pair.source.memory, &repository("a/b"), &reference("v1")).unwrap();
    pair.source.faulty.inject(When::kind(Kind::Blob).method(Method::GET), Fault::Stall(5));
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let transfer = transfer(&pair).concurrency(2).progress(move |_| drop(Arc::clone(&held)));
    let running = tokio::time::timeout(Duration::from_secs(10), run(&transfer));
    assert!(running.await.is_err());
    assert_eq!(pair.target.memory.usage().uploads, 2);
    drop(transfer);
    assert_eq!(Arc::strong_count(&alive), 1, "nothing runs on");
    let seen = pair.target.seen().len();
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!((pair.target.memory.usage().uploads, pair.target.memory.usage().blobs), (0, 0));
    assert_eq!((seen, pair.target.seen().len()), (2 + 2 * 3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_sends_a_client_elsewhere_is_followed_by_the_client_only() {
    let (pair, image) = pair(0);
    let when = When::kind(Kind::Blob).method(Method::GET);
    pair.source.faulty.inject(when, Fault::RedirectOrigin("https://elsewhere.example".to_owned()));
    let error = run(&transfer(&pair)).await.unwrap_err();
    let context = format!("reading the blob {} from the source `source.example/a/b`: ", digest_of(&image, 0));
    assert!(error.to_string().starts_with(&context), "{error}");
    assert_eq!(pair.target.memory.usage().uploads, 0);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_too_large_is_not_begun() {
    let pair = Pair::new();
    let one = image(1);
    let two = Index::new().image(one.clone()).build();
    let three = Index::new().image(two.clone()).image(image(2)).build();
    let four = Index::new().image(three.clone()).build();
    four.push(&pair.source.memory, &repository("a/b"), &reference("v1")).unwrap();
    let bytes: u64 =
        [image(1), image(2)].iter().flat_map(|image| image.blobs().to_vec()).map(|blob| blob.0.size()).sum();
    // Both images have the same first layer.
    let bytes = bytes - one.blobs()[1].0.size();
    let documents =
        [&one, &two, &three, &four, &image(2)].iter().map(|built| built.content().len()).sum::<usize>();
    let limits = Limits::new;
    for (limits, reason) in [
        (limits().depth(2), "its indexes are nested more than 2 deep".to_owned()),
        (limits().manifests(4), "it has more than 4 manifests".to_owned()),
        (
            limits().manifest_bytes(documents - 1),
            format!("its manifests have more than {} bytes together", documents - 1),
        ),
        (limits().bytes(bytes - 1), format!("its blobs have {bytes} bytes, more than {}", bytes - 1)),
    ] {
        let error = run(&transfer(&pair).limits(limits)).await.unwrap_err();
        let message =
            format!("reading the image `{}` from the source `source.example/a/b`: {reason}", four.digest());
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::TooLarge, message));
        assert_eq!(pair.target.memory.usage().repositories, 0);
    }
    let exact = limits().depth(3).manifests(5).manifest_bytes(documents).bytes(bytes);
    assert_eq!(run(&transfer(&pair).limits(exact)).await.unwrap().manifests, 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_is_refused() {
    let pair = Pair::new();
    let memory = &pair.source.memory;
    let kind: MediaType = "application/vnd.oci.artifact.manifest.v1+json".parse().unwrap();
    let mut artifact = Object::new();
    artifact.set("mediaType", Raw::of(&kind));
    artifact.set("blobs", Raw::list([]));
    let content = artifact.to_raw().bytes().clone();
    let digest = memory.push_manifest(&repository("a/b"), &reference("v1"), kind, content).unwrap();
    let error = run(&transfer(&pair)).await.unwrap_err();
    let message = format!(
        "reading the manifest {digest} from the source `source.example/a/b`: what a document of the type \
         `application/vnd.oci.artifact.manifest.v1+json` refers to is not known here"
    );
    assert_eq!((error.code(), error.to_string()), (ErrorCode::Unsupported, message));

    // A manifest that is also an index.
    let both = br#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
    let digest = Digest::sha256(both);
    let headers = vec![(header::CONTENT_TYPE, "application/vnd.oci.image.index.v1+json".parse().unwrap())];
    let answer = Fault::Answer(StatusCode::OK, headers, Bytes::from_static(both));
    pair.source.faulty.inject(When::kind(Kind::Manifest).method(Method::GET), answer);
    let error = transfer(&pair).run(&digest.into(), &[tag("v1")]).await.unwrap_err();
    assert!(
        error.to_string().contains("both the members of an index and those of an image manifest"),
        "{error}"
    );
    assert_eq!(pair.target.memory.usage().repositories, 0);
}

#[tokio::test]
async fn a_source_that_answers_with_something_else_is_found_out() {
    use tower_oci::operation::{GetManifest, Handlers, Manifest};
    let other = Bytes::from_static(b"{}");
    let lying = Handlers::new().on(move |request: Request<GetManifest>| {
        let content = Bytes::from_static(b"{}");
        async move {
            let asked = request.operation().reference.digest().copied();
            Ok(Manifest::new(MediaType::OCI_INDEX, asked.unwrap_or(Digest::sha256(b"x")), content))
        }
    });
    let target = Memory::new();
    let transfer =
        Transfer::new(Place::new(lying, repository("a/b")), Place::new(target.clone(), repository("c/d")));
    let error = run(&transfer).await.unwrap_err();
    let digest = Digest::sha256(b"x");
    assert!(!digest.matches(&other));
    let message = format!(
        "reading the manifest {digest} from the source `a/b`: the content of the manifest {digest} is something else"
    );
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Corrupt, message));
    assert_eq!(target.usage().repositories, 0);
}
