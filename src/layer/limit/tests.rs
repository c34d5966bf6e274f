use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use proptest::prelude::*;
use tower_layer::Layer as _;
use tower_service::Service;
use tower_test::mock::Mock;
use tower_test::mock::future::ResponseFuture;

use super::*;
use crate::body::Body;
use crate::error::{BoxError, Error, ErrorCode, ErrorKind, RetryAfter};
use crate::http::OciService;
use crate::operation::{
    ClientAddress, DeleteBlob, DeleteManifest, GetBlob, GetManifest, Identity, ListReferrers,
    ListRepositories, ListTags, Operation, Ping, Pong, PutManifest, Registry, Reply, Request, Response,
    StartUpload, UploadStatus,
};
use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;

const SECOND: Duration = Duration::from_secs(1);

fn named(name: &str) -> http::Extensions {
    let mut facts = http::Extensions::new();
    facts.insert(Identity::named(name));
    facts
}

fn from(address: &str) -> http::Extensions {
    let mut facts = http::Extensions::new();
    facts.insert(ClientAddress::new(address.parse().unwrap()));
    facts
}

/// How many in a row are let through.
fn let_through(limiter: &Limiter, facts: &http::Extensions) -> usize {
    (0..1000).take_while(|_| limiter.check(facts).is_ok()).count()
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_its_burst_and_then_its_rate() {
    let limiter = Limiter::new(Rate::per_minute(6).burst(3)).of("pulls");
    assert_eq!(let_through(&limiter, &named("ann")), 3);
    let error = limiter.check(&named("ann")).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::TooManyRequests, ErrorCode::TooManyRequests));
    assert_eq!(error.status(), 429);
    assert_eq!(error.retry_after(), Some(RetryAfter::Delay(10 * SECOND)));
    let message = "too many pulls: 6 per minute, 3 at once are allowed; try again in 10 s";
    assert_eq!(error.to_string(), message);
    pass(9 * SECOND + SECOND / 2).await;
    let error = limiter.check(&named("ann")).unwrap_err();
    assert_eq!(error.retry_after(), Some(RetryAfter::Delay(SECOND)));
    pass(SECOND / 2).await;
    assert_eq!(let_through(&limiter, &named("ann")), 1);
    pass(20 * SECOND).await;
    assert_eq!(let_through(&limiter, &named("ann")), 2);
    pass(3600 * SECOND).await;
    assert_eq!(let_through(&limiter, &named("ann")), 3);
}

#[tokio::test(start_paused = true)]
async fn callers_are_told_apart_by_name_and_else_by_address() {
    let limiter = Limiter::new(Rate::per_hour(2)).anonymous(Rate::per_hour(1));
    let mut ann_elsewhere = from("192.0.2.1");
    ann_elsewhere.insert(Identity::named("ann"));
    assert_eq!(let_through(&limiter, &ann_elsewhere), 2);
    assert_eq!(let_through(&limiter, &named("ann")), 0);
    assert_eq!(let_through(&limiter, &named("bob")), 2);
    for (address, expected) in [
        ("192.0.2.1", 1),
        ("192.0.2.2", 1),
        ("::ffff:192.0.2.2", 0),
        ("2001:db8:0:1::1", 1),
        ("2001:db8:0:1:ffff::", 0),
        ("2001:db8:0:2::1", 1),
    ] {
        assert_eq!(let_through(&limiter, &from(address)), expected, "{address}");
    }
    // Those of whom nothing is known are one, whatever they say of themselves.
    assert_eq!(let_through(&limiter, &http::Extensions::new()), 1);
    let mut anonymous = http::Extensions::new();
    anonymous.insert(Identity::anonymous());
    let error = limiter.check(&anonymous).unwrap_err();
    let message = "too many requests: 1 per hour are allowed without a login; try again in 3600 s";
    assert_eq!(error.to_string(), message);
    assert_eq!(limiter.clone().check(&anonymous).unwrap_err().to_string(), message);
}

