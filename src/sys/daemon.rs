//! Moves to the background with a meaningful exit status: the command that starts pen ends when pen serves, or fails
//! with it.
//!
//! [`detach`] forks before any thread exists. The parent waits; the child continues the start, with its standard error
//! still visible to the user (or in SMF's service log). [`Ready::release`] ends the wait with success. If the child
//! ends before that, the parent ends with the same status, after the child, so that its ports are free again.
//!
//! The working directory is not changed, as in C pen: file names in later commands (`log FILE`, `write FILE`, a HUP
//! that reads a relative `-F`) mean the same as on the command line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::error::context;
use super::inherited;
use super::listen::lock;

/// Whether this is the parent, whose sockets and files belong to the child: it must not remove them.
static STARTER: AtomicBool = AtomicBool::new(false);

/// The side of the fork that this process is on.
#[derive(Debug)]
pub enum Fork {
    /// The process that was started; pen now serves or has failed. This is its exit status.
    Parent(ExitCode),
    /// The process that will serve.
    Child(Ready),
}

/// Tells the parent that pen serves. A process that ends without [`Ready::release`] has failed to start.
#[derive(Debug)]
#[must_use = "the process that started pen waits for it"]
pub struct Ready(Option<Background>);

/// The new standard streams of the child: opened before any chroot.
#[derive(Debug)]
struct Background {
    starter: PipeWriter,
    null: File,
}

/// Moves pen to the background: a child in a new session continues, the parent waits for its [`Ready`].
///
/// Call it after every socket is bound and before any thread is started.
///
/// # Errors
/// A thread exists already, or the system refuses a pipe, a process or `/dev/null`.
pub fn detach() -> io::Result<Fork> {
    if threads().is_some_and(|count| count > 1) {
        return Err(io::Error::other("cannot go to the background: threads are running already"));
    }
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| context("/dev/null", error))?;
    let (reader, starter) = io::pipe().map_err(|error| context("pipe", error))?;
    // Buffered standard output must not be written by both processes.
    io::stdout().flush()?;
    lock::release_all();
    match fork().map_err(|error| context("fork", error))? {
        ForkResult::Parent { child } => {
            STARTER.store(true, Ordering::Relaxed);
            drop(starter);
            Ok(Fork::Parent(wait(reader, child)))
        }
        ForkResult::Child => {
            drop(reader);
            setsid().map_err(|error| context("setsid", error))?;
            inherited::close_descriptors();
            lock::claim_all().map_err(|error| context("the lock of a socket", error))?;
            Ok(Fork::Child(Ready(Some(Background { starter, null }))))
        }
    }
}

impl Ready {
    /// For `-f`: no parent waits, and the standard streams are kept.
    pub fn foreground() -> Self {
        Self(None)
    }

    /// Pen serves: the standard streams become `/dev/null` and the parent ends with success.
    ///
    /// # Errors
    /// The parent is gone (interrupted while it waited), which cancels the start: pen should end.
    pub fn release(self) -> io::Result<()> {
        let Some(Background { mut starter, null }) = self.0 else { return Ok(()) };
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        starter.write_all(b"1").map_err(|error| context("the command that started pen is gone", error))
    }

    /// Pen cannot serve: prints why to standard error, and returns the exit status. The parent ends with the same
    /// status after this process.
    pub fn fail(self, why: impl std::fmt::Display) -> ExitCode {
        // If standard error is closed, the failure is the same.
        let _ = writeln!(io::stderr(), "pen: {why}");
        ExitCode::FAILURE
    }
}

/// Whether this process only waited for the one that serves, and which still uses the files that this one drops.
pub(super) fn is_starter() -> bool {
    STARTER.load(Ordering::Relaxed)
}

/// Waits until the child reports that it serves, or ends. Returns the exit status.
fn wait(mut reader: PipeReader, child: Pid) -> ExitCode {
    let mut word = [0];
    if reader.read_exact(&mut word).is_ok() {
        return ExitCode::SUCCESS;
    }
    let status = loop {
        match waitpid(child, None) {
            Err(nix::Error::EINTR) => {}
            other => break other,
        }
    };
    match status {
        // The child has reported its error.
        Ok(WaitStatus::Exited(_, code)) if code != 0 => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            let _ =
                writeln!(io::stderr(), "pen: the background process was ended by {signal} before it served");
            ExitCode::FAILURE
        }
        _ => {
            let _ = writeln!(io::stderr(), "pen: the background process ended before it served");
            ExitCode::FAILURE
        }
    }
}

/// The number of threads of this process, where the system provides it (Linux: `task`; Solaris: `lwp`, see proc(4)).
fn threads() -> Option<usize> {
    ["/proc/self/task", "/proc/self/lwp"]
        .iter()
        .find_map(|directory| fs::read_dir(directory).ok())
        .map(Iterator::count)
}

#[allow(unsafe_code, reason = "fork(2) has no safe wrapper")]
fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the child of a process with several threads may only use async-signal-safe functions. `detach`, the only
    // caller, has checked that there is only one thread, so the child is a complete copy without restrictions.
    unsafe { nix::unistd::fork() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_to_fork_beside_other_threads() {
        // The test harness runs this test in its own thread.
        let error = detach().expect_err("a fork here would be unsound");
        assert!(error.to_string().contains("threads"), "{error}");
    }

    #[test]
    fn in_the_foreground_nobody_waits() {
        Ready::foreground().release().expect("nothing to do");
    }
}
