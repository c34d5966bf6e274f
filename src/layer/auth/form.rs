use percent_encoding::percent_decode_str;

use crate::error::{Error, ErrorCode};

/// The pairs of a query or of a form
/// ([application/x-www-form-urlencoded](https://url.spec.whatwg.org/#application/x-www-form-urlencoded)).
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The most pairs that are read.
    const MAX: usize = 64;

    /// # Errors
    ///
    /// For more than [`Form::MAX`] pairs, and for what isn't UTF-8.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == Self::MAX {
                return Err(invalid(format!("more than {} parameters", Self::MAX)));
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(key)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// The value of what may stand once: two would mean one thing to us and another to somebody else.
    ///
    /// # Errors
    ///
    /// When it stands twice.
    pub(super) fn one(&self, key: &str) -> Result<Option<&str>, Error> {
        let mut values = self.all(key);
        let value = values.next();
        match values.next() {
            Some(_) => Err(invalid(format!("the parameter `{key}` stands more than once"))),
            None => Ok(value),
        }
    }

    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Result<String, Error> {
    let text = text.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid("a parameter that is no UTF-8".to_owned())),
    }
}

/// The specification has no code of its own for it.
pub(super) fn invalid(message: String) -> Error {
    Error::invalid(ErrorCode::Unsupported, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_forms_write_them() {
        let text = "account=ann&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=x+y&&empty=&bare&p=%2B%26%3D";
        let form = Form::parse(text).unwrap();
        assert_eq!(form.one("account").unwrap(), Some("ann"));
        assert_eq!(form.all("scope").collect::<Vec<_>>(), ["repository:a/b:pull,push", "x y"]);
        assert_eq!(form.one("scope").unwrap_err().to_string(), "the parameter `scope` stands more than once");
        assert_eq!(form.one("empty").unwrap(), Some(""));
        assert_eq!(form.one("bare").unwrap(), Some(""));
        assert_eq!(form.one("p").unwrap(), Some("+&="));
        assert_eq!(form.one("absent").unwrap(), None);
        assert!(Form::parse("").unwrap().one("a").unwrap().is_none());
        assert!(Form::parse(&"a&".repeat(64)).is_ok());
        assert!(Form::parse(&"a&".repeat(65)).is_err());
        assert_eq!(Form::parse("a=%ff").map(|_| ()).unwrap_err().to_string(), "a parameter that is no UTF-8");
    }
}
