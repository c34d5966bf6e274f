use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::access::PlatformAccess;
use super::api::{Api, User};
use super::aws::{Aws, AwsAccount};
use super::builder::PlatformsBuilder;
use super::ecr::EcrHost;
use super::endpoint::Endpoint;
use super::exchange::within;
use super::kept::{Answers, BELIEVED_FOR, Key, Told};
use super::listing::Listing;
use super::packet::Keys;
use super::pairing::{Paired, Pairing, Pairings};
use super::settings::Settings;
use super::tokens::Session;
use crate::client::transport::HttpService;
use crate::error::Error;
use crate::operation::{BoxFuture, Credential, Credentials};
use crate::spec::name::{Host, Repository, shortened};
use crate::wave::request::invalid;

/// The platforms that this service trusts, and what is known of their users. Clones share it.
///
/// See [the module](super) for an example.
#[derive(Clone)]
pub struct Platforms(Arc<Inner>);

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) api: Api,
    pub(super) aws: Aws,
    pub(super) pairings: Pairings,
    pub(super) users: Answers<User>,
    pub(super) listings: Answers<Arc<Listing>>,
    pub(super) keys: Answers<Keys>,
    pub(super) passwords: Answers<Credential>,
}

impl Platforms {
    /// The largest body of a `POST /pairing` that makes sense, in bytes: 16 KiB.
    pub const MAX_PAIRING_REQUEST: usize = 16 * 1024;

    /// Platforms that are reached over `http`, as are the services of AWS: a service that follows no redirects, and
    /// whose guard lets it go to public addresses and to what the embedder named.
    pub fn builder(http: HttpService) -> PlatformsBuilder {
        PlatformsBuilder::new(http)
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Whom `access` belongs to: what there is to be checked before anything is done in a user's name. It is believed
    /// for a minute.
    ///
    /// # Errors
    ///
    /// - 400, naming it, when the platform isn't one that this service trusts, or when it hasn't paired with this
    ///   service.
    /// - 401 when the platform doesn't take the access token, nor a new one for the refresh token.
    /// - What the platform answers otherwise: 403, 429 with its `Retry-After`; 502 for a failure or nonsense, 503 when
    ///   it can't be reached, 504 when it takes too long.
    pub async fn user(&self, access: &PlatformAccess) -> Result<User, Error> {
        let session = self.session_of(access)?;
        within(self.0.settings.timeout, &session.endpoint, self.0.user(&session)).await
    }

    /// What opens `repository` of `registry`, or the registry itself, among what the platform keeps for the user of
    /// `access`: the credential with the longest path that fits; [`Credential::Anonymous`] when there is none.
    ///
    /// For a registry of Amazon's, keys of AWS are exchanged for a password: those that are kept for the registry,
    /// in the place of a user name and a password or as such, else the first that are kept in the workspace.
    ///
    /// Answers of the platform are believed for a minute, passwords of Amazon's until shortly before they end.
    ///
    /// # Errors
    ///
    /// As for [`Platforms::user`]; also 400 when there is no such workspace, 403 when AWS refuses the keys, and 502 when
    /// what the platform sends can't be decrypted.
    pub async fn credential(
        &self,
        access: &PlatformAccess,
        registry: &Host,
        repository: Option<&Repository>,
    ) -> Result<Credential, Error> {
        let session = self.session_of(access)?;
        let finding = self.find(&session, registry, repository);
        within(self.0.settings.timeout, &session.endpoint, finding).await
    }

    /// The platform that `access` is of, in one form however it was written.
    pub(in crate::wave) fn endpoint_of(&self, access: &PlatformAccess) -> Result<String, Error> {
        Ok(self.session_of(access)?.endpoint.as_str().to_owned())
    }

    /// The credentials of `access` for whatever asks for some.
    #[must_use]
    pub fn session(&self, access: PlatformAccess) -> Arc<dyn Credentials> {
        Arc::new(Accessed { platforms: self.clone(), access })
    }

    /// The answer to the body of a `POST /pairing`, `{"service":"tower","endpoint":"<URL of the platform>"}`: the key
    /// that the platform has to encrypt with. A platform that pairs again gets the same key for a day; a key decrypts
    /// for 30 days.
    ///
    /// Anybody may ask: what is encrypted with the key is of use to this service only.
    ///
    /// # Errors
    ///
    /// 400 when the body isn't that, when the service is another, and, naming it, when the platform isn't one that
    /// this service trusts. 503 when the records are out of order.
    pub async fn pair(&self, body: &[u8]) -> Result<Pairing, Error> {
        if body.len() > Self::MAX_PAIRING_REQUEST {
            let (length, max) = (body.len(), Self::MAX_PAIRING_REQUEST);
            return Err(invalid(format!("a pairing request has {length} bytes, more than {max}")));
        }
        let request: PairingRequest = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the pairing request can't be read: {error}")))?;
        if request.service != SERVICE {
            let service = shortened(&request.service);
            return Err(invalid(format!("`service` is `{service}`: only `{SERVICE}` can pair")));
        }
        let endpoint = self.trusted("endpoint", &request.endpoint)?;
        self.0.pairings.pair(&endpoint).await
    }

    async fn find(
        &self,
        session: &Session,
        registry: &Host,
        repository: Option<&Repository>,
    ) -> Result<Credential, Error> {
        let listing = self.0.listing(session).await?;
        let ecr = EcrHost::of(registry);
        let found = listing.find(registry, repository).or_else(|| ecr.as_ref().and_then(|_| listing.aws()));
        let Some(id) = found else { return Ok(Credential::Anonymous) };
        let keys = self.0.keys(session, id).await?;
        match (keys, ecr) {
            (Keys::Aws { access_key, secret_key, assume_role_arn: role, external_id }, Some(host)) => {
                self.0.password(AwsAccount { access_key, secret_key, role, external_id }, host).await
            }
            (Keys::Aws { .. }, None) => Err(Error::bad_gateway(format!(
                "{} keeps keys of AWS for `{registry}`, which is no registry of Amazon's",
                session.endpoint
            ))),
            // What is kept for such a registry are keys, unless the user is the one that passwords are for.
            (Keys::Registry { user_name, password }, Some(host)) if user_name != AWS_USER => {
                let account =
                    AwsAccount { access_key: user_name, secret_key: password, role: None, external_id: None };
                self.0.password(account, host).await
            }
            (Keys::Registry { user_name, password }, _) => Ok(Credential::basic(user_name, password)),
        }
    }

    fn session_of(&self, access: &PlatformAccess) -> Result<Session, Error> {
        let endpoint = access.named_endpoint().unwrap_or(Endpoint::DEFAULT);
        Ok(Session::new(self.trusted("towerEndpoint", endpoint)?, access))
    }

    fn trusted(&self, member: &str, text: &str) -> Result<Endpoint, Error> {
        let refused = |reason: &str| invalid(format!("`{member}`: `{}`: {reason}", shortened(text)));
        let endpoint = Endpoint::parse(text).map_err(refused)?;
        if self.0.settings.endpoints.contains(&endpoint) {
            return Ok(endpoint);
        }
        Err(refused("this service doesn't take credentials from this platform"))
    }
}

impl Inner {
    async fn user(&self, session: &Session) -> Result<User, Error> {
        let (api, pairings) = (self.api.clone(), self.pairings.clone());
        let (asking, until) = (session.clone(), self.believed());
        let ask = || async move {
            paired(&pairings, &asking).await?;
            Ok(Told { value: api.user(&asking).await?, until, weight: 0 })
        };
        self.users.get(session.key, ask).await
    }

