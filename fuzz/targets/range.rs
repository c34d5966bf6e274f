//! `Range`, `Content-Range` and `Link`: what is accepted is written in a form that is read as the same, and no range
//! reaches outside the content that it is applied to.

use tower_oci::spec::page::next_link;
use tower_oci::spec::range::{ByteRange, ContentRange, Ranges, Satisfied};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ranges) = text.parse::<Ranges>() {
        assert!((1..=Ranges::MAX).contains(&ranges.as_slice().len()));
        assert_eq!(ranges.to_string().parse(), Ok(ranges.clone()));
        for size in [0, 1, 2, 10, data.len() as u64, 1 << 40, u64::MAX] {
            check(&ranges, size);
        }
    }
    if let Ok(range) = text.parse::<ContentRange>() {
        assert_eq!(range.to_string().parse(), Ok(range));
        if let ContentRange::Part(range, Some(size)) = range {
            assert!(range.last() < size && range.length() <= size);
        }
    }
    if let Ok(range) = text.parse::<ByteRange>() {
        assert_eq!(range.to_string().parse(), Ok(range));
        let content = bytes::Bytes::copy_from_slice(data);
        let fits = range.last() < data.len() as u64;
        assert_eq!(range.slice(&content).map(|part| part.len() as u64), fits.then_some(range.length()));
    }
    if let Some(target) = next_link(text) {
        assert!(text.contains(&format!("<{target}>")));
    }
}

fn check(ranges: &Ranges, size: u64) {
    let within = |range: &ByteRange| range.first() <= range.last() && range.last() < size;
    match ranges.resolve(size) {
        Satisfied::None => assert!(ranges.as_slice().iter().all(|range| range.resolve(size).is_none())),
        Satisfied::One(range) => assert!(within(&range)),
        Satisfied::Several(parts) => {
            assert!(parts.len() > 1 && parts.iter().all(within));
            let sum: u128 = parts.iter().map(|part| u128::from(part.length())).sum();
            assert!(sum <= u128::from(size), "more than the whole");
        }
        // A suffix of an empty content is all of it.
        Satisfied::Whole => assert!(ranges.as_slice().len() > 1 || size == 0),
        other => unreachable!("{other:?}"),
    }
}
