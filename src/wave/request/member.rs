//! One member of the JSON at a time, so that an error names it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorCode};
use crate::secret::Secret;

/// A size: documented as a text, sent as a number.
pub(super) fn size(name: &str, raw: Option<&RawValue>) -> Result<Option<u64>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    let written = raw.get();
    if written == r#""""# {
        return Ok(None);
    }
    let digits = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(written);
    match digits.parse() {
        Ok(size) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(size)),
        _ => Err(invalid(format!("`{name}` is no size in bytes: {}", cut(written)))),
    }
}

pub(super) fn text<'a>(name: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let text = member::<Text<'a>>(name, raw)?;
    Ok(text.map(|Text(text)| text).filter(|text| !text.is_empty()))
}

/// A member whose value isn't shown, whatever it is.
pub(super) fn secret(name: &str, raw: Option<&RawValue>) -> Result<Option<Secret>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    let secret: Secret =
        serde_json::from_str(raw.get()).map_err(|_| invalid(format!("`{name}` is no text")))?;
    Ok(Some(secret).filter(|secret| !secret.is_empty()))
}

/// A list of at most [`MAX_ENTRIES`] values: many short ones take more memory than their text.
pub(super) fn list<'a, T: Deserialize<'a>>(name: &str, raw: Option<&'a RawValue>) -> Result<Vec<T>, Error> {
    Ok(member::<List<T>>(name, raw)?.map(|List(values)| values).unwrap_or_default())
}

struct List<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            if values.len() == MAX_ENTRIES {
                return Err(A::Error::custom(format_args!("more than {MAX_ENTRIES} entries")));
            }
            values.push(value);
        }
        Ok(List(values))
    }
}

pub(super) fn object<'a, T: Deserialize<'a>>(
    name: &str,
    raw: Option<&'a RawValue>,
) -> Result<Option<T>, Error> {
    if raw.is_some_and(|raw| !raw.get().starts_with('{')) {
        return Err(invalid(format!("`{name}` is no object")));
    }
    member(name, raw)
}

pub(super) fn member<'a, T: Deserialize<'a>>(
    name: &str,
    raw: Option<&'a RawValue>,
) -> Result<Option<T>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    let value = serde_json::from_str(raw.get());
    value.map(Some).map_err(|error| invalid(format!("`{name}`: {}", told(&error))))
}

/// What serde says, without the place, which counts from the start of the member, and not all of a long value.
pub(super) fn told(error: &serde_json::Error) -> String {
    let error = error.to_string();
    cut(error.rsplit_once(" at line ").map_or(error.as_str(), |(told, _)| told))
}

fn cut(text: &str) -> String {
    const MAX: usize = 160;
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    if text.chars().nth(MAX).is_some() {
        short.push('…');
    }
    short
}

pub(in crate::wave) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(ErrorCode::ManifestInvalid, message)
}

/// The most entries of one list of a request.
const MAX_ENTRIES: usize = 4096;
