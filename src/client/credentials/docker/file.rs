//! What docker's `config.json` and podman's `auth.json` hold. Pure: bytes in, entries out.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::helper::Helper;
use crate::client::credentials::Scope;
use crate::operation::Credential;
use crate::secret::Secret;
use crate::spec::name::{Host, Repository, shortened};

/// The entries of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    entries: Vec<Entry>,
    helpers: Vec<(Scope, Option<Helper>)>,
    store: Option<Helper>,
}

#[derive(Clone, Debug)]
struct Entry {
    scope: Scope,
    /// A key that is a host goes before one that is a URL, as docker wrote them once.
    legacy: bool,
    credential: Credential,
}

/// What a file says of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// This credential.
    Here(&'a Credential),
    /// Ask the helper; if it has none, then this one.
    Ask(&'a Helper, Option<&'a Credential>),
}

impl File {
    /// Reads a file. The error says where it is malformed, but nothing of what is there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        // The parser's own words may quote what it found.
        let raw: RawFile<'_> = serde_json::from_slice(bytes).map_err(|error| {
            format!("it is malformed in line {}, column {}", error.line(), error.column())
        })?;
        let mut file = Self::default();
        for (key, value) in raw.auths.unwrap_or_default() {
            let named = |reason: &str| format!("its entry `{}` in `auths` {reason}", shortened(&key));
            let entry: Option<RawEntry> =
                serde_json::from_str(value.get()).map_err(|_| named("isn't what docker or podman write"))?;
            let credential = entry.unwrap_or_default().credential().map_err(named)?;
            if let (Some(credential), Some((scope, legacy))) = (credential, scope(&key)) {
                file.entries.push(Entry { scope, legacy, credential });
            }
        }
        for (key, name) in raw.cred_helpers.unwrap_or_default() {
            let helper = match name.as_str() {
                // Said by docker to mean: none for this host, whatever the store is.
                "" => None,
                name => Some(Helper::named(name).ok_or_else(|| no_helper("credHelpers", name))?),
            };
            if let Some((scope, _)) = scope(&key) {
                file.helpers.push((scope, helper));
            }
        }
        file.store = match raw.creds_store.unwrap_or_default().as_str() {
            "" => None,
            name => Some(Helper::named(name).ok_or_else(|| no_helper("credsStore", name))?),
        };
        Ok(file)
    }

    /// The entry of a repository prefix first, as it says most; then the host's helper, else the store, with the host's
    /// own entry behind it.
    pub(super) fn find(&self, registry: &Host, repository: Option<&Repository>) -> Option<Answer<'_>> {
        let best = self
            .entries
            .iter()
            .filter_map(|entry| {
                Some((entry.scope.fit(registry, repository)?, !entry.legacy, &entry.credential))
            })
            .max_by_key(|(fit, modern, _)| (*fit, *modern));
        let best = match best {
            Some((fit, _, credential)) if fit > 0 => return Some(Answer::Here(credential)),
            best => best.map(|(_, _, credential)| credential),
        };
        let own = self.helpers.iter().find(|(scope, _)| scope.fit(registry, None).is_some());
        let helper = own.map_or(self.store.as_ref(), |(_, helper)| helper.as_ref());
        match helper {
            Some(helper) => Some(Answer::Ask(helper, best)),
            None => best.map(Answer::Here),
        }
    }
}

fn no_helper(member: &str, name: &str) -> String {
    format!("its `{member}` names `{}`, which is no name of a helper", shortened(name))
}

/// What a key of `auths` or `credHelpers` is for, and whether it is written as a URL. A key that can't mean any
/// registry is no one's.
fn scope(key: &str) -> Option<(Scope, bool)> {
    let key = key.trim();
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = match url.unwrap_or(key).split_once('/') {
        Some((host, path)) => (host, path.trim_end_matches('/')),
        None => (url.unwrap_or(key), ""),
    };
    let host: Host = host.to_ascii_lowercase().parse().ok()?;
    // The path of a URL is the API's, never a repository's.
    let legacy = url.is_some() || matches!(path, "v1" | "v2");
    let prefix = if legacy || path.is_empty() { None } else { Some(path.parse().ok()?) };
    Some((Scope::new(host.as_str(), prefix), legacy))
}

#[derive(Deserialize)]
struct RawFile<'a> {
    #[serde(borrow)]
    auths: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(rename = "credHelpers")]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawEntry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

impl RawEntry {
    fn credential(self) -> Result<Option<Credential>, &'static str> {
        let given = |secret: Option<Secret>| secret.filter(|secret| !secret.is_empty());
        if let Some(token) = given(self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(token) = given(self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(auth) = given(self.auth) {
            return decode(&auth).map(Some);
        }
        match (self.username.filter(|name| !name.is_empty()), given(self.password)) {
            (Some(username), Some(password)) => Ok(Some(Credential::Basic { username, password })),
            (None, None) => Ok(None),
            _ => Err("has a user name or a password, but not both"),
        }
    }
}

/// base64 of `user:password`.
fn decode(auth: &Secret) -> Result<Credential, &'static str> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, config);
    let pair = engine.decode(auth.expose().trim()).map_err(|_| "has an `auth` that isn't base64")?;
    let pair = String::from_utf8(pair).map_err(|_| "has an `auth` that isn't text")?;
    let (username, password) = pair.split_once(':').ok_or("has an `auth` without a colon")?;
    // docker once wrote them padded with zeros.
    let password = password.trim_end_matches('\0');
    if username.is_empty() || password.is_empty() {
        return Err("has an `auth` without a user name or without a password");
    }
    Ok(Credential::basic(username, password))
}

#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;
