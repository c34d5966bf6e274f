use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method, header, request};

/// The requests that arrived somewhere, in order. Clones share them.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Recorded>>>);

/// A request that arrived.
#[derive(Clone)]
#[non_exhaustive]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Host and port that it was sent to, as its URI or its `Host` header has them.
    pub authority: Option<String>,
    /// Path and query, to the byte.
    pub target: String,
    /// All its headers.
    pub headers: HeaderMap,
}

impl Recorder {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Method, path and query of each request: `GET /v2/a/tags/list?n=1`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Recorded::line).collect()
    }

    /// The same with the values of these headers, where there are any: `GET /v2/a/blobs/… range=bytes=3-`.
    ///
    /// A name comes in lower case. Values are shown as they are, secrets included: it is for comparing.
    #[must_use]
    pub fn lines_with(&self, headers: &[&str]) -> Vec<String> {
        self.requests()
            .iter()
            .map(|request| {
                let mut line = request.line();
                for name in headers {
                    for value in request.headers.get_all(*name) {
                        line.push_str(&format!(" {name}={}", String::from_utf8_lossy(value.as_bytes())));
                    }
                }
                line
            })
            .collect()
    }

    /// The requests themselves.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.requests().clone()
    }

    /// Forgets what has been seen, and answers it as [`Recorder::lines`] does.
    pub fn take(&self) -> Vec<String> {
        let lines = self.lines();
        self.requests().clear();
        lines
    }

    pub(super) fn record(&self, parts: &request::Parts) {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(|authority| authority.as_str()).or(host);
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        self.requests().push(Recorded {
            method: parts.method.clone(),
            authority: authority.map(str::to_owned),
            target: target.to_owned(),
            headers: parts.headers.clone(),
        });
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.requests().iter()).finish()
    }
}

impl Recorded {
    /// Method, path and query.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// The value of a header, as far as it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Names of headers only: values may be secrets.
impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.keys().map(|name| name.as_str()).collect();
        write!(f, "{} {} with {names:?}", self.method, self.target)
    }
}
