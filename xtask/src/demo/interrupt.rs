//! Ends the demo on the user's request, by ^C or kill(1).

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Receives the request to end.
pub(super) struct Interrupt(Receiver<()>);

impl Interrupt {
    /// Catches the signals from now on, so that the demo can end the processes that it started.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub(super) fn catch() -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for _ in signals.forever() {
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
        Ok(Interrupt(receiver))
    }

    /// Waits at most this long; true if the end was requested.
    pub(super) fn came_within(&self, time: Duration) -> bool {
        self.0.recv_timeout(time).is_ok()
    }

    /// Waits until the end is requested.
    pub(super) fn wait(&self) {
        // The sender lives at least as long as this receiver.
        _ = self.0.recv();
    }
}
