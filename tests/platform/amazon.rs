//! Keys of AWS, and the passwords of Amazon's registries that are had for them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{Request, Response, StatusCode};
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::operation::Credential;
use tower_oci::rt::Clock;
use tower_oci::testing::{Hosts, PlatformStandIn};
use tower_oci::wave::platform::{PlatformAccess, Platforms};

use super::support::{IN_MEMORY, START, failure, in_memory};

const PRIVATE: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const HOUR: u64 = 60 * 60;

/// Authorizations of requests at the tests' time, made with another implementation.
const OF_KEYS: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=0c4d9ce8f156b8dfe172aa9d7243be73801ae42909239535160bf2b7eb14b661";
const OF_KEYS_PUBLIC: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/ecr-public/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=bb2b7bbdcee4b1aa209b475aa284f88517c1e573984f4fc527fd78097fe2584b";
const TO_ASSUME: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=46548f02567337292972dde8892a9f40d9d446ccb18de81e14b413fea9cd7bea";
const OF_ROLE: &str = "AWS4-HMAC-SHA256 Credential=ASIAROLE/20260101/eu-west-1/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=a6b0275257df4b7f3150c9a8995f3f7f06ed0a46b3d5cfff5a692bdd91c39064";

/// What stands for a service of AWS: one answer, and what was asked.
#[derive(Clone)]
struct Service {
    status: StatusCode,
    body: String,
    asked: Arc<Mutex<Vec<[String; 3]>>>,
}

impl Service {
    fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap(), body: body.into(), asked: Arc::default() }
    }

    /// Authorization, target and body of each request.
    fn asked(&self) -> Vec<[String; 3]> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let header = |name| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert_eq!((parts.method.as_str(), parts.uri.path()), ("POST", "/"));
        let body = String::from_utf8(body.read(1024).await?.to_vec()).unwrap();
        self.asked.lock().unwrap().push([header("authorization"), header("x-amz-target"), body]);
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        Ok(response)
    }
}

/// The answer of ECR; the token is `AWS:ecr-password`.
fn password(expires: u64) -> String {
    format!(
        r#"{{"authorizationData":[{{"authorizationToken":"QVdTOmVjci1wYXNzd29yZA==","expiresAt":{expires}.5E0,"proxyEndpoint":"https://{PRIVATE}"}}]}}"#
    )
}

fn assumed() -> &'static str {
    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\n\
     <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role+secret/</SecretAccessKey>\n\
     <SessionToken>session/token==</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration>\n\
     </Credentials></AssumeRoleResult></AssumeRoleResponse>"
}

struct World {
    platform: PlatformStandIn,
    platforms: Platforms,
    seconds: Arc<Mutex<u64>>,
}

impl World {
    async fn new(ecr: &Service, sts: &Service) -> Self {
        let platform = PlatformStandIn::new();
        platform.user(1, "alice", "access");
        let on = |hosts: Hosts, host: &str, service: &Service| {
            let service = service.clone();
            hosts.on(host, tower::service_fn(move |request| service.clone().answer(request)))
        };
        let hosts = Hosts::new().on("platform.test", platform.clone());
        let hosts = on(hosts, "api.ecr.eu-west-1.amazonaws.com", ecr);
        let hosts = on(hosts, "api.ecr-public.us-east-1.amazonaws.com", ecr);
        let hosts = on(hosts, "sts.eu-west-1.amazonaws.com", sts);
        let hosts = on(hosts, "aws.test:8443", ecr);
        let seconds = Arc::new(Mutex::new(START));
        let read = Arc::clone(&seconds);
        let clock =
            Clock::from_fn(move || SystemTime::UNIX_EPOCH + Duration::from_secs(*read.lock().unwrap()));
        let (platforms, pairing) = in_memory(hosts, |platforms| platforms.clock(clock)).await;
        platform.pair(&pairing);
        Self { platform, platforms, seconds }
    }

    fn advance(&self, seconds: u64) {
        *self.seconds.lock().unwrap() += seconds;
    }

    async fn find(&self, registry: &str) -> Result<Credential, Error> {
        let access = PlatformAccess::new("access").endpoint(IN_MEMORY);
        self.platforms.credential(&access, &registry.parse().unwrap(), Some(&"a".parse().unwrap())).await
    }
}

fn asked(authorization: &str, target: &str, body: &str) -> [String; 3] {
    [authorization, target, body].map(str::to_owned)
}

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";

#[tokio::test]
async fn keys_for_a_registry_of_amazons_are_exchanged_until_shortly_before_the_end() {
    let (ecr, sts) = (Service::new(200, password(START + 12 * HOUR)), Service::new(500, ""));
    let world = World::new(&ecr, &sts).await;
    // As people enter them: keys of AWS in the place of a user name and a password.
    world.platform.registry(None, "one", Some(PRIVATE), "AKIDEXAMPLE", "secret");
    let expected = Credential::basic("AWS", "ecr-password");
    assert_eq!(world.find(PRIVATE).await.unwrap(), expected);
    assert_eq!(ecr.asked(), [asked(OF_KEYS, TARGET, "{}")]);
    world.advance(12 * HOUR - 15 * 60 - 1);
    assert_eq!(world.find(PRIVATE).await.unwrap(), expected);
    assert_eq!(ecr.asked(), [[""; 3]; 0]);
    world.advance(2);
    assert_eq!(world.find(PRIVATE).await.unwrap(), expected);
    assert_eq!(ecr.asked().len(), 1);
    assert_eq!(sts.asked(), [[""; 3]; 0]);
}

