use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use aws_lc_rs::cipher::{AES_128, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tower_service::Service;

use super::recorder::Recorder;
use super::token::parameter;
use crate::body::Body;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::wave::platform::Pairing;

/// A Seqera Platform, as far as a container service has to do with one: users, their tokens, and credentials of
/// registries, which it hands out encrypted for whom it has paired with. Clones share what it knows.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower_oci::client::transport::{Guard, Transport};
/// use tower_oci::operation::Credential;
/// use tower_oci::testing::{PlatformStandIn, serve};
/// use tower_oci::wave::platform::{PlatformAccess, Platforms};
///
/// let platform = PlatformStandIn::new();
/// platform.user(1, "alice", "token");
/// platform.registry(None, "quay", Some("quay.io"), "robot", "hunter2");
/// let served = serve(platform.clone())?;
///
/// let http = Transport::builder().build()?.connect(Guard::public_only().allow_network("127.0.0.1")?);
/// let platforms = Platforms::builder(http).endpoint(served.url("")).plain_http(true).build()?;
/// let request = format!(r#"{{"service":"tower","endpoint":"{}"}}"#, served.url(""));
/// platform.pair(&platforms.pair(request.as_bytes()).await?);
///
/// let access = PlatformAccess::new("token").endpoint(served.url(""));
/// assert_eq!(platforms.user(&access).await?.user_name, "alice");
/// let credential = platforms.credential(&access, &"quay.io".parse()?, None).await?;
/// assert_eq!(credential, Credential::basic("robot", "hunter2"));
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct PlatformStandIn {
    state: Arc<Mutex<State>>,
    recorder: Recorder,
}

#[derive(Default)]
struct State {
    users: BTreeMap<u64, String>,
    /// Whose access tokens are good.
    tokens: BTreeMap<String, u64>,
    /// Whose refresh tokens are good.
    refreshes: BTreeMap<String, u64>,
    renewals: u32,
    credentials: Vec<Kept>,
    /// Names and public keys, the last one last.
    keys: Vec<(String, String)>,
    damage: Option<Damage>,
}

type Damage = Arc<dyn Fn(&str) -> String + Send + Sync>;

struct Kept {
    workspace: Option<u64>,
    id: String,
    provider: &'static str,
    registry: Option<String>,
    secret: Value,
}

impl PlatformStandIn {
    /// One without users, that has paired with nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A user, and an access token of this user; another one for a user that there is already.
    pub fn user(&self, id: u64, name: &str, access_token: &str) {
        let mut state = self.state();
        state.users.insert(id, name.to_owned());
        state.tokens.insert(access_token.to_owned(), id);
    }

    /// A refresh token of the user `id`. It is good for one use; the tokens that it is exchanged for are
    /// `renewed-access-<n>` and `renewed-refresh-<n>`, counted from 1.
    pub fn refresh_token(&self, id: u64, token: &str) {
        self.state().refreshes.insert(token.to_owned(), id);
    }

    /// This access token or refresh token is good no more.
    pub fn expire(&self, token: &str) {
        let mut state = self.state();
        state.tokens.remove(token);
        state.refreshes.remove(token);
    }

    /// Keeps a user name and a password for a registry, in a workspace or for everybody personally. Without a
    /// registry they are for Docker Hub.
    pub fn registry(
        &self,
        workspace: Option<u64>,
        id: &str,
        registry: Option<&str>,
        user_name: &str,
        password: &str,
    ) {
        let secret = json!({
            "discriminator": "container-reg", "userName": user_name, "password": password, "registry": registry
        });
        let registry = registry.map(str::to_owned);
        self.state().credentials.push(Kept {
            workspace,
            id: id.to_owned(),
            provider: "container-reg",
            registry,
            secret,
        });
    }

    /// Keeps keys of AWS, with a role and its external id where there are such.
    pub fn aws(&self, workspace: Option<u64>, id: &str, keys: [&str; 2], role: Option<(&str, Option<&str>)>) {
        let [access, secret] = keys;
        let secret = json!({
            "discriminator": "aws", "accessKey": access, "secretKey": secret,
            "assumeRoleArn": role.map(|(role, _)| role), "externalId": role.and_then(|(_, id)| id),
        });
        let id = id.to_owned();
        self.state().credentials.push(Kept { workspace, id, provider: "aws", registry: None, secret });
    }

    /// Takes the key that it was answered when it paired. Asked to use one that it wasn't told, it takes the one that
    /// it was told last.
    pub fn pair(&self, pairing: &Pairing) {
        let key = (pairing.pairing_id().to_owned(), pairing.public_key().to_owned());
        self.state().keys.push(key);
    }

    /// Hands out what `damage` makes of its packets from now on.
    pub fn damage(&self, damage: impl Fn(&str) -> String + Send + Sync + 'static) {
        self.state().damage = Some(Arc::new(damage));
    }

    /// What has arrived.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, parts: &http::request::Parts, form: &str) -> Response<Body> {
        let mut state = self.state();
        let path: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
        if let (&Method::POST, ["oauth", "access_token"]) = (&parts.method, &*path) {
            return state.renew(form);
        }
        let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|bearer| bearer.strip_prefix("Bearer ")).unwrap_or_default();
        let Some(user) = state.tokens.get(token).copied() else {
            return answer(StatusCode::UNAUTHORIZED, &json!({ "message": "no such token" }));
        };
        let query = parts.uri.query().unwrap_or_default();
        let workspace = parameter(query, "workspaceId").and_then(|id| id.parse().ok());
        let found = match (&parts.method, &*path) {
            (&Method::GET, ["user-info"]) => state.user_info(user),
            (&Method::GET, ["credentials"]) => state.list(workspace),
            (&Method::GET, ["credentials", id, "keys"]) => {
                let pairing = parameter(query, "pairingId").unwrap_or_default();
                state.packet(workspace, id, &pairing)
            }
            _ => None,
        };
        match found {
            Some(found) => answer(StatusCode::OK, &found),
            None => answer(StatusCode::NOT_FOUND, &json!({ "message": "no such thing" })),
        }
    }
}

