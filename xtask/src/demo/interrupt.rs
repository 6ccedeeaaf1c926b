//! Ends the demo when the user asks for it, with ^C or kill(1).

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether the user has asked for the end.
pub(super) struct Interrupt(Receiver<()>);

impl Interrupt {
    /// Catches the signals from now on, so that the demo can end what it started.
    ///
    /// # Errors
    /// When the system takes no handler.
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

    /// Waits for that time at most; true when the end was asked for.
    pub(super) fn came_within(&self, time: Duration) -> bool {
        self.0.recv_timeout(time).is_ok()
    }

    /// Waits until the end is asked for.
    pub(super) fn wait(&self) {
        // The other side never goes away before this one.
        _ = self.0.recv();
    }
}
