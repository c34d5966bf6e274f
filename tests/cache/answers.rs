//! What is answered to whom, and what the upstream is asked for it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::advance;
use tower_oci::error::{Error, RetryAfter};
use tower_oci::layer::cache::{Cache, CacheLayer};
use tower_oci::operation::{
    BlobContent, EntityTags, GetBlob, Registry as _, Reply, Request, Response, UpstreamId, Verified, Warnings,
};
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore as _, MemoryBlobs};

use crate::flawed::{Flaw, Flawed};
use crate::origin::*;

const SIZE: usize = 1_000_000;

fn layer() -> (CacheLayer, MemoryBlobs) {
    let store = MemoryBlobs::with_capacity(1 << 24);
    (CacheLayer::new(store.clone()).breaker(None), store)
}

fn if_none_match(tags: &str, mut request: Request<GetBlob>) -> Request<GetBlob> {
    request.operation_mut().conditions.if_none_match = Some(EntityTags::parse(tags));
    request
}

fn if_range(tags: &str, mut request: Request<GetBlob>) -> Request<GetBlob> {
    request.operation_mut().conditions.if_range = Some(EntityTags::parse(tags));
    request
}

/// What came of a request, in words.
async fn outcome(cache: &Cache, request: Request<GetBlob>) -> String {
    let (found, status) = match ask(cache, request).await {
        Ok(found) => found,
        Err(error) => return format!("{} of {:?}", error.status().as_u16(), error.content_size()),
    };
    let size = found.size;
    let content = match found.content {
        BlobContent::NotModified => "304".to_owned(),
        BlobContent::Whole(body) => format!("200 {}", collect(body).await.unwrap().len()),
        BlobContent::Part(part) => {
            format!("206 {} {}", part.range, collect(part.body).await.unwrap().len())
        }
        BlobContent::Parts(parts) => {
            let mut text = "206".to_owned();
            for part in parts {
                text.push_str(&format!(" {} {}", part.range, collect(part.body).await.unwrap().len()));
            }
            text
        }
        other => panic!("{other:?}"),
    };
    format!("{content} of {size:?}; {status}")
}

