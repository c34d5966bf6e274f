use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;

use super::*;
use crate::spec::digest::Digest;

/// A content that breaks off wherever the next of `breaks` says, by an error or by ending.
fn broken(content: &Bytes, from: u64, breaks: &Mutex<Vec<(u64, bool)>>, frame: usize) -> Body {
    let from = usize::try_from(from).unwrap();
    let rest = content.slice(from..);
    let next = breaks.lock().unwrap().pop();
    let (end, fails) = next.map_or((rest.len(), false), |(length, fails)| {
        (usize::try_from(length).unwrap().min(rest.len()), fails)
    });
    let frames: Vec<_> = rest[..end].chunks(frame).map(|frame| Ok(Bytes::copy_from_slice(frame))).collect();
    let error = fails.then(|| Err(Error::unavailable("the connection broke")));
    Body::from_stream(stream::iter(frames.into_iter().chain(error)).chain(stream::empty()))
}

/// The body, and the positions from which it was resumed.
fn resuming(
    content: &Bytes,
    breaks: Vec<(u64, bool)>,
    frame: usize,
    range: (u64, u64),
) -> (Body, Arc<Mutex<Vec<u64>>>) {
    let breaks = Arc::new(Mutex::new(breaks.into_iter().rev().collect::<Vec<_>>()));
    let positions = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&positions);
    let content = content.slice(..usize::try_from(range.1).unwrap());
    let first = broken(&content, range.0, &breaks, frame);
    let resume: Resume = Box::new(move |position| {
        seen.lock().unwrap().push(position.next);
        Box::pin(std::future::ready(Ok(broken(&content, position.next, &breaks, frame))))
    });
    (Body::new(Resuming::new(first, range.0, Some(range.1), "the blob".to_owned(), resume)), positions)
}

fn content(length: usize) -> Bytes {
    (0..length).map(|i| (i * 7 % 251) as u8).collect()
}

proptest! {
    #[test]
    fn a_resumed_body_equals_an_unbroken_one(
        length in 1_usize..300,
        breaks in prop::collection::vec((1_u64..100, any::<bool>()), 0..20),
        frame in 1_usize..50,
        part: bool,
        flipped in prop::option::of(0_usize..300),
    ) {
        let good = content(length);
        let digest = Digest::sha256(&good);
        let mut bytes = good.to_vec();
        if let Some(flipped) = flipped {
            bytes[flipped % length] ^= 1;
        }
        let bytes = Bytes::from(bytes);
        let size = length as u64;
        let range = if part { (size / 3, size - size / 4) } else { (0, size) };
        let (body, _) = resuming(&bytes, breaks, frame, range);
        prop_assert_eq!(body.size(), Some(range.1 - range.0));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if part {
            let read = runtime.block_on(body.read(1000)).unwrap();
            prop_assert_eq!(&read[..], &bytes[usize::try_from(range.0).unwrap()..usize::try_from(range.1).unwrap()]);
        } else {
            let read = runtime.block_on(body.verified(digest, Some(size)).unwrap().read(1000));
            match flipped {
                None => prop_assert_eq!(read.unwrap(), good),
                Some(_) => prop_assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt),
            }
        }
    }
}

#[tokio::test]
async fn it_goes_on_from_where_it_broke_off() {
    let content = content(10);
    let (body, positions) = resuming(&content, vec![(4, true), (3, false)], 2, (0, 10));
    assert_eq!(body.read(100).await.unwrap(), content);
    assert_eq!(*positions.lock().unwrap(), [4, 7]);
}

#[tokio::test]
async fn it_gives_up_when_nothing_comes_any_more() {
    let content = content(10);
    let (body, positions) =
        resuming(&content, vec![(4, true), (0, true), (0, true), (0, true), (0, true)], 2, (0, 10));
    let error = body.read(100).await.unwrap_err();
    assert_eq!(error.to_string(), "the blob broke off at byte 4 of 10: the connection broke");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(*positions.lock().unwrap(), [4, 4, 4, 4]);
}

#[tokio::test]
async fn it_gives_up_when_it_crawls() {
    let content = content(1000);
    let (body, positions) = resuming(&content, vec![(1, false); 1000], 1, (0, 1000));
    let error = body.read(1000).await.unwrap_err();
    assert_eq!(error.to_string(), "the blob broke off at byte 33 of 1000: the upstream ended it");
    assert_eq!(positions.lock().unwrap().len(), 32);
}

#[tokio::test]
async fn what_goes_on_behind_the_end_is_no_part() {
    let never: Resume = Box::new(|_| Box::pin(std::future::ready(Err(Error::internal("resumed")))));
    let frames = ["abc", "def"].map(|frame| Ok::<_, Infallible>(Bytes::from(frame)));
    let body = Body::from_stream(stream::iter(frames));
    let body = Body::new(Resuming::new(body, 0, Some(5), "the blob".to_owned(), never));
    let error = body.read(100).await.unwrap_err();
    assert_eq!(error.to_string(), "the blob goes on behind its end at byte 5");
}

#[test]
fn validators_tell_contents_apart() {
    let identity = |pairs: &[(HeaderName, &str)]| {
        Identity::of(&pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    };
    let one = identity(&[(header::ETAG, "\"a\"")]);
    assert!(one.agrees(&identity(&[(header::ETAG, "W/\"a\"")])));
    assert!(one.agrees(&identity(&[])));
    assert!(!one.agrees(&identity(&[(header::ETAG, "\"b\"")])));
    let digest = identity(&[(DOCKER_CONTENT_DIGEST, "sha256:1")]);
    assert!(!digest.agrees(&identity(&[(DOCKER_CONTENT_DIGEST, "sha256:2")])));
}
