//! penlog's standard input, whose reading a signal ends.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::weblog::signals::unblock;

/// Signals that end penlog: sent by the web server, a terminal or the user.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// A file or pipe that is read until its end or a signal.
pub(super) struct StoppableInput {
    file: File,
    /// Readable once a signal has come.
    stop: UnixStream,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Reading will not block.
    Readable,
    /// A signal has come.
    Stop,
    /// The time is over.
    Timeout,
}

impl StoppableInput {
    /// Takes over `file` and the signals that end penlog. Call it before any other thread exists.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(super) fn new(file: OwnedFd) -> io::Result<StoppableInput> {
        let (stop, signalled) = UnixStream::pair()?;
        for signal in ENDING {
            signal_hook::low_level::pipe::register(signal as i32, signalled.try_clone()?)?;
        }
        unblock(&ENDING)?;
        Ok(StoppableInput { file: file.into(), stop })
    }

    /// Waits until input is ready or a signal has come; the signal takes precedence.
    ///
    /// # Errors
    /// Errors of poll(2).
    pub(super) fn wait(&self) -> io::Result<Event> {
        let mut waiting = [self.stop.as_fd(), self.file.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll_on(&mut waiting, PollTimeout::NONE)?;
        let stopped = waiting[0].any().unwrap_or(true);
        Ok(if stopped { Event::Stop } else { Event::Readable })
    }

    /// Waits until input is ready, for at most this time, regardless of signals.
    ///
    /// # Errors
    /// Errors of poll(2).
    pub(super) fn wait_at_most(&self, time: Duration) -> io::Result<Event> {
        let mut waiting = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        let ready = poll_on(&mut waiting, timeout)?;
        Ok(if ready { Event::Readable } else { Event::Timeout })
    }

    /// Reads the input that is ready; 0 bytes at the end.
    ///
    /// # Errors
    /// Errors of read(2).
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// Whether anything is ready.
fn poll_on(waiting: &mut [PollFd<'_>], timeout: PollTimeout) -> io::Result<bool> {
    loop {
        match poll(waiting, timeout) {
            Err(Errno::EINTR) => {}
            other => return Ok(other? > 0),
        }
    }
}
