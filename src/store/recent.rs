use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was used last, within a total weight.
pub(crate) struct Recent<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    /// The keys by their last use.
    uses: BTreeMap<u64, K>,
    next: u64,
    weight: usize,
    capacity: usize,
}

struct Entry<V> {
    value: V,
    used: u64,
    weight: usize,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: BTreeMap::new(), uses: BTreeMap::new(), next: 0, weight: 0, capacity }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        if let Some(key) = self.uses.remove(&entry.used) {
            self.uses.insert(self.next, key);
        }
        entry.used = self.next;
        self.next += 1;
        Some(&entry.value)
    }

    /// Keeps `value`, and drops what was not used for longest. What is too heavy by itself is not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if weight > self.capacity {
            return;
        }
        while self.weight > self.capacity - weight {
            let Some((_, oldest)) = self.uses.pop_first() else { break };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.weight -= entry.weight;
            }
        }
        self.weight += weight;
        self.uses.insert(self.next, key.clone());
        self.entries.insert(key, Entry { value, used: self.next, weight });
        self.next += 1;
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.uses.remove(&entry.used);
            self.weight -= entry.weight;
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What they weigh together.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that runs under these locks panics, and what they hold is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_kept_within_the_weight() {
        let mut recent = Recent::new(10);
        recent.insert("a", 1, 4);
        recent.insert("b", 2, 4);
        assert_eq!(recent.get(&"a"), Some(&1));
        recent.insert("c", 3, 4);
        assert_eq!((recent.get(&"a").copied(), recent.get(&"b").copied()), (Some(1), None));
        recent.insert("d", 4, 11);
        assert_eq!(recent.get(&"d"), None, "too heavy by itself");
        assert_eq!(recent.get(&"c"), Some(&3));
        recent.insert("c", 5, 1);
        recent.insert("e", 6, 5);
        assert_eq!((recent.get(&"a").copied(), recent.get(&"c").copied()), (Some(1), Some(5)));
        recent.insert("f", 7, 10);
        assert_eq!((recent.get(&"a").copied(), recent.get(&"e").copied()), (None, None));
        assert_eq!(recent.get(&"f"), Some(&7));
    }
}
