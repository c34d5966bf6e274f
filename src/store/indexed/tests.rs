use std::time::Duration;

use super::*;
use crate::store::index::MemoryIndex;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn records() -> IndexRecords {
    IndexRecords::new(MemoryIndex::new()).clock(Clock::from_fn(|| at(100)))
}

/// How many keys the index has, usage included.
fn keys(records: &IndexRecords) -> usize {
    let mut keys = 0;
    let count = |view: &dyn super::super::index::View| {
        view.scan(b"", b"\xff", &mut |_, _| {
            keys += 1;
            true
        })
    };
    answers::read(&*records.index, count).unwrap();
    keys
}

#[tokio::test]
async fn bytes_are_counted_keys_included() {
    let records = records().max_bytes(10);
    Records::put(&records, "a", "1234".into(), at(110)).await.unwrap();
    let error = Records::put(&records, "b", "12345".into(), at(110)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record store is full: it holds 5 of 10 bytes, and 6 more were to be kept; try again later"
    );
    Records::put(&records, "b", "1234".into(), at(110)).await.unwrap();
    // A refused replacement leaves the old value.
    Records::put(&records, "b", "12345".into(), at(110)).await.unwrap_err();
    assert_eq!(records.get("b").await.unwrap(), Some(Bytes::from("1234")));
    assert_eq!(records.usage().await.unwrap(), Usage { records: 2, bytes: 10 });
    let records = records.max_records(2);
    let error = Records::put(&records, "c", "".into(), at(110)).await.unwrap_err();
    assert_eq!(error.to_string(), "the record store is full: it holds 2 of 2 records; try again later");
}

#[tokio::test]
async fn what_has_ended_goes_little_by_little_with_puts_and_all_when_it_is_swept() {
    let records = records().max_records(2500);
    for number in 0..2500 {
        let key = format!("{number}");
        Records::put(&records, &key, "1".into(), at(110 + number % 7)).await.unwrap();
    }
    assert_eq!(keys(&records), 5001);
    let records = records.clock(Clock::from_fn(|| at(117)));
    Records::put(&records, "a", "1".into(), at(200)).await.unwrap();
    assert_eq!(records.usage().await.unwrap().records, 2500 - SOME as u64 + 1);
    assert_eq!(records.sweep().await.unwrap(), 2500 - SOME as u64);
    assert_eq!(records.usage().await.unwrap(), Usage { records: 1, bytes: 2 });
    assert_eq!(keys(&records), 3);
    assert_eq!(records.sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn a_put_that_needs_room_sweeps_until_there_is_some() {
    let records = records().max_bytes(20_000);
    for number in 100..1000 {
        Records::put(&records, &number.to_string(), "1".into(), at(110)).await.unwrap();
    }
    let records = records.clock(Clock::from_fn(|| at(110)));
    let value = Bytes::from(vec![0; 19_500]);
    Records::put(&records, "a", value.clone(), at(200)).await.unwrap();
    let usage = records.usage().await.unwrap();
    assert!(usage.bytes <= 20_000 && usage.records > 1, "{usage:?}");
    Records::put(&records, "b", value, at(200)).await.unwrap_err();
    assert_eq!(records.usage().await.unwrap(), Usage { records: 1, bytes: 19_501 });
}

#[tokio::test]
async fn a_long_value_lies_in_parts_that_go_with_it() {
    let records = records();
    Records::put(&records, "a", vec![1; 3 << 20].into(), at(110)).await.unwrap();
    assert_eq!(keys(&records), 3 + 3);
    Records::put(&records, "a", vec![2; 1 << 20].into(), at(110)).await.unwrap();
    assert_eq!(keys(&records), 3 + 1);
    assert_eq!(records.get("a").await.unwrap(), Some(Bytes::from(vec![2; 1 << 20])));
    assert!(records.remove("a").await.unwrap());
    assert_eq!(keys(&records), 1);
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let records = records();
    let error = Records::put(&records, "a", vec![0; MAX_VALUE + 1].into(), at(110)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.to_string(), "a record of 67108865 bytes is more than the 67108864 that may be kept");
    let error = Records::put(&records, &"a".repeat(1025), "1".into(), at(110)).await.unwrap_err();
    assert_eq!(error.to_string(), "a record's key of 1025 bytes is longer than 1024");
    assert_eq!(keys(&records), 0);
}

#[tokio::test]
async fn damage_is_told() {
    for (key, value) in [("Ra", &b"short"[..]), ("Ra", &[0xff; 40]), ("U", b""), ("U", &[2; 17])] {
        let records = records();
        Records::put(&records, "a", "1".into(), at(110)).await.unwrap();
        let work = move |batch: &mut dyn Batch| batch.put(key.as_bytes(), value);
        answers::write(&*records.index, work).unwrap();
        let error = if key == "U" {
            records.sweep().await.unwrap_err().to_string()
        } else {
            records.get("a").await.unwrap_err().to_string()
        };
        let expected = match key {
            "U" => "the records were kept by another version of this program",
            _ => "a record can't be read: it is damaged",
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn moments_lie_in_their_order() {
    let moments =
        [at(0), at(0) + Duration::from_nanos(1), at(0) + Duration::from_millis(999), at(1), at(256)];
    assert!(moments.map(Moment::new).is_sorted());
    assert_eq!(Moment::new(at(0) - Duration::from_secs(9)), Moment::new(at(0)));
}
