//! A token service as `docker-registry` expects it: RS256, with the certificate in the token's head.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose};
use percent_encoding::percent_decode_str;
use rcgen::{Certificate, CertificateParams, KeyPair, PKCS_RSA_SHA256, SigningKey as _};
use serde_json::{Value, json};

use crate::support::registry::{PASSWORD, USER, basic};

/// Gives tokens to [`USER`], for whatever is asked for in any repository; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct TokenService {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A question that was asked of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Every parameter with all its values.
    pub(crate) query: BTreeMap<String, Vec<String>>,
    pub(crate) authorized: bool,
}

#[derive(Debug)]
struct Shared {
    key: KeyPair,
    certificate: Certificate,
    asked: Mutex<Vec<Asked>>,
    ends: AtomicBool,
}

impl TokenService {
    pub(crate) const SERVICE: &str = "registry of the test";
    pub(crate) const ISSUER: &str = "token service of the test";

    pub(crate) fn start() -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let shared =
            Arc::new(Shared { key, certificate, asked: Mutex::default(), ends: AtomicBool::new(false) });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve(&listener, &shared)
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn realm(&self) -> String {
        format!("http://{}/auth/token", self.address)
    }

    /// In PEM.
    pub(crate) fn certificate(&self) -> String {
        self.shared.certificate.pem()
    }

    /// All questions so far, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// A token as the service itself would sign it.
    pub(crate) fn token(&self, subject: &str, access: &[Value]) -> String {
        self.shared.token(subject, access)
    }

    /// Access for the harness, which fills the registry with one token per push.
    pub(crate) fn everything() -> Vec<Value> {
        crate::support::image::Kind::ALL
            .into_iter()
            .map(|kind| json!({"type": "repository", "name": format!("test/{}", kind.name()), "actions": ["pull", "push"]}))
            .collect()
    }
}

impl Drop for TokenService {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn token(&self, subject: &str, access: &[Value]) -> String {
        let url = general_purpose::URL_SAFE_NO_PAD;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let chain = general_purpose::STANDARD.encode(self.certificate.der());
        let head = json!({"typ": "JWT", "alg": "RS256", "x5c": [chain]});
        let claims = json!({
            "iss": TokenService::ISSUER,
            "aud": TokenService::SERVICE,
            "sub": subject,
            "iat": now,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": "1",
            "access": access,
        });
        let signed = format!("{}.{}", url.encode(head.to_string()), url.encode(claims.to_string()));
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", url.encode(signature))
    }

    fn answer(&self, target: &str, authorization: Option<&str>) -> (&'static str, Value) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = parameters(query);
        let authorized = authorization == Some(&basic(USER, PASSWORD));
        let scopes = query.get("scope").cloned().unwrap_or_default();
        let service = query.get("service").cloned().unwrap_or_default();
        self.asked.lock().unwrap().push(Asked { path: path.to_owned(), query, authorized });
        if path != "/auth/token" {
            return ("404 Not Found", json!({"details": "no such path"}));
        }
        if !authorized {
            return ("401 Unauthorized", json!({"details": "wrong user or password"}));
        }
        if service != [TokenService::SERVICE] {
            return ("400 Bad Request", json!({"details": "wrong service"}));
        }
        let access: Vec<Value> = scopes
            .iter()
            .flat_map(|scopes| scopes.split(' '))
            .filter_map(|scope| {
                // A name may hold a colon (a port), so the actions are what follows the last one.
                let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
                let actions: Vec<&str> = actions.split(',').collect();
                Some(json!({"type": "repository", "name": name, "actions": actions}))
            })
            .collect();
        ("200 OK", json!({"token": self.token(USER, &access), "expires_in": 300}))
    }
}

fn serve(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.ends.load(Ordering::Acquire) {
            return;
        }
        // A client that leaves in the middle is its own problem: the test will see what it says.
        let _ = stream.and_then(|stream| exchange(&stream, shared));
    }
}

fn exchange(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut authorization = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    let (status, body) = match request.split(' ').collect::<Vec<_>>()[..] {
        ["GET", target, _] => shared.answer(target, authorization.as_deref()),
        _ => ("405 Method Not Allowed", json!({"details": "only GET"})),
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn parameters(query: &str) -> BTreeMap<String, Vec<String>> {
    let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
        parameters.entry(name.to_owned()).or_default().push(value);
    }
    parameters
}
