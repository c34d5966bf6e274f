//! TCP connections: names are resolved, each address is judged, and the very address that was judged is connected to.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::guard::Guard;
use crate::error::Error;

/// Names with addresses that the embedder gave, in place of the resolver's.
pub(super) type StaticHosts = BTreeMap<String, Vec<IpAddr>>;

/// Connects to `host`, to addresses that `guard` lets pass; without one, to any.
pub(super) async fn dial(
    hosts: &StaticHosts,
    host: &str,
    port: u16,
    guard: Option<&Guard>,
    limit: Duration,
) -> Result<TcpStream, Error> {
    let start = Instant::now();
    let mut addresses = resolve(hosts, host, port).await?;
    if let Some(guard) = guard {
        let mut refusal = None;
        addresses.retain(|address| match guard.check(host, address.ip(), port) {
            Ok(()) => true,
            Err(error) => {
                refusal.get_or_insert(error);
                false
            }
        });
        if addresses.is_empty()
            && let Some(refusal) = refusal
        {
            return Err(refusal);
        }
    }
    let mut failure = Error::unavailable(format!("the name `{host}` has no address"));
    let count = addresses.len();
    for (at, address) in addresses.into_iter().enumerate() {
        // Each address gets its share of the time that is left, so that a dead one doesn't hide a live one.
        let left = limit.saturating_sub(start.elapsed());
        let share = left / u32::try_from(count - at).unwrap_or(u32::MAX);
        failure = match timeout(share, open(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => refused(host, port, error),
            Err(_) => Error::timed_out(format!("`{host}` didn't accept a connection on port {port} in time")),
        };
    }
    Err(failure)
}

async fn resolve(hosts: &StaticHosts, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if let Some(addresses) = hosts.get(host) {
        return Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect());
    }
    match lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => {
            Err(Error::unavailable(format!("the name `{host}` doesn't resolve")).with_source(error))
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.connect(address).await
}

fn refused(host: &str, port: u16, error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("`{host}` refused a connection on port {port}"),
        kind => format!("`{host}` can't be connected to on port {port}: {kind}"),
    };
    Error::unavailable(message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_told() {
        // Refused by the resolver itself, so that nothing is asked of the network.
        let limit = Duration::from_secs(10);
        let error = dial(&StaticHosts::new(), "no\0name", 443, None, limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.message(), "the name `no\0name` doesn't resolve");
    }
}
