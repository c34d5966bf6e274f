//! HTTP proxies: which one a target is reached through.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::address::Network;
use super::target::{Target, bare_host, fmt_host_port};
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;

/// What the embedder said of proxies, not yet parsed: mistakes are told by `build`.
#[derive(Clone, Debug, Default)]
pub(super) struct ProxySettings {
    pub(super) http: Option<Secret>,
    pub(super) https: Option<Secret>,
    pub(super) no_proxy: Vec<String>,
}

impl ProxySettings {
    /// What the usual variables say, given a way to look them up.
    pub(super) fn read_env(&mut self, variable: impl Fn(&str) -> Option<String>) {
        let all = || variable("all_proxy").or_else(|| variable("ALL_PROXY"));
        // In a CGI program `HTTP_PROXY` is the client's header `Proxy`.
        let upper_http = || if variable("REQUEST_METHOD").is_none() { variable("HTTP_PROXY") } else { None };
        if let Some(uri) = variable("http_proxy").or_else(upper_http).or_else(all) {
            self.http = Some(uri.into());
        }
        if let Some(uri) = variable("https_proxy").or_else(|| variable("HTTPS_PROXY")).or_else(all) {
            self.https = Some(uri.into());
        }
        self.no_proxy.extend(variable("no_proxy").or_else(|| variable("NO_PROXY")));
    }

    pub(super) fn parse(&self) -> Result<Proxies, Error> {
        let proxy = |uri: &Option<Secret>| uri.as_ref().map(Proxy::parse).transpose();
        Ok(Proxies {
            http: proxy(&self.http)?,
            https: proxy(&self.https)?,
            direct: self.no_proxy.iter().flat_map(|list| list.split(',')).filter_map(Direct::parse).collect(),
        })
    }
}

/// The proxies in use, and what is reached without them.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<Direct>,
}

impl Proxies {
    /// The proxy that `target` is reached through.
    pub(super) fn to(&self, target: &Target) -> Option<&Proxy> {
        let proxy = if target.https { &self.https } else { &self.http }.as_ref()?;
        // This machine is never reached over another one.
        let loopback = target.host == "localhost"
            || target.host.ends_with(".localhost")
            || target.host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback());
        let direct = loopback || self.direct.iter().any(|direct| direct.fits(target));
        (!direct).then_some(proxy)
    }
}

/// One HTTP proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Proxy-Authorization`, marked as sensitive.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    fn parse(uri: &Secret) -> Result<Self, Error> {
        // Nothing of the text may be told: it may hold a password.
        let invalid = |reason: &str| {
            Error::invalid(
                ErrorCode::Unsupported,
                format!("the address of the HTTP proxy is invalid: {reason}"),
            )
        };
        let text = uri.expose().trim();
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = text.parse().map_err(|_| invalid("it is no URI"))?;
        if uri.scheme_str() != Some("http") {
            return Err(invalid("only proxies that are spoken to over plain http are supported"));
        }
        let authority = uri.authority().ok_or_else(|| invalid("it names no host"))?;
        let authorization = match authority.as_str().rsplit_once('@') {
            None => None,
            Some((userinfo, _)) => {
                let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
                let mut pair: Vec<u8> = percent_decode_str(user).collect();
                if pair.contains(&b':') {
                    return Err(invalid("its user name holds a colon"));
                }
                pair.push(b':');
                pair.extend(percent_decode_str(password));
                let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
                    .map_err(|_| invalid("its user name or password can't be sent"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let host = bare_host(authority.host()).to_ascii_lowercase();
        if host.is_empty() {
            return Err(invalid("it names no host"));
        }
        let port = match authority.port_u16() {
            Some(0) => return Err(invalid("its port is zero")),
            Some(port) => port,
            None if authority.port().is_some() => return Err(invalid("its port is no number up to 65535")),
            None => 80,
        };
        Ok(Self { host, port, authorization })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_host_port(f, &self.host, self.port)
    }
}

/// One entry of a `no_proxy` list.
#[derive(Debug, PartialEq, Eq)]
enum Direct {
    Everything,
    Network(Network),
    Host { name: String, subdomains_only: bool, port: Option<u16> },
}

impl Direct {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Ok(network) = Network::parse(bare_host(entry)) {
            return Some(Self::Network(network));
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if let Ok(port) = port.parse() => (bare_host(name), Some(port)),
            _ => (entry, None),
        };
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix('*').unwrap_or(&name);
        let (name, subdomains_only) = match name.strip_prefix('.') {
            Some(name) => (name, true),
            None => (name, false),
        };
        Some(Self::Host { name: name.trim_end_matches('.').to_owned(), subdomains_only, port })
    }

    fn fits(&self, target: &Target) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network) => target.host.parse().is_ok_and(|address| network.contains(address)),
            Self::Host { name, subdomains_only, port } => {
                let host = target.host.trim_end_matches('.');
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                port.is_none_or(|port| port == target.port) && (below || (!subdomains_only && host == name))
            }
        }
    }
}

#[cfg(test)]
#[path = "proxy/tests.rs"]
mod tests;
