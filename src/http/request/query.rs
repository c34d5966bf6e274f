use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Error, ErrorCode};
use crate::spec::name::shortened;

/// What is escaped in a query that we write: all but RFC 3986's unreserved characters, `/` and `:`.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// A query as it came. Looked through for each key: there are never many.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(crate) fn new(query: Option<&'a str>) -> Self {
        Self(query.unwrap_or_default())
    }

    /// The pairs with decoded keys and raw values.
    pub(crate) fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode_str(key).decode_utf8_lossy(), value)
        })
    }

    /// All values of `key`, decoded.
    pub(crate) fn all(self, key: &'static str) -> impl Iterator<Item = Result<Cow<'a, str>, Error>> {
        self.pairs().filter(move |(found, _)| found == key).map(move |(_, value)| decode(key, value))
    }

    /// The value of a `key` that may stand once: two values would mean one thing to us and another to somebody else.
    pub(crate) fn one(self, key: &'static str) -> Result<Option<Cow<'a, str>>, Error> {
        let mut values = self.all(key);
        let value = values.next().transpose()?;
        match values.next() {
            Some(_) => Err(invalid(format!("the query parameter `{key}` stands more than once"))),
            None => Ok(value),
        }
    }
}

/// `+` stays what it is: media types contain it, and nothing here contains a space.
fn decode<'a>(key: &str, value: &'a str) -> Result<Cow<'a, str>, Error> {
    percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| invalid(format!("the query parameter `{key}` is no UTF-8: `{}`", shortened(value))))
}

/// A parameter that makes no sense, for which the specification has no code of its own.
pub(crate) fn invalid(message: String) -> Error {
    Error::invalid(ErrorCode::Unsupported, message)
}

/// A path and a query in the making.
pub(crate) struct Target {
    text: String,
    separator: char,
}

impl Target {
    pub(crate) fn new(path: String) -> Self {
        Self { text: path, separator: '?' }
    }

    /// Adds a pair, escaping the value.
    pub(crate) fn push(&mut self, key: &str, value: &str) {
        // Writing to a string can't fail.
        let _ = write!(self.text, "{}{key}={}", self.separator, utf8_percent_encode(value, ESCAPED));
        self.separator = '&';
    }

    /// Adds a query as it is.
    pub(crate) fn push_raw(&mut self, query: &str) {
        self.text.push(self.separator);
        self.text.push_str(query);
        self.separator = '&';
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }
}
