//! The log functions and the targets of messages.

use std::ffi::CStr;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::tz::TimeZone;
use nix::syslog::{Facility, Priority, Severity, syslog};

use super::queue::{Message, Queue};

/// The target of messages once pen serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Standard error, each line with its local time: `-f`.
    Stderr,
    /// The system's log, facility user.
    Syslog,
}

static QUEUE: Queue = Queue::new();
static PROGRAM: OnceLock<&CStr> = OnceLock::new();
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

/// The debug level: how often `-d` was given, or what the command `debug N` has set.
pub fn debug_level() -> u32 {
    DEBUG.load(Ordering::Relaxed)
}

/// Sets the debug level; 0 is none.
pub fn set_debug_level(level: u32) {
    DEBUG.store(level, Ordering::Relaxed);
}

/// Sets the program name for messages, if it is not pen. Call it before anything else.
pub fn set_program(name: &'static CStr) {
    // If it is set twice, the first name is kept.
    let _ = PROGRAM.set(name);
}

fn program() -> &'static CStr {
    PROGRAM.get().copied().unwrap_or(c"pen")
}

/// Connects to the system's log. Call it before a chroot, where the connection is impossible.
#[allow(unsafe_code, reason = "nix's openlog keeps a dangling name on Solaris")]
pub fn connect() {
    // SAFETY: openlog(3) keeps the pointer to the name, which is a constant of the program (`'static`).
    unsafe { libc::openlog(program().as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, libc::LOG_USER) }
}

/// Starts the thread that writes messages. Call it once, after [`detach`](crate::sys::daemon::detach).
///
/// # Errors
/// The system cannot create a thread. Messages then still go to standard error.
pub fn start(target: Target) -> io::Result<()> {
    match target {
        Target::Stderr => {
            // Read once: a chroot jail may lack the time zone database.
            let zone = TimeZone::system();
            QUEUE.start(move |message| to_stderr(message, &zone))
        }
        Target::Syslog => QUEUE.start(to_syslog),
    }
}

/// Waits until all messages so far are written, but no longer than `patience`: for the shutdown.
pub fn flush(patience: Duration) {
    QUEUE.flush(patience);
}

fn emit(severity: Severity, text: Arguments<'_>) {
    if let Err(message) = QUEUE.push(Message::new(severity, text)) {
        for line in message.lines() {
            // An error here could not be reported anywhere.
            let _ = writeln!(io::stderr(), "{}: {line}", program().to_string_lossy());
        }
    }
}

fn to_stderr(message: &Message, zone: &TimeZone) {
    let time = message.time.to_zoned(zone.clone());
    for line in message.lines() {
        let _ = writeln!(io::stderr(), "{}: {line}", time.strftime("%Y-%m-%d %H:%M:%S"));
    }
}

fn to_syslog(message: &Message) {
    for line in message.lines() {
        // Fails only on a NUL, which `lines` has replaced.
        let _ = syslog(Priority::new(message.severity, Facility::LOG_USER), line.as_str());
    }
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
