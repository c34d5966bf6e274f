use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::secret::Secret;

/// The longest value of `Authorization` that is read: 16 KiB.
const MAX_HEADER: usize = 16 * 1024;

/// The longest user name in bytes.
const MAX_NAME: usize = 255;

/// What a client shows of itself, not yet verified: how it travels from the layer over HTTP to that over operations.
#[derive(Clone)]
pub(super) enum Presented {
    Nothing,
    Basic {
        name: String,
        password: Secret,
    },
    Bearer(Secret),
    /// Something that can't be read, or several things.
    Unreadable,
}

impl Presented {
    /// Takes `Authorization` out of the headers, so that nothing further inside sees it.
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let http::header::Entry::Occupied(entry) = headers.entry(AUTHORIZATION) else { return Self::Nothing };
        let mut values = entry.remove_entry_mult().1;
        let Some(value) = values.next() else { return Self::Nothing };
        if values.next().is_some() || value.len() > MAX_HEADER {
            return Self::Unreadable;
        }
        std::str::from_utf8(value.as_bytes()).ok().and_then(Self::parse).unwrap_or(Self::Unreadable)
    }

    /// Reads `Basic` ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)) and `Bearer`
    /// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)).
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ')?;
        let rest = rest.trim_start();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(rest.into())).filter(|_| !rest.is_empty());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        Self::basic(name, password)
    }

    /// A name and a password, if they can be some: control characters are excluded by RFC 7617, and a password that
    /// ends at the first of them for one and not for another would be two.
    pub(super) fn basic(name: &str, password: &str) -> Option<Self> {
        let readable = name.len() <= MAX_NAME && !name.chars().chain(password.chars()).any(char::is_control);
        readable.then(|| Self::Basic { name: name.to_owned(), password: password.into() })
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Basic { .. } => "Basic(..)",
            Self::Bearer(_) => "Bearer(..)",
            Self::Unreadable => "Unreadable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> String {
        let values =
            values.iter().map(|value| (AUTHORIZATION, http::HeaderValue::from_bytes(value).unwrap()));
        let mut headers: HeaderMap = values.collect();
        let presented = Presented::take(&mut headers);
        assert!(headers.is_empty());
        match presented {
            Presented::Basic { name, password } => format!("{name}|{}", password.expose()),
            Presented::Bearer(token) => format!("token {}", token.expose()),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_clients_show_is_read_and_taken_away() {
        let long = format!("Bearer {}", "x".repeat(MAX_HEADER));
        let name = |length| format!("Basic {}", STANDARD.encode(format!("{}:p", "n".repeat(length))));
        for (value, expected) in [
            // RFC 7617, 2 and 2.1.
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin|open sesame"),
            ("Basic dGVzdDoxMjPCow==", "test|123£"),
            ("basic  YTpiOmM=", "a|b:c"),
            // What podman sends without credentials.
            ("Basic Og==", "|"),
            ("Bearer abc.def", "token abc.def"),
            ("BEARER abc", "token abc"),
            ("Basic", "Unreadable"),
            ("Basic YWJj", "Unreadable"),
            ("Basic YTpi!", "Unreadable"),
            ("Basic YToA", "Unreadable"),
            ("Basic YTo=; x", "Unreadable"),
            ("Basic YTr/", "Unreadable"),
            ("Bearer", "Unreadable"),
            ("Bearer ", "Unreadable"),
            ("Digest username=\"a\"", "Unreadable"),
            ("", "Unreadable"),
            (&long, "Unreadable"),
            (&name(255), &format!("{}|p", "n".repeat(255))),
            (&name(256), "Unreadable"),
        ] {
            assert_eq!(read(&[value.as_bytes()]), expected, "{value}");
        }
        assert_eq!(read(&[]), "Nothing");
        assert_eq!(read(&[b"Bearer abc", b"Basic YTpi"]), "Unreadable");
        assert_eq!(read(&[b"Bearer \xff"]), "Unreadable");
        for shown in [Presented::Bearer("hunter2".into()), Presented::basic("ann", "hunter2").unwrap()] {
            assert!(!format!("{shown:?}").contains("hunter2"));
        }
    }
}