impl State {
    fn renew(&mut self, form: &str) -> Response<Body> {
        let token = parameter(form, "refresh_token").unwrap_or_default();
        let grant = parameter(form, "grant_type");
        let user = self.refreshes.remove(&token).filter(|_| grant.as_deref() == Some("refresh_token"));
        let Some(user) = user else {
            return answer(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_grant" }));
        };
        self.renewals += 1;
        let (access, refresh) =
            (format!("renewed-access-{}", self.renewals), format!("renewed-refresh-{}", self.renewals));
        let mut response = answer(StatusCode::OK, &json!({}));
        for (name, value) in [("JWT", &access), ("JWT_REFRESH_TOKEN", &refresh)] {
            if let Ok(cookie) = format!("{name}={value}; Path=/; HttpOnly").parse() {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
        }
        self.tokens.insert(access, user);
        self.refreshes.insert(refresh, user);
        response
    }

    fn user_info(&self, id: u64) -> Option<Value> {
        let name = self.users.get(&id)?;
        let email = format!("{name}@platform.test");
        Some(json!({ "user": { "id": id, "userName": name, "email": email, "trusted": true } }))
    }

    /// The credentials of a workspace; a workspace that has none isn't there.
    fn list(&self, workspace: Option<u64>) -> Option<Value> {
        let kept: Vec<Value> = self
            .credentials
            .iter()
            .filter(|kept| kept.workspace == workspace)
            .map(|kept| {
                json!({ "id": kept.id, "provider": kept.provider, "keys": { "registry": kept.registry } })
            })
            .collect();
        (workspace.is_none() || !kept.is_empty()).then(|| json!({ "credentials": kept }))
    }

    fn packet(&self, workspace: Option<u64>, id: &str, pairing: &str) -> Option<Value> {
        let kept = self.credentials.iter().find(|kept| kept.workspace == workspace && kept.id == id)?;
        let known = self.keys.iter().find(|(id, _)| id == pairing).or(self.keys.last())?;
        let packet = seal(&kept.secret.to_string(), &known.1)?;
        let packet = self.damage.as_ref().map_or(packet.clone(), |damage| damage(&packet));
        Some(json!({ "keys": packet }))
    }
}

/// `text` as a packet: `1\P\<session key>\<data>`.
fn seal(text: &str, public_key: &str) -> Option<String> {
    let mut session = [0; 16];
    getrandom::fill(&mut session).ok()?;
    let public = PublicEncryptingKey::from_der(&BASE64_STANDARD.decode(public_key).ok()?).ok()?;
    let public = Pkcs1PublicEncryptingKey::new(public).ok()?;
    let mut encrypted = vec![0; public.ciphertext_size()];
    let encrypted = public.encrypt(&session, &mut encrypted).ok()?;
    let cipher = PaddedBlockEncryptingKey::ecb_pkcs7(UnboundCipherKey::new(&AES_128, &session).ok()?).ok()?;
    let mut data = text.as_bytes().to_vec();
    cipher.encrypt(&mut data).ok()?;
    Some(format!(r"1\P\{}\{}", BASE64_STANDARD.encode(encrypted), BASE64_STANDARD.encode(data)))
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

impl Service<Request<Body>> for PlatformStandIn {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            this.recorder.record(&parts);
            let form = body.read(MAX_FORM).await?;
            Ok(this.answer(&parts, &String::from_utf8_lossy(&form)))
        })
    }
}

/// Without what it keeps.
impl fmt::Debug for PlatformStandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformStandIn").finish_non_exhaustive()
    }
}

const MAX_FORM: usize = 64 * 1024;
