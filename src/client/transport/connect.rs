use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::builder::Shared;
use super::dial::dial;
use super::guard::Guard;
use super::stream::Stream;
use super::target::Target;
use super::tunnel::tunnel;
use crate::error::Error;
use crate::operation::BoxFuture;

/// What hyper-util's client makes its connections with: everything that may be connected to passes here, and with it
/// the guard.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    shared: Arc<Shared>,
    guard: Guard,
}

impl Connector {
    pub(super) fn new(shared: Arc<Shared>, guard: Guard) -> Self {
        Self { shared, guard }
    }

    async fn connect(self, target: &Target) -> Result<Stream, Error> {
        let shared = &self.shared;
        let limit = shared.limits.connect;
        let Some(proxy) = shared.proxies.to(target) else {
            let stream = dial(&shared.hosts, &target.host, target.port, Some(&self.guard), limit).await?;
            return if target.https { self.secure(stream, target).await } else { Ok(Stream::Plain(stream)) };
        };
        self.guard.check_name(&target.host, target.port)?;
        let stream = dial(&shared.hosts, &proxy.host, proxy.port, None, limit)
            .await
            .map_err(|error| error.context("the HTTP proxy can't be reached"))?;
        if !target.https {
            return Ok(Stream::Proxied(stream));
        }
        let stream = tunnel(stream, proxy, target).await?;
        self.secure(stream, target).await
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, stream: TcpStream, target: &Target) -> Result<Stream, Error> {
        Ok(Stream::Tls(Box::new(self.shared.tls.connect(stream, target).await?)))
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(&self, _: TcpStream, _: &Target) -> Result<Stream, Error> {
        Err(Error::internal("https needs the feature `tls-aws-lc-rs` or `tls-ring`"))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<TokioIo<Stream>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let target = Target::of(&uri)?;
            let limit = connector.shared.limits.connect;
            match tokio::time::timeout(limit, connector.connect(&target)).await {
                Ok(stream) => Ok(TokioIo::new(stream?)),
                Err(_) => {
                    let seconds = limit.as_secs_f64();
                    Err(Error::timed_out(format!("connecting to `{target}` took longer than {seconds} s")))
                }
            }
        })
    }
}
