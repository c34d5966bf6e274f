use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::case::{Checked, Stop};
use crate::http::uri::resolve;
use crate::spec::digest::Digest;

/// How much of a body is shown, in bytes.
const SHOWN: usize = 400;

/// The most bytes of all warnings of an answer.
const MAX_WARNINGS: usize = 4096;

/// The codes of the specification, and those of its section on legacy Docker support.
const CODES: [&str; 16] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    "TAG_INVALID",
    "MANIFEST_UNVERIFIED",
];

/// What came back, and what had been asked.
#[derive(Debug)]
pub(super) struct Answer {
    /// Method, URL and headers of the request.
    pub(super) asked: String,
    pub(super) url: Uri,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    code: String,
    #[serde(default)]
    #[expect(dead_code, reason = "only that it is text where it is there")]
    message: String,
}

impl Answer {
    /// A failure, with what was asked and answered.
    pub(super) fn fails(&self, why: impl Display) -> Stop {
        let mut text = format!("  {why}\n  asked: {}\n  answer: {}", self.asked, self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("\n    {name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
        if !self.body.is_empty() {
            let shown = self.body.get(..SHOWN).unwrap_or(&self.body);
            let length = self.body.len();
            text.push_str(&format!("\n    {length} bytes: {}", String::from_utf8_lossy(shown)));
        }
        Stop::Failed(text)
    }

    /// What holds for every answer: no server error, errors in the specification's format, warnings in theirs.
    pub(super) fn is_proper(&self) -> Checked {
        if self.status >= 500 {
            return Err(self.fails("a server error"));
        }
        if self.status >= 400 && self.is_json() && !self.body.is_empty() {
            self.codes()?;
        }
        if self.status == 429 && self.header("retry-after").is_none() {
            return Err(self.fails("429 without `Retry-After`"));
        }
        let mut length = 0;
        for warning in self.headers.get_all("warning") {
            length += warning.len();
            let text = warning.as_bytes();
            if !(text.starts_with(b"299 - \"") && text.ends_with(b"\"") && text.len() > 8) {
                return Err(self.fails("a `Warning` that isn't `299 - \"…\"`"));
            }
        }
        if length > MAX_WARNINGS {
            return Err(self.fails(format!("{length} bytes of warnings, {MAX_WARNINGS} are allowed")));
        }
        Ok(())
    }

    /// The status is one of these.
    pub(super) fn has_status(&self, expected: &[u16]) -> Checked {
        if expected.contains(&self.status) {
            return Ok(());
        }
        let expected: Vec<String> = expected.iter().map(u16::to_string).collect();
        Err(self.fails(format!("the status should be {}", expected.join(" or "))))
    }

    /// It is an error with one of these, and one of these codes if its body is JSON.
    pub(super) fn is_error(&self, statuses: &[u16], codes: &[&str]) -> Checked {
        self.has_status(statuses)?;
        if !self.is_json() || self.body.is_empty() {
            return Ok(());
        }
        if self.codes()?.iter().any(|code| codes.contains(&code.as_str())) {
            return Ok(());
        }
        Err(self.fails(format!("the code should be {}", codes.join(" or "))))
    }

    /// The codes of an error in JSON.
    fn codes(&self) -> Checked<Vec<String>> {
        let Errors { errors } = self.json()?;
        let codes: Vec<String> = errors.into_iter().map(|entry| entry.code).collect();
        if codes.is_empty() {
            return Err(self.fails("an error without any `errors`"));
        }
        match codes.iter().find(|code| !CODES.contains(&code.as_str())) {
            Some(code) => Err(self.fails(format!("`{code}` is no code of the specification"))),
            None => Ok(codes),
        }
    }

    fn is_json(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind == "application/json" || kind.ends_with("+json")
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Checked<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| self.fails(format!("the JSON isn't what the specification says: {error}")))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The header that has to be there, once.
    pub(super) fn has(&self, name: &str) -> Checked<&str> {
        if self.headers.get_all(name).iter().count() > 1 {
            return Err(self.fails(format!("`{name}` stands there more than once")));
        }
        self.header(name).ok_or_else(|| self.fails(format!("`{name}` is missing")))
    }

    pub(super) fn has_header(&self, name: &str, expected: impl Display) -> Checked {
        let expected = expected.to_string();
        if self.has(name)? == expected {
            Ok(())
        } else {
            Err(self.fails(format!("`{name}` should be `{expected}`")))
        }
    }

    pub(super) fn lacks(&self, name: &str) -> Checked {
        if self.headers.contains_key(name) {
            Err(self.fails(format!("there may be no `{name}`")))
        } else {
            Ok(())
        }
    }

    pub(super) fn has_content(&self, expected: &[u8]) -> Checked {
        if self.body == expected {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(expected.get(..SHOWN).unwrap_or(expected));
        Err(self.fails(format!("the content should be these {} bytes: {shown}", expected.len())))
    }

    /// `Docker-Content-Digest` is there and says this.
    pub(super) fn has_digest(&self, expected: &Digest) -> Checked {
        self.has_header("docker-content-digest", expected)
    }

    /// Where `Location` leads.
    pub(super) fn location(&self) -> Checked<Uri> {
        let location = self.has("location")?;
        resolve(&self.url, location).map_err(|error| self.fails(format!("`Location` is no URL: {error}")))
    }

    /// Where the `Link` to the next page leads, if there is one.
    pub(super) fn next(&self) -> Checked<Option<Uri>> {
        let Some(link) = self.header("link") else { return Ok(None) };
        let target = link.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let Some((target, parameters)) = target else {
            return Err(self.fails("`Link` isn't `<…>; rel=\"next\"`"));
        };
        let mut parameters = parameters.split(';').map(str::trim);
        if !parameters.any(|parameter| parameter == "rel=\"next\"" || parameter == "rel=next") {
            return Err(self.fails("`Link` isn't `<…>; rel=\"next\"`"));
        }
        resolve(&self.url, target).map(Some).map_err(|error| self.fails(format!("`Link` is no URL: {error}")))
    }
}