#[tokio::test(start_paused = true)]
async fn ranges_and_conditions_of_what_is_kept() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, (layer, _)) = (Origin::new([blob.clone()]), layer());
    let cache = origin.cached(&layer);
    read(&cache, whole(digest)).await.unwrap();
    origin.seen();
    settle().await;
    let (this, other) = (format!("\"{digest}\""), format!("\"{}\"", Digest::sha256(b"")));
    for (request, wanted) in [
        (whole(digest), "200 1000000 of Some(1000000); hit"),
        (head(digest), "200 0 of Some(1000000); hit"),
        (part(digest, "10-19"), "206 10-19 10 of Some(1000000); hit"),
        (part(digest, "-5"), "206 999995-999999 5 of Some(1000000); hit"),
        (part(digest, "999999-"), "206 999999-999999 1 of Some(1000000); hit"),
        (part(digest, "5-9999999"), "206 5-999999 999995 of Some(1000000); hit"),
        (part(digest, "0-1,5-300004,-3"), "206 0-1 2 5-300004 300000 999997-999999 3 of Some(1000000); hit"),
        (part(digest, "0-700000,1-700000"), "200 1000000 of Some(1000000); hit"),
        (part(digest, "1000000-"), "416 of Some(1000000)"),
        (part(digest, "-0"), "416 of Some(1000000)"),
        (if_range(&this, part(digest, "0-1")), "206 0-1 2 of Some(1000000); hit"),
        (if_range(&other, part(digest, "0-1")), "200 1000000 of Some(1000000); hit"),
        (if_none_match(&this, whole(digest)), "304 of None; hit"),
        (if_none_match("*", head(digest)), "304 of None; hit"),
        (if_none_match(&other, part(digest, "0-1")), "206 0-1 2 of Some(1000000); hit"),
    ] {
        let asked = format!("{request:?}");
        assert_eq!(outcome(&cache, request).await, wanted, "{asked}");
    }
    let parts = ask(&cache, part(digest, "3-9,20-29")).await.unwrap().0.content;
    let BlobContent::Parts(parts) = parts else { panic!("{parts:?}") };
    for part in parts {
        assert_eq!(collect(part.body).await.unwrap(), part.range.slice(&blob).unwrap());
    }
    assert_eq!(origin.seen(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn ranges_and_conditions_of_what_is_cold() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (this, other) = (format!("\"{digest}\""), format!("\"{}\"", Digest::sha256(b"")));
    let method = |method| vec![line(method, REPOSITORY, digest)];
    for (request, wanted, asked) in [
        (whole(digest), "200 1000000 of Some(1000000); fwd=miss; stored", method("GET")),
        (head(digest), "200 0 of Some(1000000); fwd=miss", method("HEAD")),
        (part(digest, "-5"), "206 999995-999999 5 of Some(1000000); fwd=miss; stored", method("GET")),
        (part(digest, "0-1,5-9"), "200 1000000 of Some(1000000); fwd=miss; stored", method("GET")),
        (part(digest, "1000000-"), "416 of Some(1000000)", method("GET")),
        (if_range(&this, part(digest, "0-1")), "206 0-1 2 of Some(1000000); fwd=miss; stored", method("GET")),
        (
            if_range(&other, part(digest, "0-1")),
            "200 1000000 of Some(1000000); fwd=miss; stored",
            method("GET"),
        ),
        (if_none_match(&this, whole(digest)), "304 of Some(1000000); fwd=miss; stored", method("GET")),
        (if_none_match(&this, head(digest)), "304 of None; fwd=miss", method("HEAD")),
    ] {
        let (origin, (layer, _)) = (Origin::new([blob.clone()]), layer());
        let cache = origin.cached(&layer);
        let text = format!("{request:?}");
        assert_eq!(outcome(&cache, request).await, wanted, "{text}");
        assert_eq!(origin.seen(), asked, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_of_what_is_on_its_way_asks_nobody() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, (layer, _)) = (Origin::new([blob.clone()]), layer());
    let cache = origin.cached(&layer);
    origin.release(100_000);
    let reader = ask(&cache, whole(digest)).await.unwrap();
    assert_eq!(outcome(&cache, head(digest)).await, "200 0 of Some(1000000); fwd=miss; collapsed");
    assert_eq!(origin.seen(), [get(digest)]);
    drop(reader);
    // Where the size isn't known, the upstream may know it.
    let origin = Origin::without_sizes([blob.clone()]);
    let cache = origin.cached(&self::layer().0);
    origin.release(100_000);
    let _reader = ask(&cache, whole(digest)).await.unwrap();
    assert_eq!(outcome(&cache, head(digest)).await, "200 0 of Some(1000000); fwd=miss");
    assert_eq!(origin.seen(), [get(digest), line("HEAD", REPOSITORY, digest)]);
}

#[tokio::test(start_paused = true)]
async fn whole_blobs_are_marked_as_verified() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, (layer, _)) = (Origin::new([blob.clone()]), layer());
    let cache = origin.cached(&layer);
    for (request, is_marked) in [(whole(digest), true), (part(digest, "0-1"), false), (whole(digest), true)] {
        let response = cache.send(request).await.unwrap();
        assert_eq!(response.extensions().get::<Verified>().is_some(), is_marked);
        collect(body(response.into_reply())).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_by_those_who_asked_together() {
    let digest = Digest::sha256(b"");
    let (origin, (layer, _)) = (Origin::new([]), layer());
    let cache = origin.cached(&layer);
    origin.refuse(|_| {
        let error = Error::unavailable("out of order");
        Some(error.with_retry_after(RetryAfter::Delay(Duration::from_secs(7))))
    });
    let reads = join_all((0..9).map(async |_| ask(&cache, whole(digest)).await.unwrap_err())).await;
    for error in reads {
        assert_eq!(error.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(7))));
        assert_eq!(told::<()>(Err(error)), (503, "UNSUPPORTED", "out of order".to_owned()));
    }
    assert_eq!(origin.seen(), [get(digest)]);
    origin.heal();
    assert_eq!(told(read(&cache, whole(digest)).await), (404, "BLOB_UNKNOWN", "no such blob".to_owned()));
    assert_eq!(origin.seen(), [get(digest)]);
}

/// Only ann may read `team/app`, everybody may read `public/app`.
fn guard(line: &str) -> Option<Error> {
    let is_fine = line.contains("public/app") || line.ends_with(" ann");
    (!is_fine).then(|| Error::denied("not yours"))
}

fn of_public(mut request: Request<GetBlob>) -> Request<GetBlob> {
    request.operation_mut().repository = "public/app".parse().unwrap();
    request
}

