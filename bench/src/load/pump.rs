//! The event loop of a round on many sockets.

use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};

use super::{Outcome, Phases, Task, Turn};

/// A contender that does nothing for this long has failed its round, in milliseconds. On loopback nothing is lost.
const PATIENCE: u16 = 5000;

/// Waits for sockets by their numbers, and calls `each` for every ready one until the round is over. `each` returns the
/// latency of an answer if it has received one.
pub(super) fn answers(
    task: &Task,
    epoll: &Epoll,
    mut each: impl FnMut(usize) -> Result<Option<Duration>, String>,
) -> Result<Outcome, String> {
    let mut phases = Phases::start(task);
    let mut latencies: Vec<u32> = Vec::with_capacity(1 << 18);
    let mut events = [EpollEvent::empty(); 128];
    loop {
        for id in ready(epoll, &mut events)? {
            if let Some(took) = each(id)? {
                latencies.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
            }
        }
        match phases.turn(Instant::now(), latencies.len() as u64) {
            Turn::On => {}
            Turn::Begin => latencies.clear(),
            Turn::Done(outcome) => return Ok(Outcome { p99_ns: p99(&mut latencies), ..outcome }),
        }
    }
}

/// The numbers of the ready sockets, at least one.
pub(super) fn ready<'a>(
    epoll: &Epoll,
    events: &'a mut [EpollEvent],
) -> Result<impl Iterator<Item = usize> + use<'a>, String> {
    match epoll.wait(events, EpollTimeout::from(PATIENCE)) {
        Ok(0) => Err(format!("nothing came for {PATIENCE} ms")),
        Ok(count) => Ok(events[..count].iter().map(|event| event.data() as usize)),
        Err(error) => Err(format!("epoll: {error}")),
    }
}

/// The 99th percentile; 0 without values.
fn p99(latencies: &mut [u32]) -> u64 {
    if latencies.is_empty() {
        return 0;
    }
    let at = latencies.len() * 99 / 100;
    u64::from(*latencies.select_nth_unstable(at).1)
}
