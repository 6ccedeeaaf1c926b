//! Byte patterns that reveal lost, repeated or displaced data, and the ways in which pen moves data.

use std::io::{Read as _, Write as _};

use super::{Client, Setup};

/// Runs a test with each way of moving data.
pub(crate) fn each_way(test: impl Fn(Setup)) {
    test(Setup::new());
    test(Setup::new().command("no batch"));
    test(Setup::new().environment("PEN_PORTABLE", "1"));
    test(Setup::new().environment("PEN_PORTABLE", "oneshot"));
}

/// A stream of bytes without a short period, checked block by block.
pub(crate) struct Pattern {
    block: Vec<u8>,
    at: usize,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Pattern {
        let mut x = seed.wrapping_mul(2).wrapping_add(1);
        // A prime length, so that no buffer size hides a shift.
        let block = (0..262_139).map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        });
        Pattern { block: block.collect(), at: 0 }
    }

    /// The next bytes, at most `most`.
    pub(crate) fn next(&mut self, most: usize) -> &[u8] {
        let begin = self.at;
        let end = (begin + most).min(self.block.len());
        self.at = if end == self.block.len() { 0 } else { end };
        &self.block[begin..end]
    }

    fn check(&mut self, mut bytes: &[u8], from: u64) {
        while !bytes.is_empty() {
            let expected = self.next(bytes.len());
            let (now, later) = bytes.split_at(expected.len());
            assert!(now == expected, "wrong bytes after {from} and more");
            bytes = later;
        }
    }
}

/// Sends this many bytes of a pattern, then ends.
pub(crate) fn send_pattern(client: &mut Client, seed: u64, count: u64) {
    let mut pattern = Pattern::new(seed);
    let mut left = count;
    while left > 0 {
        let bytes = pattern.next(usize::try_from(left).unwrap_or(usize::MAX));
        client.0.write_all(bytes).expect("send the pattern");
        left -= bytes.len() as u64;
    }
    client.finish();
}

/// Receives up to the clean end and checks every byte; returns the number of bytes.
pub(crate) fn receive_pattern(client: &mut Client, seed: u64) -> u64 {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; 65536];
    let mut count = 0;
    loop {
        match client.0.read(&mut buffer).expect("receive the pattern") {
            0 => return count,
            n => {
                pattern.check(&buffer[..n], count);
                count += n as u64;
            }
        }
    }
}
