//! Requests at random times on persistent connections, at a rate that every contender can serve: what a load balancer does
//! most of the day.

use std::collections::VecDeque;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::pump::answers;
use super::{Outcome, Task, failed, keep};
use crate::wire;

/// Requests a second.
pub(crate) const RATE: u32 = 20_000;

/// The requests come at the same times for every contender.
const SEED: u64 = 1;

struct PacedConn {
    stream: TcpStream,
    /// When the request in progress was to be sent.
    due: Instant,
    received: usize,
}

/// The times at which requests come: independently of each other, and of the answers.
struct Arrivals {
    random: fastrand::Rng,
    next: Instant,
}

impl Arrivals {
    fn advance(&mut self) {
        let unlikely = 1.0 - self.random.f64();
        self.next += Duration::from_secs_f64(-unlikely.ln() / f64::from(RATE));
    }
}

pub(super) fn run(task: &Task) -> Result<Outcome, String> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(failed("epoll"))?;
    let streams = keep::connect(task, &epoll)?.into_iter();
    let mut conns: Vec<_> =
        streams.map(|stream| PacedConn { stream, due: Instant::now(), received: 0 }).collect();
    // Of all waits only this kind ends to the microsecond.
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).map_err(failed("timer"))?;
    epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, task.conns as u64)).map_err(failed("epoll"))?;
    let mut arrivals = Arrivals { random: fastrand::Rng::with_seed(SEED), next: Instant::now() };
    let mut idle: VecDeque<usize> = (0..task.conns).collect();
    let mut waiting: VecDeque<Instant> = VecDeque::new();
    set(&timer, arrivals.next)?;
    let mut answer = [0u8; 1024];
    answers(task, &epoll, |id| {
        let took = if id == task.conns {
            _ = rustix::io::read(&timer, &mut [0u8; 8]);
            let now = Instant::now();
            while arrivals.next <= now {
                waiting.push_back(arrivals.next);
                arrivals.advance();
            }
            set(&timer, arrivals.next)?;
            None
        } else {
            let conn = &mut conns[id];
            match conn.stream.read(&mut answer).map_err(failed("read"))? {
                0 => return Err("connection closed under a request".into()),
                count => conn.received += count,
            }
            if conn.received < wire::ANSWER.len() {
                return Ok(None);
            }
            idle.push_back(id);
            Some(conn.due.elapsed())
        };
        while !waiting.is_empty()
            && let Some(id) = idle.pop_front()
            && let Some(due) = waiting.pop_front()
        {
            let conn = &mut conns[id];
            (conn.due, conn.received) = (due, 0);
            keep::request(&mut conn.stream)?;
        }
        Ok(took)
    })
}

/// Lets the timer be ready at a time; at once if that has passed.
fn set(timer: &OwnedFd, at: Instant) -> Result<(), String> {
    let wait = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
    let spec = Itimerspec { it_interval: zero, it_value: value };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &spec).map_err(failed("timer"))?;
    Ok(())
}
