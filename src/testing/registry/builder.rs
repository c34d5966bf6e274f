use std::time::Duration;

use http::{HeaderName, Method, StatusCode};

use super::Registry;
use crate::error::{Error, RetryAfter};
use crate::hosted::Memory;
use crate::http::OciService;
use crate::testing::fault::Fault;
use crate::testing::faulty::Faulty;
use crate::testing::serve::{ServeOptions, serve_with};
use crate::testing::when::{Kind, When};

/// The lists that come in pages of a size that is asked for.
const LISTS: [Kind; 2] = [Kind::Tags, Kind::Catalog];

/// In what ways a [`Registry`] is poor: each is known from registries that people use. They add up.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use http::StatusCode;
/// use tower_oci::testing::Registry;
///
/// let old = Registry::builder().without_referrers().without_paging().start()?;
/// let odd = Registry::builder().without_head(StatusCode::FORBIDDEN).without_ranges().start()?;
/// assert_ne!(old.addr(), odd.addr());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RegistryBuilder {
    memory: Memory,
    options: ServeOptions,
    quirks: Vec<(When, Fault)>,
}

impl RegistryBuilder {
    pub(super) fn new() -> Self {
        Self { memory: Memory::new(), options: ServeOptions::new(), quirks: Vec::new() }
    }

    /// What keeps its content, with switches of its own: an empty [`Memory`] with the default ones when not set.
    pub fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// How it is put on a socket: [`ServeOptions::new`] when not set.
    pub fn options(mut self, options: ServeOptions) -> Self {
        self.options = options;
        self
    }

    /// It doesn't know the list of referrers, which is 404 without a word of the specification's, nor says `OCI-Subject`.
    pub fn without_referrers(self) -> Self {
        let silent = Fault::NoHeader(HeaderName::from_static("oci-subject"));
        self.fault(When::kind(Kind::Referrers), Fault::NoSuchApi).fault(When::kind(Kind::Manifest), silent)
    }

    /// Its lists of tags and repositories come in pages, but it doesn't say where the next one is: no `Link`.
    pub fn without_links(self) -> Self {
        LISTS.into_iter().fold(self, |this, list| this.fault(When::kind(list), Fault::NoLink))
    }

    /// It ignores `n` and `last`: a list of tags or repositories always comes whole.
    pub fn without_paging(self) -> Self {
        LISTS.into_iter().fold(self, |this, list| this.fault(When::kind(list), Fault::PagingIgnored))
    }

    /// A page of a list has so many entries at most, whatever is asked for: tags, repositories, referrers.
    pub fn page_size(self, entries: u64) -> Self {
        LISTS
            .into_iter()
            .chain([Kind::Referrers])
            .fold(self, |this, list| this.fault(When::kind(list), Fault::PageCap(entries)))
    }

    /// It doesn't say `Docker-Content-Digest`.
    pub fn without_digests(self) -> Self {
        self.fault(When::any(), Fault::NoDigest)
    }

    /// It answers each `HEAD` of a manifest or a blob with this status: 401, 403, 405.
    pub fn without_head(self, status: StatusCode) -> Self {
        [Kind::Manifest, Kind::Blob]
            .into_iter()
            .fold(self, |this, kind| this.fault(When::kind(kind).method(Method::HEAD), Fault::Status(status)))
    }

    /// It ignores `Range`: 200 and the whole blob.
    pub fn without_ranges(self) -> Self {
        self.fault(When::kind(Kind::Blob), Fault::RangeIgnored)
    }

    /// It takes blobs in one piece only: a `PATCH` of an upload is 405.
    pub fn without_chunks(self) -> Self {
        let chunk = When::kind(Kind::Upload).method(Method::PATCH);
        self.fault(chunk, Fault::Status(StatusCode::METHOD_NOT_ALLOWED))
    }

    /// Each answer comes so much later. Where time is paused, only in memory: see [`service`](Self::service).
    pub fn slow(self, delay: Duration) -> Self {
        self.fault(When::any(), Fault::Delay(delay))
    }

    /// It answers 429 whenever `when` says so, with `Retry-After` or without: `When::any().skip(100)` for a quota that is
    /// used up, `When::any().every(5)` for a rate that is now and then too high.
    pub fn rate_limited(self, when: When, retry_after: Option<RetryAfter>) -> Self {
        self.fault(when, Fault::TooManyRequests(retry_after))
    }

    /// It always fails in this way, whenever `when` says so: for what none of the others is about.
    pub fn fault(mut self, when: When, fault: Fault) -> Self {
        self.quirks.push((when, fault));
        self
    }

    /// The registry as a service without a socket, for [`Hosts`](crate::testing::Hosts).
    pub fn service(self) -> Faulty<OciService<Memory>> {
        let faulty = Faulty::new(OciService::new(self.memory));
        faulty.replace(self.quirks);
        faulty
    }

    /// Puts it on a socket.
    ///
    /// # Errors
    ///
    /// When it is called outside a tokio runtime with I/O and time, or the address can't be listened on.
    pub fn start(self) -> Result<Registry, Error> {
        let (memory, quirks, options) = (self.memory.clone(), self.quirks.clone(), self.options);
        let faulty = self.service();
        let served = serve_with(options, faulty.clone())?;
        let host = served.addr().to_string().parse()?;
        Ok(Registry { memory, faulty, quirks, host, served })
    }
}