#[tokio::test(start_paused = true)]
async fn callers_are_remembered_up_to_a_number_and_while_they_need_to_be() {
    let limiter = Limiter::new(Rate::per_minute(2)).max_callers(100);
    assert_eq!(let_through(&limiter, &named("ann")), 2);
    for number in 0..100_000_u32 {
        let mut facts = http::Extensions::new();
        facts.insert(ClientAddress::new(IpAddr::from(number.to_be_bytes())));
        limiter.check(&facts).unwrap();
        assert!(limiter.callers().1 <= 100);
    }
    // Whoever has many addresses makes us forget no name, nor those who have used most.
    assert_eq!(let_through(&limiter, &named("ann")), 0);
    assert_eq!(let_through(&limiter, &from("192.0.2.1")), 2);
    for number in 200_000..200_100_u32 {
        let mut facts = http::Extensions::new();
        facts.insert(ClientAddress::new(IpAddr::from(number.to_be_bytes())));
        limiter.check(&facts).unwrap();
    }
    assert_eq!(let_through(&limiter, &from("192.0.2.1")), 0);
    assert_eq!(limiter.callers(), (1, 100));
    pass(60 * SECOND).await;
    for number in 0..100 {
        limiter.check(&named(&format!("{number}"))).unwrap();
        limiter.check(&from("192.0.2.9")).unwrap_or(());
    }
    assert_eq!(limiter.callers(), (100, 100 - 2 * 2 + 1));
}

proptest! {
    /// Against a bucket that is counted in tokens, of which each is as many parts as a token takes nanoseconds.
    #[test]
    fn a_bucket_has_as_many_tokens_as_it_should(
        count in 1_u32..50,
        period in 1_u64..100_000,
        burst in 1_u32..20,
        steps in prop::collection::vec(0_u64..5_000, 1..200),
    ) {
        let rate = Rate::per(count, Duration::from_nanos(period)).burst(burst);
        let token = (period / u64::from(count)).max(1);
        let (mut now, mut full) = (Duration::ZERO, Duration::ZERO);
        let most = token * u64::from(burst);
        let mut level = most;
        for step in steps {
            now += Duration::from_nanos(step);
            level = (level + step).min(most);
            match rate.take(full, now) {
                Ok(then) => {
                    prop_assert!(level >= token);
                    level -= token;
                    full = then;
                }
                Err(wait) => {
                    prop_assert_eq!(wait, Duration::from_nanos(token - level));
                    prop_assert!(rate.take(full, now + wait - Duration::from_nanos(1)).is_err());
                    prop_assert!(rate.take(full, now + wait).is_ok());
                }
            }
        }
    }
}

#[test]
fn no_rate_is_out_of_bounds() {
    for rate in [
        Rate::per(0, Duration::ZERO).burst(0),
        Rate::per(u32::MAX, Duration::MAX).burst(u32::MAX),
        Rate::per(1, Duration::MAX).burst(u32::MAX),
    ] {
        let mut full = Duration::ZERO;
        for now in [Duration::ZERO, SECOND, Duration::MAX] {
            full = rate.take(full, now).unwrap_or(full);
        }
    }
    for (rate, text) in [
        (Rate::per_second(0), "1 per second"),
        (Rate::per_hour(5).burst(5), "5 per hour"),
        (Rate::per(3, Duration::from_secs(90)), "3 per 90 seconds"),
        (Rate::per(3, Duration::from_secs(2 * 86_400)).burst(1), "3 per 2 days, 1 at once"),
        (Rate::per(3, Duration::from_millis(1500)), "3 per 1.5s"),
        (Rate::per(1, Duration::ZERO), "1 per 0ns"),
    ] {
        assert_eq!(rate.to_string(), text);
    }
}

