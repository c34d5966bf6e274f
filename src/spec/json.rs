//! JSON documents that keep their order and their bytes.
//!
//! A digest is over bytes, so a document that is edited must not change where it wasn't touched. [`Object`] is an
//! ordered list of members whose values are raw text: a member that nobody sets is written as it was read, numbers,
//! escapes and white space included. Members keep their place, new ones are appended, the object itself is written
//! compactly.
//!
//! Parsing is strict where leniency has been exploited: a key that stands twice in any object is refused, as is
//! nesting deeper than 128 and anything over the caller's size limit.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::digest::{Algorithm, Digest};
use super::name::shortened;
use crate::error::{Error, ErrorCode};

/// The largest manifest, index or config that is read: 4 MiB, which the distribution specification asks registries
/// to accept at least.
pub const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// A text that isn't the document it should be, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid document: {0}")]
pub struct InvalidDocument(String);

impl InvalidDocument {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }

    pub(crate) fn member(key: &str, reason: impl fmt::Display) -> Self {
        Self(format!("`{}`: {reason}", shortened(key)))
    }
}

impl From<InvalidDocument> for Error {
    fn from(error: InvalidDocument) -> Self {
        Self::invalid(ErrorCode::ManifestInvalid, error.to_string())
    }
}

/// A whole document: an object, and the bytes that it was read from or will be served as.
///
/// ```
/// use bytes::Bytes;
/// use tower_oci::spec::json::{Document, Raw};
///
/// let source = Bytes::from_static(br#"{ "b": 1.0, "a": "\u00e9" }"#);
/// let document = Document::parse(source.clone())?;
/// assert_eq!(document.bytes(), &source);
///
/// let mut object = document.object().clone();
/// object.set("c", Raw::of(&[1, 2]));
/// assert_eq!(&Document::from(object).bytes()[..], br#"{"b":1.0,"a":"\u00e9","c":[1,2]}"#);
/// # Ok::<_, tower_oci::spec::json::InvalidDocument>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    bytes: Bytes,
    object: Object,
}

impl Document {
    /// Reads a document of at most [`MAX_DOCUMENT`] bytes.
    ///
    /// # Errors
    ///
    /// When it is too long, no JSON, no object, has a key twice in any of its objects, or is nested too deeply.
    pub fn parse(bytes: Bytes) -> Result<Self, InvalidDocument> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(InvalidDocument::new(format_args!("longer than {MAX_DOCUMENT} bytes")));
        }
        let _: Strict = serde_json::from_slice(&bytes).map_err(InvalidDocument::new)?;
        let object = Object::read(&bytes)?;
        Ok(Self { bytes, object })
    }

    /// The bytes as they were read, or as they are served.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The members.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self, algorithm: Algorithm) -> Digest {
        Digest::of(algorithm, &self.bytes)
    }
}

impl From<Object> for Document {
    fn from(object: Object) -> Self {
        Self { bytes: object.to_raw().0, object }
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.bytes.len())
    }
}

/// An ordered list of members with raw values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(Cow<'static, str>, Raw)>,
}

impl Object {
    /// An object without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The members of `text`, which has been checked for repeated keys.
    fn read(text: &Bytes) -> Result<Self, InvalidDocument> {
        let Members(borrowed) = serde_json::from_slice(text).map_err(InvalidDocument::new)?;
        let members = borrowed
            .into_iter()
            .map(|(key, value)| (Cow::Owned(key.into_owned()), Raw(text.slice_ref(value.get().as_bytes()))))
            .collect();
        Ok(Self { members })
    }

    /// The value of the member `key`; a `null` counts as absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Raw> {
        self.members.iter().find(|(k, _)| k == key).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// The member `key` as a `T`; a `null` counts as absent.
    ///
    /// # Errors
    ///
    /// When the member is there and is no `T`.
    pub fn read_member<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, InvalidDocument> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.read().map(Some).map_err(|error| InvalidDocument::member(key, error.0))
    }

    /// The member `key` as an object; a `null` counts as absent.
    ///
    /// # Errors
    ///
    /// When the member is there and is no object.
    pub fn object(&self, key: &str) -> Result<Option<Self>, InvalidDocument> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.object().map(Some).map_err(|error| InvalidDocument::member(key, error.0))
    }

    /// The member `key` as a list of raw values; a `null` counts as absent.
    ///
    /// # Errors
    ///
    /// When the member is there and is no array.
    pub fn array(&self, key: &str) -> Result<Option<Vec<Raw>>, InvalidDocument> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.array().map(Some).map_err(|error| InvalidDocument::member(key, error.0))
    }

    /// Sets the member `key`: in its place when it is there, else at the end.
    pub fn set(&mut self, key: impl Into<Cow<'static, str>>, value: Raw) {
        let key = key.into();
        match self.members.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.members.push((key, value)),
        }
    }

    /// Takes the member `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Raw> {
        let index = self.members.iter().position(|(k, _)| k == key)?;
        Some(self.members.remove(index).1)
    }

    /// The members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Raw)> {
        self.members.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The object as text, without white space of its own.
    #[must_use]
    pub fn to_raw(&self) -> Raw {
        let length: usize = self.members.iter().map(|(key, value)| key.len() + value.0.len() + 4).sum();
        let mut text = Vec::with_capacity(length + 2);
        text.push(b'{');
        for (index, (key, value)) in self.members.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&Raw::of(key.as_ref()).0);
            text.push(b':');
            text.extend_from_slice(&value.0);
        }
        text.push(b'}');
        Raw(text.into())
    }
}