#[tokio::test]
async fn a_role_is_assumed_first() {
    let (ecr, sts) = (Service::new(200, password(START + HOUR)), Service::new(200, assumed()));
    let world = World::new(&ecr, &sts).await;
    let role = ("arn:aws:iam::123456789012:role/pull", Some("ext id"));
    world.platform.aws(None, "aws", ["AKIDEXAMPLE", "secret"], Some(role));
    assert_eq!(world.find(PRIVATE).await.unwrap(), Credential::basic("AWS", "ecr-password"));
    let body = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpull\
                &RoleSessionName=tower-oci&ExternalId=ext%20id";
    assert_eq!(sts.asked(), [asked(TO_ASSUME, "", body)]);
    assert_eq!(ecr.asked(), [asked(OF_ROLE, TARGET, "{}")]);
    // They are for Amazon's registries, and for no others.
    for other in ["quay.io", &format!("{PRIVATE}.evil.example"), "evil-public.ecr.aws"] {
        assert_eq!(world.find(other).await.unwrap(), Credential::Anonymous, "{other}");
    }
    assert_eq!(ecr.asked(), [[""; 3]; 0]);
}

#[tokio::test]
async fn the_public_gallery_has_a_service_of_its_own() {
    let body = format!(
        r#"{{"authorizationData":{{"authorizationToken":"QVdTOmVjci1wYXNzd29yZA==","expiresAt":{}}}}}"#,
        START + HOUR
    );
    let (ecr, sts) = (Service::new(200, body), Service::new(500, ""));
    let world = World::new(&ecr, &sts).await;
    world.platform.aws(None, "aws", ["AKIDEXAMPLE", "secret"], None);
    assert_eq!(world.find("public.ecr.aws").await.unwrap(), Credential::basic("AWS", "ecr-password"));
    assert_eq!(ecr.asked(), [asked(OF_KEYS_PUBLIC, "SpencerFrontendService.GetAuthorizationToken", "{}")]);
}

#[tokio::test]
async fn what_is_a_password_already_is_used_as_it_is_and_a_kept_registry_goes_first() {
    let (ecr, sts) = (Service::new(500, ""), Service::new(500, ""));
    let world = World::new(&ecr, &sts).await;
    world.platform.aws(None, "aws", ["AKIDEXAMPLE", "secret"], None);
    world.platform.registry(None, "one", Some(PRIVATE), "AWS", "a password");
    assert_eq!(world.find(PRIVATE).await.unwrap(), Credential::basic("AWS", "a password"));
    assert_eq!(ecr.asked(), [[""; 3]; 0]);
}

#[tokio::test]
async fn refusals_and_nonsense_of_aws_are_told_as_such() {
    let service = "AWS' service `api.ecr.eu-west-1.amazonaws.com`";
    let role_service = "AWS' service `sts.eu-west-1.amazonaws.com`";
    let kept = "the keys that the platform keeps for AWS";
    let invalid = r#"{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}"#;
    for (ecr, sts, told, said) in [
        (
            Service::new(400, invalid),
            Service::new(200, assumed()),
            403,
            format!(
                "{kept}: {service} answered 400 Bad Request when it was asked for a registry's password: The security token included in the request is invalid."
            ),
        ),
        (
            Service::new(200, "{}"),
            Service::new(403, "<ErrorResponse/>"),
            403,
            format!("{kept}: {role_service} answered 403 Forbidden when it was asked for the keys of a role"),
        ),
        (
            Service::new(500, ""),
            Service::new(200, assumed()),
            502,
            format!(
                "{service} answered 500 Internal Server Error when it was asked for a registry's password"
            ),
        ),
        (
            Service::new(200, r#"{"authorizationData":[]}"#),
            Service::new(200, assumed()),
            502,
            format!("{service} answered with something else than a password"),
        ),
        (
            Service::new(200, "{}"),
            Service::new(200, "<AccessKeyId>A</AccessKeyId>"),
            502,
            format!("{role_service} answered with something else than keys"),
        ),
        (
            Service::new(400, r#"{"message":"canary-secret-of-aws"}"#),
            Service::new(200, assumed()),
            403,
            format!("{kept}: {service} answered 400 Bad Request when it was asked for a registry's password"),
        ),
    ] {
        let world = World::new(&ecr, &sts).await;
        let secret = if told == 403 && ecr.body.contains("canary") { None } else { Some(("arn:x", None)) };
        world.platform.aws(None, "aws", ["AKIDEXAMPLE", "canary-secret-of-aws"], secret);
        assert_eq!(failure(world.find(PRIVATE).await), (told, said));
    }
}
