//! The keys of session tickets, shared by all workers and kept across reloads.
//!
//! A key seals tickets for an hour and opens them for two more, so that a ticket is valid for at least two hours, which
//! is the lifetime of sessions in OpenSSL. Keys are random, never leave the process and are erased after that: an
//! attacker who takes over the machine later cannot decrypt recorded TLS 1.2 sessions.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use openssl::rand::rand_bytes;

use crate::sys::tls::{TicketKey, TicketKeys};

/// How long a key seals tickets.
const PERIOD: Duration = Duration::from_secs(3600);
/// For how many periods a key opens tickets.
const PERIODS: u32 = 3;

struct Aged {
    made: Instant,
    key: TicketKey,
}

/// The keys, the newest last.
#[derive(Default)]
pub(super) struct TicketKeyRing(Mutex<Vec<Aged>>);

impl fmt::Debug for TicketKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeyRing(..)")
    }
}

fn random_key() -> Option<TicketKey> {
    let mut key = TicketKey { name: [0; 16], aes: [0; 32], hmac: [0; 32] };
    rand_bytes(&mut key.name).ok()?;
    rand_bytes(&mut key.aes).ok()?;
    rand_bytes(&mut key.hmac).ok()?;
    Some(key)
}

impl TicketKeyRing {
    fn with<R>(&self, f: impl FnOnce(&mut Vec<Aged>) -> R) -> R {
        // A panic elsewhere leaves the keys consistent.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn seal_at(&self, now: Instant) -> Option<TicketKey> {
        self.with(|keys| {
            if keys.last().is_none_or(|newest| now.duration_since(newest.made) >= PERIOD) {
                keys.retain(|k| now.duration_since(k.made) < PERIOD * PERIODS);
                keys.push(Aged { made: now, key: random_key()? });
            }
            keys.last().map(|newest| newest.key.clone())
        })
    }

    fn open_at(&self, name: &[u8; 16], now: Instant) -> Option<(TicketKey, bool)> {
        self.with(|keys| {
            let found = keys.iter().find(|k| k.key.name == *name)?;
            let age = now.duration_since(found.made);
            (age < PERIOD * PERIODS).then(|| (found.key.clone(), age >= PERIOD))
        })
    }
}

impl TicketKeys for TicketKeyRing {
    fn seal(&self) -> Option<TicketKey> {
        self.seal_at(Instant::now())
    }

    fn open(&self, name: &[u8; 16]) -> Option<(TicketKey, bool)> {
        self.open_at(name, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_rotate_and_are_forgotten() {
        let keys = TicketKeyRing::default();
        let start = Instant::now();
        let hours = |n: u64| start + PERIOD * u32::try_from(n).unwrap();
        let first = keys.seal_at(start).unwrap();
        assert_eq!(keys.seal_at(start + PERIOD / 2).unwrap().name, first.name);
        let second = keys.seal_at(hours(1)).unwrap();
        assert_ne!(second.name, first.name);
        assert_ne!(second.aes, first.aes);
        let opened = |name, at| keys.open_at(name, at).map(|(key, renew)| (key.aes, renew));
        assert_eq!(opened(&second.name, hours(1)), Some((second.aes, false)));
        assert_eq!(opened(&first.name, hours(2)), Some((first.aes, true)));
        assert_eq!(opened(&first.name, hours(3)), None);
        assert_eq!(opened(&[0; 16], start), None);
        for n in 2..20 {
            keys.seal_at(hours(n)).unwrap();
        }
        assert!(keys.with(|k| k.len()) <= PERIODS as usize);
    }
}
