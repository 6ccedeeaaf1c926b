//! One end of a conversation: sends and receives at once, in pieces of random size, with pauses.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::plan::{Pattern, Random};
use super::transport::Transport;
use crate::support::wait::DEADLINE;

/// How a conversation ended for one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Both directions ended in order; all announced bytes have arrived.
    Complete,
    /// The peer ended in order after fewer bytes than announced.
    Short(u64),
    /// The connection broke, after so many bytes.
    Broken(u64),
    /// This side reset it, as planned.
    BrokenOff,
}

/// The longest pause of one direction, in milliseconds.
const PAUSE: u64 = 30;
/// The same once in ten times: long enough for buffers to fill.
const LONG_PAUSE: u64 = 500;

struct Sender {
    pattern: Pattern,
    total: u64,
    sent: u64,
    resets: Option<u64>,
    /// The bytes that the transport has not yet accepted.
    chunk: Vec<u8>,
    paused_until: Instant,
    finished: bool,
    /// A second urgent byte would turn the first one into ordinary data, if it has not been read past (tcp(7)).
    urgent_sent: bool,
}

impl Sender {
    /// Sends one piece. False: it is time to reset.
    fn step(&mut self, transport: &mut impl Transport, random: &mut Random) -> io::Result<bool> {
        if self.resets.is_some_and(|at| self.sent >= at) {
            return Ok(false);
        }
        if self.chunk.is_empty() {
            let most = self.resets.unwrap_or(self.total).min(self.total) - self.sent;
            let length = most.min(1 + random.size(17));
            self.chunk.resize(usize::try_from(length).unwrap(), 0);
            self.pattern.fill(self.sent, &mut self.chunk);
        }
        if self.chunk.is_empty() {
            transport.finish();
            self.finished = true;
            return Ok(true);
        }
        if transport.takes_urgent() && !self.urgent_sent && random.one_in(200) {
            // An urgent byte is discarded, and does not shift the data around it.
            self.urgent_sent = transport.socket().send_out_of_band(b"!").is_ok();
        }
        let sent = transport.write(&self.chunk)?;
        self.sent += sent as u64;
        self.chunk.drain(..sent);
        pause(&mut self.paused_until, random);
        Ok(true)
    }
}

fn pause(until: &mut Instant, random: &mut Random) {
    if random.one_in(40) {
        let longest = if random.one_in(10) { LONG_PAUSE } else { PAUSE };
        *until = Instant::now() + Duration::from_millis(random.below(longest));
    }
}

/// Sends and receives until both directions or the connection have ended. `received` were read before. Received bytes
/// are checked immediately.
///
/// # Panics
/// On a wrong byte, an extra byte, or no progress until the deadline.
pub(crate) fn converse(
    mut transport: impl Transport,
    (sends, total, resets): (Pattern, u64, Option<u64>),
    (receives, expected): (Pattern, u64),
    mut random: Random,
) -> Ending {
    let now = Instant::now();
    let mut sender = Sender {
        pattern: sends,
        total,
        sent: 0,
        resets,
        chunk: Vec::new(),
        paused_until: now,
        finished: false,
        urgent_sent: false,
    };
    let mut received = 0;
    let (mut ended, mut paused_until, mut moved) = (false, now, now);
    let mut buffer = vec![0; 1 << 17];
    loop {
        if sender.finished && ended {
            return if received == expected { Ending::Complete } else { Ending::Short(received) };
        }
        assert!(
            moved.elapsed() < DEADLINE,
            "stuck: {} of {total} sent, {received} of {expected} received",
            sender.sent
        );
        let now = Instant::now();
        let reads = !ended && now >= paused_until;
        let writes = !sender.finished && now >= sender.paused_until;
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, reads);
        events.set(PollFlags::POLLOUT, writes);
        let wait = if transport.has_buffered() && reads { 0 } else { 10_u8 };
        let mut poll_fd = [PollFd::new(transport.descriptor(), events)];
        poll(&mut poll_fd, wait).unwrap();
        let ready = poll_fd[0].revents().unwrap_or(PollFlags::empty());
        if writes && ready.intersects(PollFlags::POLLOUT | PollFlags::POLLERR | PollFlags::POLLHUP) {
            match sender.step(&mut transport, &mut random) {
                Ok(true) => moved = Instant::now(),
                Ok(false) => {
                    transport.break_off();
                    return Ending::BrokenOff;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Ending::Broken(received),
            }
        }
        if reads && (transport.has_buffered() || !ready.difference(PollFlags::POLLOUT).is_empty()) {
            let most = usize::try_from(1 + random.size(17)).unwrap().min(buffer.len());
            match transport.read(&mut buffer[..most]) {
                Ok(0) => (ended, moved) = (true, Instant::now()),
                Ok(count) => {
                    let wrong = receives.first_wrong(received, &buffer[..count]);
                    assert_eq!(wrong, None, "the first wrong byte of {expected}");
                    received += count as u64;
                    assert!(received <= expected, "{received} bytes came, {expected} were sent");
                    moved = Instant::now();
                    pause(&mut paused_until, &mut random);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Ending::Broken(received),
            }
        }
    }
}
