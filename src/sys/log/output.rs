//! The log functions and the targets of messages.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::syslog::{Priority, Severity, syslog};

use super::identity::{facility, identity};
use super::program::program;
use super::queue::{Message, MessageQueue};
use super::stderr::Prefix;

/// The target of messages once pen serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Standard error, each line with its local time unless who reads it adds that: `-f`.
    Stderr,
    /// The system's log.
    Syslog,
}

static QUEUE: MessageQueue = MessageQueue::new();
static DEBUG: AtomicU32 = AtomicU32::new(0);

/// Logs an error: pen cannot do what it was asked to do.
pub fn error(text: Arguments<'_>) {
    emit(Severity::LOG_ERR, text);
}

/// Logs a warning that an administrator should look at.
pub fn warn(text: Arguments<'_>) {
    emit(Severity::LOG_WARNING, text);
}

/// Logs information for an administrator.
pub fn info(text: Arguments<'_>) {
    emit(Severity::LOG_INFO, text);
}

/// Logs for `-d`: only if the debug level is at least `level` (1 is the first). Otherwise costs one atomic read.
pub fn debug(level: u32, text: Arguments<'_>) {
    if level <= debug_level() {
        emit(Severity::LOG_DEBUG, text);
    }
}

/// The same of a text whose line ends are its own: it quotes nothing that could have one.
pub fn debug_lines(level: u32, text: Arguments<'_>) {
    if level <= debug_level() {
        send(Message::of_lines(Severity::LOG_DEBUG, text));
    }
}

/// The debug level: how often `-d` was given, or what the command `debug N` has set.
pub fn debug_level() -> u32 {
    DEBUG.load(Ordering::Relaxed)
}

/// Sets the debug level; 0 is none.
pub fn set_debug_level(level: u32) {
    DEBUG.store(level, Ordering::Relaxed);
}

/// Connects to the system's log. Call it before a chroot, where the connection is impossible.
#[allow(unsafe_code, reason = "nix's openlog keeps a dangling name on Solaris")]
pub fn connect() {
    let (name, facility) = (identity().ident, facility() as libc::c_int);
    // SAFETY: openlog(3) keeps the pointer to the name, which lives as long as the process (`'static`).
    unsafe { libc::openlog(name.as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, facility) }
}

/// Starts the thread that writes messages. Call it once, after [`detach`](crate::sys::daemon::detach).
///
/// # Errors
/// The system cannot create a thread. Messages then still go to standard error.
pub fn start(target: Target) -> io::Result<()> {
    match target {
        Target::Stderr => {
            let prefix = Prefix::of_stderr();
            QUEUE.start(move |message| prefix.write(message))
        }
        Target::Syslog => QUEUE.start(to_syslog),
    }
}

/// Waits until all messages so far are written, but no longer than `patience`: for the shutdown.
pub fn flush(patience: Duration) {
    QUEUE.flush(patience);
}

fn emit(severity: Severity, text: Arguments<'_>) {
    send(Message::new(severity, text));
}

fn send(message: Message) {
    if let Err(message) = QUEUE.push(message) {
        for line in message.lines() {
            // An error here could not be reported anywhere.
            let _ = writeln!(io::stderr(), "{}: {line}", program().to_string_lossy());
        }
    }
}

fn to_syslog(message: &Message) {
    for line in message.lines() {
        // Fails only on a NUL, which `lines` has replaced.
        let _ = syslog(Priority::new(message.severity, facility()), line.as_str());
    }
}

/// Writes a line of another log to syslog, and waits for that. It is not to have control characters.
pub fn line(text: &str) {
    // Fails only on a NUL.
    let _ = syslog(Priority::new(Severity::LOG_INFO, facility()), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_costs_nothing_below_its_level() {
        struct Untouchable;
        impl std::fmt::Display for Untouchable {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("formatted");
            }
        }
        debug(u32::MAX, format_args!("{Untouchable}"));
    }
}
