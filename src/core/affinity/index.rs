//! An index from the hash of a key to the number under which the key is stored.

use super::chunks::Chunks;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// A hash table of numbers, dense from 0. Linear hashing (Litwin, 1980): each new number adds one bucket and splits one, so
/// no insertion waits until a large table is hashed again.
#[derive(Debug)]
pub(super) struct HashIndex {
    /// The first number of each bucket's chain. There are as many buckets as numbers.
    buckets: Chunks<u32>,
    /// By number.
    links: Chunks<Link>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    hash: u32,
    next: u32,
}

impl HashIndex {
    pub(super) fn new() -> Self {
        HashIndex { buckets: Chunks::new(), links: Chunks::new() }
    }

    /// The number with this hash for which `is_it` is true.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = *self.buckets.get(self.bucket_of(hash))?;
        while at != NONE {
            let link = self.links[at as usize];
            if link.hash == hash && is_it(at as usize) {
                return Some(at as usize);
            }
            at = link.next;
        }
        None
    }

    /// Gives the next number to a key with this hash.
    pub(super) fn append(&mut self, hash: u32) -> usize {
        let number = self.links.len();
        self.links.push(Link { hash, next: NONE });
        self.buckets.push(NONE);
        if number > 0 {
            self.split(number);
        }
        self.link(number);
        number
    }

    /// Changes the hash of `number`.
    pub(super) fn rehash(&mut self, number: usize, hash: u32) {
        let bucket = self.bucket_of(self.links[number].hash);
        let next = self.links[number].next;
        let mut at = self.buckets[bucket] as usize;
        if at == number {
            self.buckets[bucket] = next;
        } else {
            while self.links[at].next as usize != number {
                at = self.links[at].next as usize;
            }
            self.links[at].next = next;
        }
        self.links[number].hash = hash;
        self.link(number);
    }

    fn bucket_of(&self, hash: u32) -> usize {
        let count = self.buckets.len();
        let mask = count.next_power_of_two() - 1;
        let bucket = hash as usize & mask;
        // That bucket is not split off yet.
        if bucket < count { bucket } else { bucket & (mask >> 1) }
    }

    /// Moves the entries of the last bucket, `new`, out of the bucket that held them so far.
    fn split(&mut self, new: usize) {
        let old = new - (1 << new.ilog2());
        let mut at = std::mem::replace(&mut self.buckets[old], NONE);
        while at != NONE {
            let next = self.links[at as usize].next;
            self.link(at as usize);
            at = next;
        }
    }

    fn link(&mut self, number: usize) {
        let bucket = self.bucket_of(self.links[number].hash);
        self.links[number].next = self.buckets[bucket];
        // The table has fewer than 2^32 numbers: clients_max is bounded.
        self.buckets[bucket] = number as u32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with a plain list; hashes of a few bits collide.
        #[test]
        fn what_was_put_in_is_found(bits in 1u32..=32, steps in prop::collection::vec((any::<u32>(), any::<prop::sample::Index>(), any::<bool>()), 1..300)) {
            let mut index = HashIndex::new();
            let mut keys: Vec<u32> = Vec::new();
            let hash = |key: u32| key.wrapping_mul(0x9e37_79b1) >> (32 - bits);
            for (key, at, append) in steps {
                if keys.contains(&key) {
                    continue;
                }
                if append || keys.is_empty() {
                    prop_assert_eq!(index.append(hash(key)), keys.len());
                    keys.push(key);
                } else {
                    let number = at.index(keys.len());
                    index.rehash(number, hash(key));
                    keys[number] = key;
                }
                for (number, key) in keys.iter().enumerate() {
                    prop_assert_eq!(index.find(hash(*key), |n| keys[n] == *key), Some(number));
                }
                prop_assert_eq!(index.find(hash(key), |_| false), None);
            }
        }
    }
}
