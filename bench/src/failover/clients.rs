//! Clients that arrive at a steady rate, and their results.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::{process, wire};

/// How long a client waits for each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// One request.
struct TimedRequest {
    /// The time since the first request.
    since: Duration,
    took: Duration,
    served: bool,
}

/// The results of the clients of one run.
pub(super) struct Seen(Vec<TimedRequest>);

/// Sends requests for `length`, `pace` apart, each on a new connection.
pub(super) fn run(addr: SocketAddr, length: Duration, pace: Duration) -> Seen {
    let begin = Instant::now();
    let mut threads = Vec::new();
    let mut at = begin;
    while at < begin + length {
        process::sleep_until(at);
        threads.push(thread::spawn(move || {
            let start = Instant::now();
            let served = ask(addr).is_some_and(|got| got == wire::ANSWER.len());
            TimedRequest { since: start - begin, took: start.elapsed(), served }
        }));
        at += pace;
    }
    Seen(threads.into_iter().filter_map(|thread| thread.join().ok()).collect())
}

fn ask(addr: SocketAddr) -> Option<usize> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(wire::CLOSE).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()
}

impl Seen {
    /// The cells of the table.
    pub(super) fn row(&self) -> String {
        let failed: Vec<&TimedRequest> = self.0.iter().filter(|request| !request.served).collect();
        let slow = self.0.iter().filter(|r| r.served && r.took > Duration::from_millis(500)).count();
        let mut times: Vec<Duration> = self.0.iter().filter(|r| r.served).map(|r| r.took).collect();
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
        let first = failed.iter().map(|request| request.since).min().unwrap_or_default();
        let last = failed.iter().map(|request| request.since).max().unwrap_or_default();
        format!(
            " {} | {} | {slow} | {:.1} | {:.2} |",
            self.0.len(),
            failed.len(),
            p99.as_secs_f64() * 1e3,
            (last - first).as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_failures_and_their_time() {
        let request = |since, took, served| TimedRequest {
            since: Duration::from_millis(since),
            took: Duration::from_millis(took),
            served,
        };
        let seen = Seen(vec![
            request(0, 1, true),
            request(100, 5000, false),
            request(350, 2, false),
            request(400, 600, true),
        ]);
        assert_eq!(seen.row(), " 4 | 2 | 1 | 600.0 | 0.25 |");
    }
}
