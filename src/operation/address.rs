use std::net::IpAddr;

/// Where a request comes from: a fact of a request, for limits and logs.
///
/// The embedder's HTTP layer puts it into a request's extensions, since nobody else can tell which address is to be
/// believed. Without a proxy in front that is the connection's, as axum's `ConnectInfo` has it. Behind a proxy it is the
/// entry of `X-Forwarded-For` or `Forwarded` that the embedder's own proxy has written, and no other: a client writes into
/// them what it likes.
///
/// ```
/// use axum::extract::ConnectInfo;
/// use http::Request;
/// use std::net::SocketAddr;
/// use tower_oci::operation::ClientAddress;
///
/// /// For `axum::middleware::map_request`, or tower's `MapRequestLayer`, around the service that answers `/v2`.
/// fn with_address<B>(mut request: Request<B>) -> Request<B> {
///     if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
///         let address = ClientAddress::new(peer.ip());
///         request.extensions_mut().insert(address);
///     }
///     request
/// }
/// # let request = with_address(Request::new(()));
/// # assert!(request.extensions().is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address `ip`; an IPv4 address that is written as one of IPv6 (`::ffff:192.0.2.1`) counts as itself.
    #[must_use]
    pub fn new(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }

    /// The address.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }
}
