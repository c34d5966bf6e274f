mod builder;

use std::fmt;
use std::net::SocketAddr;

pub use self::builder::RegistryBuilder;
use super::fault::Fault;
use super::faulty::Faulty;
use super::image::Built;
use super::recorder::Recorder;
use super::serve::Served;
use super::when::When;
use crate::client::{Upstream, UpstreamBuilder};
use crate::error::Error;
use crate::hosted::Memory;
use crate::http::OciService;
use crate::spec::digest::Digest;
use crate::spec::name::Host;

/// A registry on a free port of 127.0.0.1, in memory, as good as the specification or as [poor](RegistryBuilder) as some
/// are. It stops when it is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower_oci::operation::{ListTags, Registry as _, Request};
/// use tower_oci::testing::Registry;
/// use tower_oci::testing::image::{File, Image};
///
/// // It shows a page of two tags at most, and tells no digests.
/// let registry = Registry::builder().page_size(2).without_digests().start()?;
/// let image = Image::new().layer([File::new("etc/motd", "hello\n")]).build()?;
/// for tag in ["v1", "v2", "v3"] {
///     registry.push("demo/hello", tag, &image)?;
/// }
/// // What is tested would pull `127.0.0.1:<port>/demo/hello:v1`.
/// assert!(registry.host().as_str().starts_with("127.0.0.1:"));
///
/// let upstream = registry.upstream().build()?;
/// let tags = upstream.send(Request::new(ListTags::new("demo/hello".parse()?))).await?.into_reply();
/// assert_eq!((tags.tags.len(), tags.next.as_deref()), (2, Some("v2")));
/// assert_eq!(registry.recorder().lines(), ["GET /v2/demo/hello/tags/list"]);
/// registry.stop().await;
/// # Ok(()) }
/// ```
pub struct Registry {
    memory: Memory,
    faulty: Faulty<OciService<Memory>>,
    /// In what ways it is poor.
    quirks: Vec<(When, Fault)>,
    host: Host,
    served: Served,
}

impl Registry {
    /// A registry that does all that the specification says.
    ///
    /// # Errors
    ///
    /// When it is called outside a tokio runtime with I/O and time, or no port is free.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// One that doesn't.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::new()
    }

    /// What names of its images start with: `127.0.0.1:<port>`.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.served.addr()
    }

    /// A URL at it: `http://127.0.0.1:<port>` and then `path`, which starts with a slash or is empty.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.served.url(path)
    }

    /// What it keeps, without what makes it poor.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Puts an image or an index into it, and answers its digest.
    ///
    /// # Errors
    ///
    /// When the repository or the reference, a tag or a digest, is malformed, or a limit is reached.
    pub fn push(&self, repository: &str, reference: &str, image: &Built) -> Result<Digest, Error> {
        image.push(&self.memory, &repository.parse()?, &reference.parse()?)
    }

    /// The leaf that reads from it, for further settings.
    pub fn upstream(&self) -> UpstreamBuilder {
        Upstream::builder(self.host.clone()).plain_http(true)
    }

    /// What has been asked of it over HTTP.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        self.faulty.recorder()
    }

    /// Fails in this way from now on, whenever `when` says so, and is as poor as before.
    pub fn inject(&self, when: When, fault: Fault) {
        self.faulty.inject(when, fault);
    }

    /// Fails no more. What it was built to be like it still is, and starts to count anew.
    pub fn heal(&self) {
        self.faulty.replace(self.quirks.clone());
    }

    /// Stops it, and waits until nothing of it is left.
    pub async fn stop(self) {
        self.served.stop().await;
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quirks, host, .. } = self;
        f.debug_struct("Registry").field("host", host).field("quirks", quirks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
