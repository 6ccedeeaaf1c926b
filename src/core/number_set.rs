//! A set of small numbers.

/// A set of numbers, one bit each up to the largest; an empty set takes no memory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct NumberSet(Vec<u64>);

impl NumberSet {
    /// Adds a number.
    pub fn insert(&mut self, n: usize) {
        if self.0.len() <= n / 64 {
            self.0.resize(n / 64 + 1, 0);
        }
        self.0[n / 64] |= 1 << (n % 64);
    }

    /// Whether it was added.
    pub fn contains(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|bits| bits & (1 << (n % 64)) != 0)
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which of the 32 numbers from `at * 32` on are in it: a bit each, the lowest for the first.
    pub fn word(&self, at: usize) -> u32 {
        let bits = self.0.get(at / 2).copied().unwrap_or_default();
        // The half that is wanted.
        (bits >> (at % 2 * 32)) as u32
    }

    /// The least number in it that is `from` or more.
    pub fn next(&self, from: usize) -> Option<usize> {
        let within = self.0.get(from / 64)? & (u64::MAX << (from % 64));
        let rest = self.0.iter().enumerate().skip(from / 64 + 1).map(|(at, bits)| (at, *bits));
        std::iter::once((from / 64, within))
            .chain(rest)
            .find(|(_, bits)| *bits != 0)
            .map(|(at, bits)| at * 64 + bits.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set_in_order(numbers in prop::collection::btree_set(0usize..300, 0..40), from in 0usize..320) {
            let mut set = NumberSet::default();
            numbers.iter().for_each(|n| set.insert(*n));
            let found: BTreeSet<usize> = (0..300).filter(|n| set.contains(*n)).collect();
            prop_assert_eq!(&found, &numbers);
            prop_assert_eq!(set.next(from), numbers.range(from..).next().copied());
            for at in 0..12 {
                let bits = (0..32).filter(|bit| numbers.contains(&(at * 32 + bit)));
                prop_assert_eq!(set.word(at), bits.fold(0, |word, bit| word | 1 << bit));
            }
        }
    }
}
