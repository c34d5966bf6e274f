use std::net::IpAddr;
use std::sync::Arc;

use super::address::{Network, not_public};
use crate::error::Error;
use crate::spec::name::Host;

/// Which addresses may be connected to.
///
/// Names and URLs come from outside: from clients, and from upstreams in redirects, realms and `Location`s. A guard
/// lets a connection go to addresses of the public internet only, and to what the embedder named. It judges where a
/// connection is made, each time, IP literals and resolved addresses alike, and the connection goes to the very
/// address that was judged. Refused are loopback, private, shared (100.64.0.0/10), link-local, unique local and site-local
/// addresses, the metadata services of clouds, unspecified, multicast and broadcast addresses and those for
/// documentation and benchmarks; IPv6 addresses that stand for an IPv4 one (mapped, compatible, NAT64, 6to4, Teredo)
/// are judged by that.
///
/// Through an HTTP proxy the proxy resolves names, so there only the *name* can be judged: IP literals as above,
/// and names that can't be public (`localhost`, a single label, `.local`, `.internal`, `.home.arpa`, numbers that a resolver may take for
/// an address) are refused unless allowed. What other names resolve to there is the proxy's to guard. The proxy
/// itself is configured, and hence allowed.
///
/// ```
/// use tower_oci::client::transport::Guard;
///
/// # fn main() -> Result<(), tower_oci::error::Error> {
/// let guard = Guard::public_only()
///     .allow_host(&"registry.corp.example:5000".parse()?)
///     .allow_network("10.20.0.0/16")?;
/// # let _ = guard; Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Guard(Arc<Allowed>);

#[derive(Clone, Debug, Default)]
struct Allowed {
    hosts: Vec<Host>,
    networks: Vec<Network>,
}

impl Guard {
    /// Public addresses only.
    #[must_use]
    pub fn public_only() -> Self {
        Self::default()
    }

    /// Exactly this host may be, or resolve to, any address. A host without a port means the ports 443 and 80 of it.
    #[must_use]
    pub fn allow_host(mut self, host: &Host) -> Self {
        Arc::make_mut(&mut self.0).hosts.push(host.clone());
        self
    }

    /// Addresses of this network (`10.0.0.0/8`, `fd00::/8`, or a single address) may be connected to, on any port and
    /// by any name.
    ///
    /// # Errors
    ///
    /// When `network` isn't in CIDR notation.
    pub fn allow_network(mut self, network: &str) -> Result<Self, Error> {
        let network = Network::parse(network)?;
        Arc::make_mut(&mut self.0).networks.push(network);
        Ok(self)
    }

    /// Whether a connection to `host` (a DNS name or an address without brackets) may go to `address` and `port`.
    ///
    /// # Errors
    ///
    /// `Denied`, naming the host and the reason, but not the address: what internal names resolve to is nobody's
    /// business.
    pub(crate) fn check(&self, host: &str, address: IpAddr, port: u16) -> Result<(), Error> {
        let Some(reason) = not_public(address) else { return Ok(()) };
        if self.allows_host(host, port) || self.0.networks.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        Err(if host.parse::<IpAddr>().is_ok() {
            Error::denied(format!("`{host}` is {reason}, which may not be connected to"))
        } else {
            Error::denied(format!("`{host}` resolves to {reason}, which may not be connected to"))
        })
    }

    /// Whether a proxy may be asked to connect to `host`, whose address only the proxy will know.
    ///
    /// # Errors
    ///
    /// `Denied`, naming the host and the reason.
    pub(crate) fn check_name(&self, host: &str, port: u16) -> Result<(), Error> {
        if let Ok(address) = host.parse() {
            return self.check(host, address, port);
        }
        if self.allows_host(host, port) {
            return Ok(());
        }
        match not_public_name(host) {
            None => Ok(()),
            Some(reason) => {
                Err(Error::denied(format!("`{host}` is {reason}, which may not be connected to")))
            }
        }
    }

    fn allows_host(&self, host: &str, port: u16) -> bool {
        self.0.hosts.iter().any(|allowed| {
            let port_fits = match allowed.port() {
                Some(allowed) => allowed == port,
                None => matches!(port, 80 | 443),
            };
            port_fits && same_host(allowed.hostname(), host)
        })
    }
}

/// Addresses are compared as addresses, since they can be written in several ways.
fn same_host(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

fn not_public_name(host: &str) -> Option<&'static str> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let Some((_, last)) = host.rsplit_once('.') else {
        return Some("a name without a domain");
    };
    // Resolvers read `127.1`, `0x7f.0.0.1` and their like as addresses.
    let number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if number {
        return Some("an address in an unusual form");
    }
    let local = matches!(last, "localhost" | "local" | "internal") || host.ends_with(".home.arpa");
    local.then_some("a name of a local network")
}

#[cfg(test)]
#[path = "guard/tests.rs"]
mod tests;
