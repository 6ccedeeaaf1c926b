//! Bytes sent to and received from a server, counted for every message.

use super::counters::Counters;

const SENT: usize = 0;
const RECEIVED: usize = 1;

/// The two counts. The cores would contend for shared ones with every message.
#[derive(Debug, Default)]
pub struct Traffic(Counters<2>);

impl Traffic {
    /// Adds bytes sent to the server.
    #[inline]
    pub fn add_sent(&self, bytes: u64) {
        self.0.add(SENT, bytes);
    }

    /// Adds bytes received from the server.
    #[inline]
    pub fn add_received(&self, bytes: u64) {
        self.0.add(RECEIVED, bytes);
    }

    /// Bytes sent to the server and received from it so far.
    pub fn totals(&self) -> (u64, u64) {
        let [sent, received] = self.0.totals();
        (sent, received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_sum_is_exact_whichever_threads_count() {
        let traffic = Traffic::default();
        for _ in 0..2 {
            thread::scope(|scope| {
                for n in 1..=4 {
                    let traffic = &traffic;
                    scope.spawn(move || {
                        for _ in 0..1000 {
                            traffic.add_sent(n);
                            traffic.add_received(10 * n);
                        }
                    });
                }
            });
        }
        assert_eq!(traffic.totals(), (20_000, 200_000));
    }
}
