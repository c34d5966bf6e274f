//! Challenges ([RFC 9110, 11.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)): what a registry asks
//! of somebody whom it doesn't know.

use http::HeaderValue;

/// One challenge of a `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Challenge {
    /// The scheme in lower case: `basic`, `bearer`.
    pub scheme: String,
    /// The one token that some schemes have in place of parameters.
    pub token68: Option<String>,
    /// The parameters in their order, names in lower case, values without quotes and escapes.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The most challenges that are read from one answer.
    pub const MAX: usize = 16;

    /// The most parameters that are read of one challenge.
    pub const MAX_PARAMETERS: usize = 32;

    /// The value of the parameter `name`, in lower case; of a repeated one, the first.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The challenges in the lines of a `WWW-Authenticate`, each of which may hold several.
///
/// What can't be read ends the line that it stands in; what was read before is kept.
///
/// ```
/// use http::HeaderValue;
/// use tower_oci::http::challenge::parse;
///
/// let line = HeaderValue::from_static(r#"Basic realm="a, \"b\"", Bearer realm="https://auth.example/token",scope="repository:x:pull,push""#);
/// let challenges = parse([&line].into_iter());
/// assert_eq!(challenges[0].parameter("realm"), Some("a, \"b\""));
/// assert_eq!(challenges[1].scheme, "bearer");
/// assert_eq!(challenges[1].parameter("scope"), Some("repository:x:pull,push"));
/// ```
pub fn parse<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for value in values {
        Reader { rest: &String::from_utf8_lossy(value.as_bytes()) }.challenges(&mut challenges);
    }
    challenges
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn challenges(&mut self, challenges: &mut Vec<Challenge>) {
        loop {
            self.skip(|c| c == ',' || is_space(c));
            if challenges.len() == Challenge::MAX {
                return;
            }
            let Some(scheme) = self.token() else { return };
            let scheme = scheme.to_ascii_lowercase();
            let mut challenge = Challenge { scheme, token68: None, parameters: Vec::new() };
            let spaced = self.skip(is_space);
            let readable = !spaced || self.rest.starts_with(',') || self.body(&mut challenge);
            challenges.push(challenge);
            // A scheme is followed by white space, a comma or nothing.
            if !readable || !(spaced || self.rest.is_empty() || self.rest.starts_with(',')) {
                return;
            }
        }
    }

    /// Reads the parameters or the token of a challenge; false where the line can't be read any further.
    fn body(&mut self, challenge: &mut Challenge) -> bool {
        loop {
            let before = self.rest;
            if challenge.parameters.is_empty() {
                let token = self.token68();
                self.skip(is_space);
                if !token.is_empty() && (self.rest.is_empty() || self.rest.starts_with(',')) {
                    challenge.token68 = Some(token.to_owned());
                    return true;
                }
                self.rest = before;
            }
            let Some(name) = self.token() else { return self.rest.is_empty() };
            self.skip(is_space);
            if !self.rest.starts_with('=') {
                // No parameter: the scheme of the next challenge.
                self.rest = before;
                return true;
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
            self.skip(is_space);
            let Some(value) = self.value() else { return false };
            if challenge.parameters.len() == Challenge::MAX_PARAMETERS {
                return false;
            }
            challenge.parameters.push((name.to_ascii_lowercase(), value));
            self.skip(is_space);
            // A comma is due; where a registry forgets it, the next name tells.
            self.skip(|c| c == ',' || is_space(c));
            if self.rest.is_empty() {
                return true;
            }
        }
    }

    /// A quoted string, or what stands up to the next comma or space: some registries don't quote their realm.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(|c| c == ',' || is_space(c)).unwrap_or(self.rest.len());
            return Some(self.take(end).to_owned());
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = quoted.get(index + 1..).unwrap_or_default();
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        // It doesn't end.
        None
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c| !is_token(c)).unwrap_or(self.rest.len());
        Some(self.take(end)).filter(|token| !token.is_empty())
    }

    fn token68(&mut self) -> &'a str {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let word = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let padding = self.rest.get(word..).unwrap_or_default();
        let padding = padding.len() - padding.trim_start_matches('=').len();
        if word == 0 { "" } else { self.take(word + padding) }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_start_matches(what);
        self.rest.len() < before
    }
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Vec<Challenge> {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        parse([&value].into_iter())
    }

    fn expected(scheme: &str, token68: Option<&str>, parameters: &[(&str, &str)]) -> Challenge {
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Challenge { scheme: scheme.to_owned(), token68: token68.map(str::to_owned), parameters }
    }

    #[test]
    fn the_example_of_rfc_9110_is_read() {
        assert_eq!(
            one(r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#),
            [
                expected("basic", None, &[("realm", "simple")]),
                expected(
                    "newauth",
                    None,
                    &[("realm", "apps"), ("type", "1"), ("title", "Login to \"apps\"")]
                ),
            ]
        );
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="insufficient_scope""#;
        let hub_parameters = [
            ("realm", "https://auth.docker.io/token"),
            ("service", "registry.docker.io"),
            ("scope", "repository:a/b:pull,push"),
            ("error", "insufficient_scope"),
        ];
        assert_eq!(one(hub), [expected("bearer", None, &hub_parameters)]);
        for (line, wanted) in [
            ("BASIC realm=\"\"", vec![expected("basic", None, &[("realm", "")])]),
            ("Basic", vec![expected("basic", None, &[])]),
            ("Basic ", vec![expected("basic", None, &[])]),
            (
                "Negotiate, Basic realm = \"x\"",
                vec![expected("negotiate", None, &[]), expected("basic", None, &[("realm", "x")])],
            ),
            (
                "NTLM TlRM==, Bearer Realm=https://a/t,service=b",
                vec![
                    expected("ntlm", Some("TlRM=="), &[]),
                    expected("bearer", None, &[("realm", "https://a/t"), ("service", "b")]),
                ],
            ),
            (
                "Basic realm=\"x\", Negotiate",
                vec![expected("basic", None, &[("realm", "x")]), expected("negotiate", None, &[])],
            ),
            (", ,Basic realm=\"x\",,", vec![expected("basic", None, &[("realm", "x")])]),
            (
                "Bearer realm=\"a\" service=\"b\"",
                vec![expected("bearer", None, &[("realm", "a"), ("service", "b")])],
            ),
        ] {
            assert_eq!(one(line), wanted, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_line_and_nothing_else() {
        for (line, wanted) in [
            ("", vec![]),
            ("\"", vec![]),
            ("Basic\"x\"", vec![expected("basic", None, &[])]),
            ("Basic realm=\"open", vec![expected("basic", None, &[])]),
            ("Basic realm=\"a\", x=\"open\\", vec![expected("basic", None, &[("realm", "a")])]),
            ("Basic realm=\"a\", =b, Bearer x=y", vec![expected("basic", None, &[("realm", "a")])]),
        ] {
            assert_eq!(one(line), wanted, "{line}");
        }
        let many = vec!["Basic realm=x"; 40].join(", ");
        assert_eq!(one(&many).len(), Challenge::MAX);
        let lines = ["Basic realm=\"open", "Bearer realm=\"b\""].map(HeaderValue::from_static);
        assert_eq!(parse(lines.iter())[1].parameter("realm"), Some("b"));
    }
}