/// Answers everything.
fn leaf() -> impl Registry {
    tower::service_fn(async |_: Request| Ok::<_, Error>(Response::new(Reply::from(Pong::new()))))
}

/// Every kind of operation but those that come with a body.
fn operations() -> Vec<Operation> {
    let name = || "a/b".parse().unwrap();
    let (digest, tag) = (Digest::sha256(b"blob"), || "v1".parse().unwrap());
    vec![
        Ping::new().into(),
        GetManifest::new(name(), tag()).into(),
        GetManifest::head(name(), tag()).into(),
        PutManifest::new(name(), tag(), MediaType::OCI_INDEX, "{}".into()).into(),
        DeleteManifest::new(name(), tag()).into(),
        GetBlob::new(name(), digest).into(),
        DeleteBlob::new(name(), digest).into(),
        StartUpload::new(name()).into(),
        UploadStatus::new(name(), "1f".parse().unwrap()).into(),
        ListTags::new(name()).into(),
        ListReferrers::new(name(), digest).into(),
        ListRepositories::new().into(),
    ]
}

/// Those of the operations that count: whatever comes second is refused.
async fn counted(layer: impl Fn(Limiter) -> LimitLayer) -> Vec<usize> {
    let mut counted = Vec::new();
    for (number, operation) in operations().into_iter().enumerate() {
        let mut service = layer(Limiter::new(Rate::per_hour(1))).layer(leaf());
        let get = GetManifest::new("a/b".parse().unwrap(), "v1".parse().unwrap());
        assert!(service.call(Request::new(get.into())).await.is_ok());
        let answer = service.call(Request::new(operation)).await;
        if answer.is_err_and(|error| error.status() == 429) {
            counted.push(number);
        }
    }
    counted
}

#[tokio::test(start_paused = true)]
async fn pulls_are_manifests_that_are_got() {
    assert_eq!(counted(LimitLayer::pulls).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_not_named_as_free_counts() {
    assert_eq!(counted(LimitLayer::new).await, (0..12).collect::<Vec<_>>());
    let reads =
        |limiter| LimitLayer::new(limiter).free(|operation| matches!(operation, Operation::GetBlob(_)));
    assert_eq!(counted(reads).await, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]);
}

#[tokio::test(start_paused = true)]
async fn over_http_the_fact_is_an_extension_and_the_refusal_an_answer() {
    let limiter = Limiter::new(Rate::per_minute(1)).of("pulls");
    let service = OciService::new(LimitLayer::pulls(limiter).layer(leaf()));
    let ask = async |address: &str| {
        let mut request = http::Request::get("/v2/a/b/manifests/v1").body(Body::empty()).unwrap();
        *request.extensions_mut() = from(address);
        service.clone().call(request).await.unwrap()
    };
    ask("192.0.2.1").await;
    let refused = ask("192.0.2.1").await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (429, &b"60"[..]));
    let text = refused.into_body().read(1000).await.unwrap();
    let message = "too many pulls: 1 per minute are allowed; try again in 60 s";
    let expected = format!(r#"{{"errors":[{{"code":"TOOMANYREQUESTS","message":"{message}"}}]}}"#);
    assert_eq!(text, expected);
    assert_ne!(ask("192.0.2.2").await.status(), 429);
}

#[tokio::test]
async fn it_is_ready_when_the_inner_service_is() {
    let (mut service, mut handle) = tower_test::mock::spawn_with(|inner: Mock<Request, Response>| {
        LimitLayer::new(Limiter::new(Rate::per_hour(1))).layer(Shared(Arc::new(Mutex::new(inner))))
    });
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
}

/// tower-test's mock is no `Sync`, which a registry has to be.
#[derive(Clone)]
struct Shared(Arc<Mutex<Mock<Request, Response>>>);

impl Service<Request> for Shared {
    type Response = Response;
    type Error = BoxError;
    type Future = ResponseFuture<Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.lock().unwrap().poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.0.lock().unwrap().call(request)
    }
}
