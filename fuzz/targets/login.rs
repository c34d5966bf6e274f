//! Logins and tokens: whatever a client shows, it opens the registry and gets a token only with the one password there is
//! or with one of the tokens that were handed out; and nothing that it shows is said again.
//!
//! An input is a request line without a version, header lines, an empty line, and the body, as for `request`.

use std::cell::LazyCell;
use std::time::{Duration, SystemTime};

use http::Request;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};
use tower_oci::body::Body;
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::layer::auth::{Auth, AuthHttp, Authenticate, Passwords, Tokens};
use tower_oci::layer::authorize::{Authorize, AuthorizeLayer, Rules, Who};
use tower_oci::operation::Access;
use tower_oci::rt::Clock;

/// `ann:correct horse`: base64 has one way to write it.
const BASIC: &str = "YW5uOmNvcnJlY3QgaG9yc2U=";

/// What the seeds' tokens are for. The clock stands still, so that they are the same each time.
const SCOPES: [&str; 4] = ["", "repository:a/b:pull", "repository:a/b:pull,push", "registry:catalog:*"];

type App = AuthHttp<OciService<Authenticate<Authorize<Memory>>>>;

struct Door {
    app: App,
    runtime: tokio::runtime::Runtime,
    tokens: Vec<String>,
}

thread_local! {
    static DOOR: LazyCell<Door> = LazyCell::new(|| Door::new().unwrap_or_else(|error| unreachable!("{error}")));
}

pub(crate) fn run(data: &[u8]) {
    let Some(request) = request(data) else { return };
    let shown = request.headers().get("authorization").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let shown = shown.map(|shown| shown.into_owned()).unwrap_or_default();
    let secret = shown.split_once(' ').map(|(_, secret)| secret.trim()).unwrap_or_default();
    let path = request.uri().path().to_owned();
    DOOR.with(|door| {
        let (status, body) = door.ask(request);
        let plain = decoded(data);
        assert!(status < 500, "{status} for {plain}");
        let is_open = (200..300).contains(&status);
        let is_token = door.tokens.iter().any(|token| token == secret);
        if path == "/token" && is_open {
            let by_form = plain.contains("ann") && plain.contains("correct horse");
            let renewed = door.tokens.iter().any(|token| plain.contains(token.as_str()));
            assert!(secret == BASIC || by_form || renewed, "a token for {plain}");
            assert!(body.contains("\"access_token\""), "{body}");
            return;
        }
        assert!(!body.contains("\"access_token\""), "{body}");
        // What stands in the path or in a form as well is no secret any more: an error may name it.
        let is_secret = (secret == BASIC || is_token) && plain.matches(secret).count() == 1;
        assert!(!is_secret || !body.contains(secret), "{secret} in {body}");
        if path == "/v2" || path.starts_with("/v2/") {
            assert!(!is_open || secret == BASIC || is_token, "{plain} was let in");
        }
    });
}

impl Door {
    fn new() -> Result<Self, tower_oci::error::Error> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().unwrap_or_else(|e| unreachable!("{e}"));
        let mut door = Self { app: app()?, runtime, tokens: Vec::new() };
        for scope in SCOPES {
            let line = format!("GET /token?offline_token=true&scope={scope}\nauthorization: Basic {BASIC}");
            let Some(request) = request(line.as_bytes()) else { continue };
            let (_, body) = door.ask(request);
            // The values of the members that are long.
            door.tokens.extend(body.split('"').filter(|text| text.len() > 64).map(str::to_owned));
        }
        assert_eq!(door.tokens.len(), 3 * SCOPES.len());
        Ok(door)
    }

    fn ask(&self, request: Request<Body>) -> (u16, String) {
        self.runtime.block_on(answer(self.app.clone(), request))
    }
}

/// The text as a form means it.
fn decoded(data: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = escaped.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn answer(app: App, request: Request<Body>) -> (u16, String) {
    let response = app.oneshot(request).await.unwrap_or_else(|never| match never {});
    let status = response.status().as_u16();
    let body = response.into_body().read(1 << 20).await.unwrap_or_default();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn app() -> Result<App, tower_oci::error::Error> {
    let tokens = Tokens::new("https://registry.example/token")
        .key("a key of 32 bytes for all fuzzing")
        .refresh_lifetime(Duration::from_secs(3600))
        .clock(Clock::from_fn(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
    let auth = Auth::builder(Passwords::new().user("ann", "correct horse")).tokens(tokens).build()?;
    let rules = Rules::new().allow(Who::Known, Access::Push, "*".parse()?);
    let registry =
        ServiceBuilder::new().layer(auth.layer()).layer(AuthorizeLayer::new(rules)).service(Memory::new());
    Ok(auth.http_layer().layer(OciService::new(registry)))
}

fn request(data: &[u8]) -> Option<Request<Body>> {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((data, &[][..]), |end| (&data[..end], &data[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut line = lines.next()?.splitn(2, |byte| *byte == b' ');
    let mut builder = Request::builder().method(line.next()?).uri(line.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        builder = builder.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    builder.body(Body::from(body.to_vec())).ok()
}