#[tokio::test(start_paused = true)]
async fn what_one_may_read_and_another_may_not_stays_so() {
    let (secret, absent) = (content(SIZE), Digest::sha256(b"absent"));
    let digest = Digest::sha256(&secret);
    let (origin, (layer, store)) = (Origin::new([secret.clone()]), layer());
    let cache = origin.cached(&layer);
    origin.refuse(guard);
    // What bob is told, and what the upstream is asked for him, cold, on its way and warm.
    let requests = |digest| {
        let known = if_none_match(&format!("\"{digest}\""), whole(digest));
        let parts = ["0-9", "0-1,5-9", "9999999-"].map(|ranges| part(digest, ranges));
        [whole(digest), head(digest), known].into_iter().chain(parts)
    };
    let mut bobs = Vec::new();
    for phase in ["cold", "on its way", "warm"] {
        origin.release(if phase == "on its way" { 100_000 } else { usize::MAX });
        let ann = match phase {
            "cold" => None,
            _ => Some(ask(&cache, by("ann", whole(digest))).await.unwrap()),
        };
        if phase == "warm" {
            assert!(collect(body(ann.unwrap().0)).await.unwrap() == secret);
            settle().await;
            assert_eq!(store.stat(digest).await.unwrap(), Some(SIZE as u64));
        }
        origin.seen();
        for digest in [digest, absent] {
            let mut told_bob = Vec::new();
            for request in requests(digest) {
                told_bob.push(told(ask(&cache, by("bob", request)).await));
            }
            let asked = origin.seen().join("\n").replace(&digest.hex()[..6], "?");
            bobs.push((told_bob, asked));
        }
    }
    let (told_bob, asked) = &bobs[0];
    assert_eq!(told_bob, &vec![(403, "DENIED", "not yours".to_owned()); 6]);
    let (get, head) = ("GET team/app ? bob", "HEAD team/app ? bob");
    assert_eq!(asked, &[get, head, get, get, get, get].join("\n"));
    assert!(bobs.iter().all(|bob| bob == &bobs[0]), "{bobs:?}");
}

#[tokio::test(start_paused = true)]
async fn in_another_repository_it_is_asked_for_whether_it_is_kept_or_not() {
    let (blob, unknown) = (content(SIZE), content(SIZE + 1));
    let digest = Digest::sha256(&blob);
    let (origin, (layer, _)) = (Origin::new([blob.clone(), unknown.clone()]), layer());
    let cache = origin.cached(&layer);
    origin.refuse(guard);
    read(&cache, by("ann", whole(digest))).await.unwrap();
    settle().await;
    origin.seen();
    // What is there is asked for once, to see whether it is there, and served from what is kept.
    let (found, status) = ask(&cache, by("bob", of_public(part(digest, "5-9")))).await.unwrap();
    assert_eq!((collect(body(found)).await.unwrap(), status.as_str()), (blob.slice(5..10), "fwd=miss"));
    assert_eq!(origin.seen(), [format!("{} bob", line("GET", "public/app", digest))]);
    let (_, status) = ask(&cache, by("bob", of_public(whole(digest)))).await.unwrap();
    assert_eq!((origin.seen().len(), status.as_str()), (0, "hit"));
    // What isn't kept gives the same request.
    let other = Digest::sha256(&unknown);
    let (found, status) = ask(&cache, by("bob", of_public(part(other, "5-9")))).await.unwrap();
    assert_eq!(
        (collect(body(found)).await.unwrap(), status.as_str()),
        (unknown.slice(5..10), "fwd=miss; stored")
    );
    assert_eq!(origin.seen(), [format!("{} bob", line("GET", "public/app", other))]);
    // That bob may read there doesn't let him in elsewhere.
    assert_eq!(told(ask(&cache, by("bob", whole(digest))).await).0, 403);
    let mut elsewhere = by("ann", whole(digest));
    elsewhere.extensions_mut().insert(UpstreamId::new("other.example".parse().unwrap()));
    origin.seen();
    assert_eq!(ask(&cache, elsewhere).await.unwrap().1, "fwd=miss");
    assert_eq!(origin.seen(), [format!("{} ann", get(digest))]);
}

#[tokio::test(start_paused = true)]
async fn two_readers_of_one_cold_blob_cost_a_request_each_and_one_transfer() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, (layer, _)) = (Origin::new([blob.clone()]), layer());
    let cache = origin.cached(&layer);
    let (one, other) =
        tokio::join!(read(&cache, by("ann", whole(digest))), read(&cache, by("bob", whole(digest))));
    assert!(one.unwrap() == blob && other.unwrap() == blob);
    assert_eq!(origin.seen(), [format!("{} ann", get(digest)), format!("{} bob", get(digest))]);
    assert_eq!(layer.figures().bytes_fetched, SIZE as u64);
}

