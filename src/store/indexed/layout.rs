//! How records lie in an index. All numbers are big-endian.
//!
//! | key | value |
//! |---|---|
//! | `R` `<key>` | its end, the length of its value, and the value's first part |
//! | `P` `<number of the part, 4 bytes>` `<key>` | a further part, from 1 on |
//! | `E` `<end>` `<key>` | the length of the value, so that a sweep need not read it |
//! | `U` | the version of this layout, how many records there are, and of how many bytes |
//!
//! An end is 8 bytes of seconds since 1970 and 4 of nanoseconds, so that the ends lie in their order.

use std::time::SystemTime;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::{MAX_VALUE, Usage};
use crate::error::Error;
use crate::store::index::{Batch, View};

/// The longest part of a value. Somewhat below a power of two, to which the place of a part is rounded up on disk.
const PART: usize = (1 << 20) - (8 << 10);

const VERSION: u8 = 1;

/// A moment as keys have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment([u8; 12]);

impl Moment {
    /// What comes before 1970 is taken for its first moment.
    pub(super) fn new(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut moment = [0; 12];
        let mut place = &mut moment[..];
        place.put_u64(since.as_secs());
        place.put_u32(since.subsec_nanos());
        Self(moment)
    }
}

/// What is known of a record without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) end: Moment,
    pub(super) length: usize,
}

impl Head {
    const SIZE: usize = 20;

    fn read(mut value: &[u8]) -> Result<Self, Error> {
        let mut end = [0; 12];
        value.try_copy_to_slice(&mut end).map_err(|_| damaged())?;
        Ok(Self { end: Moment(end), length: length(value)? })
    }

    /// What the record under `key` counts for.
    pub(super) fn weight(self, key: &str) -> u64 {
        (key.len() + self.length) as u64
    }

    fn parts(self) -> usize {
        self.length.div_ceil(PART).max(1)
    }
}

fn length(mut value: &[u8]) -> Result<usize, Error> {
    let length = value.try_get_u64().ok().and_then(|length| usize::try_from(length).ok());
    length.filter(|length| *length <= MAX_VALUE).ok_or_else(damaged)
}

pub(super) fn head(view: &dyn View, key: &str) -> Result<Option<Head>, Error> {
    let (first, mut found) = (record_key(key), None);
    // A scan shows the value where it lies; `get` would copy it.
    let end = [&first[..], &[0]].concat();
    view.scan(&first, &end, &mut |_, value| {
        found = Some(Head::read(value));
        false
    })?;
    found.transpose()
}

/// The value under `key`, if it ends after `now`.
pub(super) fn value(view: &dyn View, key: &str, now: Moment) -> Result<Option<Bytes>, Error> {
    let Some(mut first) = view.get(&record_key(key))? else { return Ok(None) };
    let head = Head::read(&first)?;
    if head.end <= now {
        return Ok(None);
    }
    first.advance(Head::SIZE);
    if head.parts() == 1 {
        return if first.len() == head.length { Ok(Some(first)) } else { Err(damaged()) };
    }
    let mut value = BytesMut::with_capacity(head.length);
    value.extend_from_slice(&first);
    for part in 1..head.parts() {
        value.extend_from_slice(&view.get(&part_key(part, key))?.ok_or_else(damaged)?);
    }
    if value.len() == head.length { Ok(Some(value.freeze())) } else { Err(damaged()) }
}

/// Keeps a record where there is none.
pub(super) fn insert(batch: &mut dyn Batch, key: &str, value: &[u8], end: Moment) -> Result<(), Error> {
    let length = (value.len() as u64).to_be_bytes();
    let mut parts = value.chunks(PART);
    let first = [&end.0[..], &length, parts.next().unwrap_or_default()].concat();
    batch.put(&record_key(key), &first)?;
    for (number, part) in (1..).zip(parts) {
        batch.put(&part_key(number, key), part)?;
    }
    batch.put(&end_key(end, key), &length)
}

pub(super) fn delete(batch: &mut dyn Batch, key: &str, head: Head) -> Result<(), Error> {
    batch.remove(&record_key(key))?;
    for part in 1..head.parts() {
        batch.remove(&part_key(part, key))?;
    }
    batch.remove(&end_key(head.end, key)).map(drop)
}

/// Up to `max` records that have ended by `now`, those first that ended first.
pub(super) fn ended(view: &dyn View, now: Moment, max: usize) -> Result<Vec<(String, Head)>, Error> {
    let mut found = Vec::new();
    // Behind all keys of this moment: no record's key has this byte.
    let end = [end_key(now, "").as_slice(), &[0xff]].concat();
    view.scan(b"E", &end, &mut |key, value| {
        found.push(ending(key, value));
        found.len() < max
    })?;
    found.into_iter().collect()
}

fn ending(key: &[u8], value: &[u8]) -> Result<(String, Head), Error> {
    let (end, key) = key.get(1..).and_then(|key| key.split_first_chunk()).ok_or_else(damaged)?;
    let key = std::str::from_utf8(key).map_err(|_| damaged())?;
    Ok((key.to_owned(), Head { end: Moment(*end), length: length(value)? }))
}

pub(super) fn usage(view: &dyn View) -> Result<Usage, Error> {
    let Some(mut value) = view.get(b"U")? else { return Ok(Usage::default()) };
    match value.try_get_u8() {
        Ok(VERSION) => {}
        _ => return Err(Error::unavailable("the records were kept by another version of this program")),
    }
    let records = value.try_get_u64().map_err(|_| damaged())?;
    let bytes = value.try_get_u64().map_err(|_| damaged())?;
    Ok(Usage { records, bytes })
}

pub(super) fn set_usage(batch: &mut dyn Batch, usage: Usage) -> Result<(), Error> {
    let value = [&[VERSION][..], &usage.records.to_be_bytes(), &usage.bytes.to_be_bytes()].concat();
    batch.put(b"U", &value)
}

fn record_key(key: &str) -> Vec<u8> {
    [b"R", key.as_bytes()].concat()
}

fn part_key(part: usize, key: &str) -> Vec<u8> {
    // There are not so many parts of the longest value.
    let part = u32::try_from(part).unwrap_or(u32::MAX);
    [b"P", &part.to_be_bytes()[..], key.as_bytes()].concat()
}

fn end_key(end: Moment, key: &str) -> Vec<u8> {
    [b"E", &end.0[..], key.as_bytes()].concat()
}

fn damaged() -> Error {
    Error::internal("a record can't be read: it is damaged")
}
