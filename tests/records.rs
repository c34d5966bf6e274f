//! The stores of records against the suite for them.
#![cfg(feature = "testing")]

use tower_oci::rt::Clock;
use tower_oci::store::index::MemoryIndex;
use tower_oci::store::{IndexRecords, MemoryRecords, Records, Usage};
use tower_oci::testing::records::{CAPACITY, ManualClock, RECORDS, conformance, full};

/// With as much room as the suite needs, and no more.
fn in_memory(records: usize, clock: &ManualClock) -> MemoryRecords {
    MemoryRecords::with_capacity(records).max_bytes(CAPACITY).clock(clock.clock())
}

fn roomy(records: IndexRecords, clock: &ManualClock) -> IndexRecords {
    records.max_records(RECORDS as u64).max_bytes(CAPACITY as u64).clock(clock.clock())
}

#[tokio::test]
async fn records_in_memory_pass() {
    let clock = ManualClock::new();
    let records = in_memory(RECORDS, &clock);
    conformance(&records, Some(&clock)).await.unwrap();
    full(&in_memory(2, &clock), Some(&clock)).await.unwrap();
    assert!(records.is_empty());
}

#[tokio::test]
async fn records_in_memory_pass_by_the_time_of_the_system() {
    let records = MemoryRecords::with_capacity(RECORDS).max_bytes(CAPACITY);
    conformance(&records, None).await.unwrap();
}

#[tokio::test]
async fn records_in_an_index_in_memory_pass() {
    let clock = ManualClock::new();
    let records = roomy(IndexRecords::new(MemoryIndex::new()), &clock);
    conformance(&records, Some(&clock)).await.unwrap();
    assert_eq!(records.usage().await.unwrap(), Usage::default());
    full(&records.clone().max_records(2), Some(&clock)).await.unwrap();
    assert_eq!(records.usage().await.unwrap(), Usage::default());
}

#[cfg(feature = "redb")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_in_a_file_pass() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = directory.path().join("records");
    let records = roomy(IndexRecords::open(&path).await.unwrap(), &clock);
    conformance(&records, Some(&clock)).await.unwrap();
    assert_eq!(records.usage().await.unwrap(), Usage::default());
    full(&records.clone().max_records(2), Some(&clock)).await.unwrap();
    assert_eq!(records.usage().await.unwrap(), Usage::default());
}

#[cfg(feature = "redb")]
#[tokio::test]
async fn a_file_has_them_again_when_it_is_opened_and_sweeps_what_ended_meanwhile() {
    use std::time::{Duration, SystemTime};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records");
    let (value, now) = (vec![7; 5 << 20], SystemTime::now());
    {
        let records = IndexRecords::open(&path).await.unwrap();
        records.put("long", value.clone().into(), now + Duration::from_secs(3600)).await.unwrap();
        let old = records.clock(Clock::from_fn(move || now - Duration::from_secs(100)));
        old.put("short", "1".into(), now - Duration::from_secs(50)).await.unwrap();
        assert_eq!(old.usage().await.unwrap().records, 2);
        let error = IndexRecords::open(&path).await.unwrap_err().to_string();
        assert_eq!(error, format!("the index `{}` is open elsewhere", path.display()));
    }
    let records = IndexRecords::open(&path).await.unwrap();
    assert_eq!(records.usage().await.unwrap().records, 1);
    assert!(records.get("long").await.unwrap().is_some_and(|long| long == value));
    assert_eq!(records.get("short").await.unwrap(), None);
    drop(records);
    std::fs::write(&path, "something else").unwrap();
    IndexRecords::open(&path).await.unwrap_err();
}