#[tokio::test(start_paused = true)]
async fn access_that_has_expired_is_checked_and_serves_while_it_cannot_be() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, (layer, _)) = (Origin::new([blob.clone()]), layer());
    let cache = origin.cached(&layer);
    read(&cache, whole(digest)).await.unwrap();
    advance(Duration::from_secs(301)).await;
    origin.seen();
    origin.refuse(|_| Some(Error::unavailable("out of order")));
    let response = cache.send(whole(digest)).await.unwrap();
    let text = "stale: whether this may still be read couldn't be checked: out of order".to_owned();
    assert_eq!(response.extensions().get::<Warnings>(), Some(&Warnings::new([text])));
    assert!(collect(body(response.into_reply())).await.unwrap() == blob);
    assert_eq!(outcome(&cache, part(digest, "0-1")).await, "206 0-1 2 of Some(1000000); fwd=stale");
    assert_eq!(outcome(&cache, head(digest)).await, "200 0 of Some(1000000); fwd=stale");
    assert_eq!(origin.seen(), [get(digest), get(digest), line("HEAD", REPOSITORY, digest)]);
    assert_eq!(layer.figures().stale, 3);
    // What isn't kept has nothing to be stale.
    let unknown = Digest::sha256(b"unknown");
    assert_eq!(told(ask(&cache, whole(unknown)).await).0, 503);
    origin.heal();
    assert_eq!(outcome(&cache, part(digest, "0-1")).await, "206 0-1 2 of Some(1000000); fwd=stale");
    assert_eq!(outcome(&cache, part(digest, "0-1")).await, "206 0-1 2 of Some(1000000); hit");
    // A refusal is not a failure.
    advance(Duration::from_secs(301)).await;
    origin.refuse(|_| Some(Error::denied("no more")));
    assert_eq!(outcome(&cache, whole(digest)).await, "403 of None");
    origin.refuse(|_| Some(Error::unavailable("out of order")));
    assert_eq!(outcome(&cache, whole(digest)).await, "503 of None", "it is forgotten that it was let in");
    // What the upstream has lost is gone here.
    origin.heal();
    assert_eq!(outcome(&cache, part(digest, "0-1")).await, "206 0-1 2 of Some(1000000); fwd=miss");
    advance(Duration::from_secs(301)).await;
    origin.refuse(|_| Some(Error::blob_unknown("no such blob")));
    assert_eq!(outcome(&cache, whole(digest)).await, "404 of None");
    origin.refuse(|_| Some(Error::unavailable("out of order")));
    assert_eq!(outcome(&cache, whole(digest)).await, "503 of None");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_passed_through() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, (layer, store)) = (Origin::new([blob.clone()]), layer());
    let layer = layer.max_blob(999_999);
    let cache = origin.cached(&layer);
    let reads = join_all((0..3).map(async |_| {
        let (found, status) = ask(&cache, whole(digest)).await.unwrap();
        (collect(body(found)).await.unwrap() == blob, status)
    }));
    assert_eq!(reads.await, vec![(true, "fwd=bypass".to_owned()); 3]);
    assert_eq!(origin.seen(), [get(digest), get(digest), get(digest)]);
    let (found, status) = ask(&cache, part(digest, "5-9")).await.unwrap();
    assert_eq!((collect(body(found)).await.unwrap(), status.as_str()), (blob.slice(5..10), "fwd=bypass"));
    assert_eq!(origin.seen(), [get(digest), format!("{} bytes=5-9", get(digest))]);
    assert_eq!((kept(&store).await.len(), layer.figures().passed), (0, 4));
    // It is verified all the same.
    origin.replace(digest, content(SIZE).slice(1..));
    let (found, _) = ask(&cache, whole(digest)).await.unwrap();
    assert_eq!(told(collect(body(found)).await).1, "DIGEST_INVALID");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_fetched_anew() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, store, tasks) = (Origin::new([blob.clone()]), Flawed::new(Flaw::None), Tasks::new());
    let cache = origin.cached(&CacheLayer::new(store.clone()).tasks(tasks));
    read(&cache, whole(digest)).await.unwrap();
    settle().await;
    origin.seen();
    store.set(Flaw::Get);
    for request in [whole(digest), part(digest, "0-999999")] {
        assert!(read(&cache, request).await.unwrap() == blob);
        settle().await;
        assert_eq!(origin.seen(), [get(digest)]);
    }
    store.set(Flaw::None);
    store.remove(digest).await.unwrap();
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
    assert_eq!(origin.seen(), [get(digest)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_blob_is_passed_on_or_refused() {
    use tower::{Layer as _, service_fn};
    use tower_oci::operation::Blob;

    let digest = Digest::sha256(b"other");
    let cache = layer().0.layer(service_fn(async |request: Request| {
        let mut blob = Blob::whole(Digest::sha256(b"this"), None, "this".into());
        if request.operation().repository().unwrap().as_str() == "team/elsewhere" {
            blob = Blob::head(Digest::sha256(b"other"), None);
            blob.content = BlobContent::Redirect("https://cdn.example/x".parse().unwrap());
        }
        Ok::<_, Error>(Response::new(Reply::from(blob)))
    }));
    let message = format!("the blob {digest} was answered with {}", Digest::sha256(b"this"));
    assert_eq!(told(ask(&cache, whole(digest)).await), (502, "DIGEST_INVALID", message));
    let mut request = whole(digest);
    request.operation_mut().repository = "team/elsewhere".parse().unwrap();
    let (found, status) = ask(&cache, request).await.unwrap();
    assert_eq!(status, "fwd=bypass");
    assert!(matches!(found.content, BlobContent::Redirect(_)));
}
