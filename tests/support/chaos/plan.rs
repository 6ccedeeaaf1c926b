//! The plan for one connection, and the bytes of each direction.

use std::io;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere for the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub(crate) fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }

    /// A size from 0 to about `2^most_bits`; small ones are as frequent as large ones.
    pub(crate) fn size(&mut self, most_bits: u64) -> u64 {
        let bits = self.below(most_bits + 1);
        self.below((1 << bits) + 1)
    }
}

/// The bytes of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern(u64);

impl Pattern {
    /// The byte at a position.
    fn byte(self, at: u64) -> u8 {
        mix(self.0.wrapping_add(at / 8)).to_le_bytes()[(at % 8) as usize]
    }

    /// The bytes from a position on.
    pub(crate) fn fill(self, at: u64, buffer: &mut [u8]) {
        for (n, byte) in (at..).zip(buffer) {
            *byte = self.byte(n);
        }
    }

    /// The position of the first wrong byte.
    pub(crate) fn first_wrong(self, at: u64, bytes: &[u8]) -> Option<u64> {
        (at..).zip(bytes).find(|(n, byte)| self.byte(*n) != **byte).map(|(n, _)| n)
    }
}

/// One connection: how much each side sends, and after how many bytes it resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    seed: u64,
    /// Bytes from the client to the server.
    pub(crate) up: u64,
    /// Bytes from the server to the client.
    pub(crate) down: u64,
    /// The client resets the connection after sending this many bytes.
    pub(crate) client_resets: Option<u64>,
    /// The server resets the connection after sending this many bytes.
    pub(crate) server_resets: Option<u64>,
}

/// Not HTTP, so that HTTP mode passes the rest unchanged.
const MAGIC: &[u8; 8] = b"\x02chaos\n\x03";

impl Plan {
    /// The length of a client's announcement.
    pub(crate) const HEADER: usize = 8 * 6;

    /// A random plan: small and large, one-sided and even; one in five has a reset.
    pub(crate) fn random(random: &mut Random) -> Self {
        let (up, down) = (random.size(22), random.size(22));
        let mut resets = |bytes: u64| random.one_in(10).then(|| random.below(bytes + 1));
        Plan { client_resets: resets(up), server_resets: resets(down), seed: random.next(), up, down }
    }

    /// Whether neither side resets: all bytes must arrive then.
    pub(crate) fn is_orderly(&self) -> bool {
        self.client_resets.is_none() && self.server_resets.is_none()
    }

    /// The bytes that the client sends.
    pub(crate) fn client_bytes(&self) -> Pattern {
        Pattern(self.seed)
    }

    /// The bytes that the server sends.
    pub(crate) fn server_bytes(&self) -> Pattern {
        Pattern(!self.seed)
    }

    /// Random numbers for decisions of one side that the other need not know.
    pub(crate) fn random_of(&self, side: u64) -> Random {
        Random::new(mix(self.seed ^ side))
    }

    /// The announcement.
    pub(crate) fn announce(&self) -> [u8; Self::HEADER] {
        let mut bytes = [0; Self::HEADER];
        let none = u64::MAX;
        let words = [
            self.seed,
            self.up,
            self.down,
            self.client_resets.unwrap_or(none),
            self.server_resets.unwrap_or(none),
        ];
        bytes[..8].copy_from_slice(MAGIC);
        for (to, word) in bytes[8..].chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads an announcement.
    pub(crate) fn heard(bytes: &[u8; Self::HEADER]) -> io::Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(io::Error::other(format!("no plan, but {bytes:?}")));
        }
        let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|at| bytes[8 * n + at]));
        let resets = |n| Some(word(n)).filter(|at| *at != u64::MAX);
        Ok(Plan {
            seed: word(1),
            up: word(2),
            down: word(3),
            client_resets: resets(4),
            server_resets: resets(5),
        })
    }
}