    async fn listing(&self, session: &Session) -> Result<Arc<Listing>, Error> {
        let (api, pairings) = (self.api.clone(), self.pairings.clone());
        let (asking, until) = (session.clone(), self.believed());
        let ask = || async move {
            paired(&pairings, &asking).await?;
            let (listing, weight) = api.listing(&asking).await?;
            Ok(Told { value: Arc::new(listing), until, weight })
        };
        self.listings.get(of(session, ""), ask).await
    }

    async fn keys(&self, session: &Session, id: &str) -> Result<Keys, Error> {
        let (api, pairings) = (self.api.clone(), self.pairings.clone());
        let (asking, until, wanted) = (session.clone(), self.believed(), id.to_owned());
        let ask = || async move {
            let paired = paired(&pairings, &asking).await?;
            Ok(Told { value: api.keys(&asking, &paired, &wanted).await?, until, weight: 0 })
        };
        self.keys.get(of(session, id), ask).await
    }

    async fn password(&self, account: AwsAccount, host: EcrHost) -> Result<Credential, Error> {
        let aws = self.aws.clone();
        self.passwords.get(account.key(&host), || async move { aws.password(&account, &host).await }).await
    }

    fn believed(&self) -> std::time::SystemTime {
        self.settings.clock.now() + BELIEVED_FOR
    }
}

/// The keys that the platform encrypts with.
async fn paired(pairings: &Pairings, session: &Session) -> Result<Paired, Error> {
    pairings.of(&session.endpoint).await?.ok_or_else(|| {
        invalid(format!("`towerEndpoint`: {} has not paired with this service", session.endpoint))
    })
}

/// What something of a workspace is kept under.
fn of(session: &Session, what: &str) -> Key {
    let workspace = session.workspace.map_or(String::new(), |id| id.to_string());
    Key::of(&[session.key.as_bytes(), workspace.as_bytes(), what.as_bytes()])
}

impl fmt::Debug for Platforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platforms").field("endpoints", &self.0.settings.endpoints).finish_non_exhaustive()
    }
}

/// What one access opens.
#[derive(Debug)]
struct Accessed {
    platforms: Platforms,
    access: PlatformAccess,
}

impl Credentials for Accessed {
    fn credential<'a>(
        &'a self,
        registry: &'a Host,
        repository: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Credential, Error>> {
        Box::pin(self.platforms.credential(&self.access, registry, repository))
    }
}

#[derive(Deserialize)]
struct PairingRequest {
    service: String,
    endpoint: String,
}

/// The one service that pairs.
const SERVICE: &str = "tower";

/// The user that Amazon's passwords are for.
const AWS_USER: &str = "AWS";