/// The text of one JSON value, shared with the document that it was read from.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Bytes);

impl Raw {
    /// `value` as compact JSON.
    ///
    /// Meant for plain data. A value that has no JSON form (a map whose keys are no strings) becomes `null`.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        Self(serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from))
    }

    /// A list of `values`, without white space of its own.
    #[must_use]
    pub fn list<'a>(values: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut text = vec![b'['];
        for value in values {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(&value.0);
        }
        text.push(b']');
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0.as_ref() == b"null"
    }

    /// The value as a `T`.
    ///
    /// # Errors
    ///
    /// When it is no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, InvalidDocument> {
        serde_json::from_slice(&self.0).map_err(InvalidDocument::new)
    }

    /// The value as an object.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn object(&self) -> Result<Object, InvalidDocument> {
        Object::read(&self.0)
    }

    /// The value as a list.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn array(&self) -> Result<Vec<Self>, InvalidDocument> {
        let values: Vec<&RawValue> = serde_json::from_slice(&self.0).map_err(InvalidDocument::new)?;
        Ok(values.into_iter().map(|value| Self(self.0.slice_ref(value.get().as_bytes()))).collect())
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// The members of an object, borrowed from its text.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Any JSON value none of whose objects has a key twice.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut keys = Vec::<Cow<'de, str>>::new();
        while let Some((Key(key), Strict)) = map.next_entry()? {
            keys.push(key);
        }
        keys.sort_unstable();
        match keys.array_windows().find(|[a, b]| a == b) {
            Some([key, _]) => {
                let key = shortened(key);
                Err(serde::de::Error::custom(format_args!("the key `{key}` stands twice in one object")))
            }
            None => Ok(Strict),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        while let Some(Strict) = seq.next_element()? {}
        Ok(Strict)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }
}

/// Whether `text` is one JSON value without repeated keys, of whatever kind.
///
/// # Errors
///
/// When it isn't.
pub fn check(text: &[u8]) -> Result<(), InvalidDocument> {
    let _: Strict = serde_json::from_slice(text).map_err(InvalidDocument::new)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, InvalidDocument> {
        Document::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn untouched_members_keep_their_bytes() {
        let source = "{\"n\": 1.0e2 , \"big\":123456789012345678901234567890,\r\n\"s\":\"\\u00e9\\/\",\"o\":{ \"z\":1,\"a\":[ ] }}";
        let mut object = parse(source).unwrap().object().clone();
        object.set("s", Raw::of("x"));
        object.set("new", Raw::of(&true));
        assert_eq!(
            object.to_raw().bytes().as_ref(),
            br#"{"n":1.0e2,"big":123456789012345678901234567890,"s":"x","o":{ "z":1,"a":[ ] },"new":true}"#
        );
        assert_eq!(object.remove("big").unwrap().bytes().as_ref(), b"123456789012345678901234567890");
        assert_eq!(object.remove("big"), None);
    }

    #[test]
    fn repeated_keys_are_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":{"a":1,"b":0,"a":2}}"#, r#"{"x":[[{"a":1,"\u0061":2}]]}"#] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("the key `a` stands twice"), "{error}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "1", "\"x\"", "null", "{", "{}x", "{\"a\":}", "{\"a\":1,}", "\u{feff}{}"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500))).is_err());
        assert!(Document::parse(Bytes::from(vec![b' '; MAX_DOCUMENT + 1])).is_err());
    }

    #[test]
    fn null_counts_as_absent() {
        let document = parse(r#"{"a":null,"b":[1, 2]}"#).unwrap();
        assert_eq!(document.object().get("a"), None);
        assert_eq!(document.object().read_member::<String>("a"), Ok(None));
        assert_eq!(document.object().array("b").unwrap().unwrap().len(), 2);
        assert!(
            document.object().object("b").unwrap_err().to_string().starts_with("invalid document: `b`: ")
        );
    }
}
