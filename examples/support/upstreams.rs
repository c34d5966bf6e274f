//! The registries that are named on the command line, for the examples.

use tower_oci::client::transport::Transport;
use tower_oci::client::{Upstream, Upstreams, UpstreamsBuilder};
use tower_oci::spec::name::Host;

/// A leaf for registries over https and for others over plain http. All may be at private addresses, since they are
/// named. Whether they are written to is for the stack above to say, where they take `writes` at all.
pub(crate) fn named(
    transport: &Transport,
    secure: &[Host],
    insecure: &[Host],
    writes: bool,
) -> UpstreamsBuilder {
    let secure = secure.iter().map(|host| (host, false));
    let insecure = insecure.iter().map(|host| (host, true));
    secure.chain(insecure).fold(
        Upstreams::builder().transport(transport.clone()),
        |upstreams, (host, plain)| {
            let upstream = Upstream::builder(host.clone()).plain_http(plain).writes(writes);
            upstreams.upstream(upstream.allow_host(host.clone()))
        },
    )
}
