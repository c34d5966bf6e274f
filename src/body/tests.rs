use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream;
use proptest::prelude::*;

use super::*;

fn streamed(frames: Vec<Vec<u8>>) -> Body {
    Body::from_stream(stream::iter(frames.into_iter().map(|frame| Ok::<_, Infallible>(Bytes::from(frame)))))
}

/// What a reader gets: the bytes, and whether the body ended well.
fn drain(mut body: Body) -> (Vec<u8>, Result<(), Error>) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut all = Vec::new();
    loop {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => all.extend_from_slice(frame.data_ref().unwrap()),
            Poll::Ready(Some(Err(error))) => {
                assert!(
                    matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(None)),
                    "nothing after an error"
                );
                return (all, Err(error));
            }
            Poll::Ready(None) => return (all, Ok(())),
            Poll::Pending => panic!("pending"),
        }
    }
}

proptest! {
    #[test]
    fn a_verified_body_does_not_depend_on_framing(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
        with_size: bool,
    ) {
        let content = frames.concat();
        let digest = Digest::sha256(&content);
        let size = with_size.then_some(content.len() as u64);
        let body = streamed(frames.clone()).verified(digest, size).unwrap();
        let (all, end) = drain(body);
        prop_assert!(end.is_ok());
        prop_assert_eq!(&all, &content);

        // One wrong bit anywhere: never complete, whatever the framing.
        let mut wrong = frames;
        if let Some(byte) = wrong.iter_mut().flatten().last() {
            *byte ^= 1;
            let (all, end) = drain(streamed(wrong).verified(digest, size).unwrap());
            prop_assert!(end.is_err());
            prop_assert!(all.len() < content.len());
        }
    }

    #[test]
    fn a_body_cut_short_or_too_long_never_completes(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..8),
        with_size: bool,
    ) {
        let content = frames.concat();
        let digest = Digest::sha256(&content);
        let size = with_size.then_some(content.len() as u64);
        let mut short = frames.clone();
        short.last_mut().unwrap().pop();
        let (all, end) = match streamed(short).verified(digest, size) {
            Ok(body) => drain(body),
            Err(error) => (Vec::new(), Err(error)),
        };
        prop_assert!(end.is_err());
        prop_assert!(all.len() < content.len());
        let mut long = frames;
        long.last_mut().unwrap().push(0);
        let (all, end) = drain(streamed(long).verified(digest, size).unwrap());
        prop_assert!(end.is_err());
        prop_assert!(all.len() < content.len() || size.is_none());
    }
}

#[test]
fn what_is_there_already_is_checked_at_once() {
    let digest = Digest::sha256(b"hello");
    assert!(Body::from("hello").verified(digest, Some(5)).is_ok());
    assert!(Body::from("hello").verified(digest, Some(6)).is_err());
    assert!(Body::from("hullo").verified(digest, None).is_err());
    assert!(Body::empty().verified(digest, None).is_err());
    assert!(Body::empty().verified(Digest::sha256(b""), Some(0)).is_ok());
    assert!(streamed(vec![]).verified(digest, Some(0)).is_err());
}

#[test]
fn while_a_frame_is_held_the_body_has_not_ended() {
    let body = streamed(vec![b"he".to_vec(), b"llo".to_vec()]);
    let mut body = body.verified(Digest::sha256(b"hello"), Some(5)).unwrap();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(body.size(), Some(5));
    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else { panic!() };
    assert_eq!(frame.data_ref().unwrap(), "he");
    assert_eq!((body.size(), body.is_end_stream()), (Some(3), false));
    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else { panic!() };
    assert_eq!(frame.data_ref().unwrap(), "llo");
    assert_eq!((body.size(), body.is_end_stream()), (Some(0), true));
}

#[tokio::test]
async fn reading_is_bounded() {
    assert_eq!(streamed(vec![vec![1; 4], vec![2; 4]]).read(8).await.unwrap().len(), 8);
    assert_eq!(streamed(vec![vec![1; 4], vec![2; 4]]).read(7).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(Body::from("abc").read(2).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let limited = streamed(vec![vec![1; 4], vec![2; 4]]).limited(5, "upload");
    let error = limited.read(100).await.unwrap_err();
    assert_eq!(error.to_string(), "the upload is larger than 5 bytes");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_fails_after_the_idle_time() {
    let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let error = body.idle_timeout(Duration::from_secs(30)).read(10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_guard_is_released_at_the_end_or_on_drop() {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let released = Arc::new(AtomicUsize::new(0));
    let body = streamed(vec![b"x".to_vec()]).guarded(Count(Arc::clone(&released)));
    assert_eq!(released.load(Ordering::SeqCst), 0);
    assert!(drain(body).1.is_ok());
    assert_eq!(released.load(Ordering::SeqCst), 1);
    drop(streamed(vec![b"x".to_vec()]).guarded(Count(Arc::clone(&released))));
    assert_eq!(released.load(Ordering::SeqCst), 2);
}

#[test]
fn bodies_are_send_sync_and_unpin() {
    fn check<T: Send + Sync + Unpin>() {}
    check::<Body>();
}

#[test]
fn nothing_follows_an_error_whatever_stands_around_the_body() {
    let broken = || {
        let frames = [Ok(Bytes::from_static(b"a")), Err(Error::unavailable("broken")), Ok("b".into())];
        Body::from_stream(stream::iter(frames))
    };
    let digest = Digest::sha256(b"ab");
    let bodies = [
        broken(),
        Body::new(broken().map_err(BoxError::from)),
        broken().limited(10, "body"),
        broken().guarded(()),
        broken().idle_timeout(Duration::from_secs(1)),
        broken().verified(digest, Some(2)).unwrap(),
        broken().verified(digest, None).unwrap(),
    ];
    for mut body in bodies {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut poll = || match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(frame)) => frame.map(|_| ()).map_err(|error| error.to_string()),
            Poll::Ready(None) => Err("the end".to_owned()),
            Poll::Pending => panic!("pending"),
        };
        let seen = std::iter::from_fn(|| Some(poll())).skip_while(Result::is_ok).take(3);
        assert_eq!(seen.collect::<Vec<_>>(), ["broken", "the end", "the end"].map(|end| Err(end.to_owned())));
        assert!(body.is_end_stream());
    }
}
