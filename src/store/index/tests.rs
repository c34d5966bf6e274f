use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Fail,
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn transactions() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let key = || prop::collection::vec(0_u8..4, 0..4);
    let step = prop_oneof![
        8 => (key(), prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(key, value)| Step::Put(key, value)),
        4 => key().prop_map(Step::Remove),
        1 => Just(Step::Fail),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..8), 1..12)
}

fn all(view: &dyn View, first: &[u8], end: &[u8]) -> Model {
    let mut found = Model::new();
    view.scan(first, end, &mut |key, value| found.insert(key.to_vec(), value.to_vec()).is_none()).unwrap();
    found
}

/// Runs the transactions, each against the model too.
fn agrees(index: &dyn Index, transactions: Vec<Vec<Step>>) {
    let mut model = Model::new();
    for steps in transactions {
        let (mut changed, fails) = (model.clone(), steps.iter().any(|step| matches!(step, Step::Fail)));
        let before = model.clone();
        let mut expected = Vec::new();
        for step in &steps {
            match step {
                Step::Put(key, value) => drop(changed.insert(key.clone(), value.clone())),
                Step::Remove(key) => expected.push(changed.remove(key).is_some()),
                Step::Fail => break,
            }
        }
        let last = changed.clone();
        let result = index.write(Box::new(move |batch| {
            assert_eq!(all(batch, b"", b"\xff"), before);
            let mut removed = expected.iter();
            for step in &steps {
                match step {
                    Step::Put(key, value) => batch.put(key, value)?,
                    Step::Remove(key) => assert_eq!(batch.remove(key)?, *removed.next().unwrap()),
                    Step::Fail => return Err(Error::internal("as planned")),
                }
            }
            assert_eq!(all(batch, b"", b"\xff"), last);
            Ok(())
        }));
        assert_eq!(result.is_err(), fails);
        if let Err(error) = result {
            assert_eq!(error.to_string(), "as planned");
        } else {
            model = changed;
        }
        index
            .read(&mut |view| {
                assert_eq!(all(view, b"", b"\xff"), model);
                for (key, value) in &model {
                    assert_eq!(view.get(key)?.as_deref(), Some(&**value));
                }
                assert_eq!(view.get(b"absent")?, None);
                let part = model.range(b"\x01".to_vec()..b"\x02\x01".to_vec());
                let part: Model = part.map(|(key, value)| (key.clone(), value.clone())).collect();
                assert_eq!(all(view, b"\x01", b"\x02\x01"), part);
                assert_eq!(all(view, b"\x02", b"\x01"), Model::new());
                Ok(())
            })
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_index_in_memory_is_an_ordered_map(transactions in transactions()) {
        agrees(&MemoryIndex::new(), transactions);
    }

    #[cfg(feature = "redb")]
    #[test]
    fn an_index_in_a_file_is_an_ordered_map(transactions in transactions()) {
        let directory = tempfile::tempdir().unwrap();
        agrees(&RedbIndex::open(directory.path().join("index")).unwrap(), transactions);
    }
}

#[test]
fn a_scan_ends_when_it_is_told_to() {
    let index = MemoryIndex::new();
    index.write(Box::new(|batch| (0..9_u8).try_for_each(|key| batch.put(&[key], b"")))).unwrap();
    let mut seen = Vec::new();
    index
        .read(&mut |view| {
            view.scan(&[2], &[9], &mut |key, _| {
                seen.push(key[0]);
                seen.len() < 3
            })
        })
        .unwrap();
    assert_eq!(seen, [2, 3, 4]);
}

#[cfg(feature = "redb")]
#[test]
fn what_was_written_is_there_again_and_the_file_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    for round in 0..3_u8 {
        let index = RedbIndex::builder(&path).sync(round == 1).cache_bytes(1 << 20).open().unwrap();
        let text = format!("the index `{}` is open elsewhere", path.display());
        assert_eq!(RedbIndex::open(&path).unwrap_err().to_string(), text);
        index.write(Box::new(move |batch| batch.put(&[round], &[round]))).unwrap();
        index
            .read(&mut |view| {
                assert_eq!(all(view, b"", b"\xff").len(), usize::from(round) + 1);
                Ok(())
            })
            .unwrap();
    }
    std::fs::write(&path, "no index").unwrap();
    assert!(RedbIndex::open(&path).unwrap_err().to_string().starts_with("opening the index `"));
}

#[cfg(feature = "redb")]
#[test]
fn writes_of_many_threads_are_all_kept_but_those_that_fail() {
    let directory = tempfile::tempdir().unwrap();
    let index = RedbIndex::open(directory.path().join("index")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let index = &index;
            scope.spawn(move || {
                for number in 0..50_u8 {
                    let fails = number % 5 == 0;
                    let result = index.write(Box::new(move |batch| {
                        batch.put(&[thread, number], b"kept")?;
                        if fails { Err(Error::internal(format!("{thread} {number}"))) } else { Ok(()) }
                    }));
                    match result {
                        Ok(()) => assert!(!fails),
                        Err(error) => assert_eq!(error.to_string(), format!("{thread} {number}")),
                    }
                }
            });
        }
    });
    index
        .read(&mut |view| {
            assert_eq!(all(view, b"", b"\xff").len(), 8 * 40);
            Ok(())
        })
        .unwrap();
}
