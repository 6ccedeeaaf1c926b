//! Going to the background with a true exit status: the command that starts pen ends when pen serves, or fails with it.
//!
//! [`detach`] forks before any thread exists. The parent waits; the child goes on starting with its standard error
//! still where the user (or SMF's service log) reads it. [`Ready::release`] ends the wait with success. When the child
//! ends before that, the parent ends with the same status, and only once the child is gone: its ports are free again.
//!
//! The working directory stays as it is, as in C pen: file names that come later (`log FILE`, `write FILE`, a HUP that
//! reads a relative `-F`) mean what they meant on the command line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::error::context;
use super::inherited;
use super::listen::lock;

/// Whether this is the parent, whose sockets and files belong to the child: it must not clean them up.
static STARTER: AtomicBool = AtomicBool::new(false);

/// Which side of the fork this process is on.
#[derive(Debug)]
pub enum Fork {
    /// The process that was started, once pen serves or has failed; this is the status to end with.
    Parent(ExitCode),
    /// The process that is going to serve.
    Child(Ready),
}

/// Tells the parent that pen serves. A process that ends without [`Ready::release`] has failed to start.
#[derive(Debug)]
#[must_use = "the process that started pen waits for it"]
pub struct Ready(Option<Background>);

/// What replaces the standard streams of the child: opened before any chroot.
#[derive(Debug)]
struct Background {
    starter: PipeWriter,
    null: File,
}

/// Puts pen in the background: a child in a session of its own goes on, the parent waits for its [`Ready`].
///
/// Call it after every socket is bound and before any thread is started.
///
/// # Errors
/// When a thread exists already, and when the system refuses a pipe, a process or `/dev/null`.
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
    // What is in the buffer of the standard output must not be written by both sides.
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
    /// For `-f`: nobody waits, and the standard streams stay.
    pub fn foreground() -> Self {
        Self(None)
    }

    /// Pen serves: the standard streams become `/dev/null` and the parent ends with success.
    ///
    /// # Errors
    /// When the parent is gone (interrupted while it waited), which cancels the start: pen should end.
    pub fn release(self) -> io::Result<()> {
        let Some(Background { mut starter, null }) = self.0 else { return Ok(()) };
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        starter.write_all(b"1").map_err(|error| context("the command that started pen is gone", error))
    }

    /// Pen cannot serve: says why on the standard error, and gives the status to end with. The parent ends with the
    /// same one when this process has ended.
    pub fn fail(self, why: impl std::fmt::Display) -> ExitCode {
        // A closed standard error is no reason to fail differently.
        let _ = writeln!(io::stderr(), "pen: {why}");
        ExitCode::FAILURE
    }
}

/// Whether this process has only waited for the one that serves, which still uses what this one drops.
pub(super) fn is_starter() -> bool {
    STARTER.load(Ordering::Relaxed)
}

/// Waits until the child says that it serves or has ended; the status to end with.
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

/// How many threads this process has, where the system tells (Linux: `task`; Solaris: `lwp`, see proc(4)).
fn threads() -> Option<usize> {
    ["/proc/self/task", "/proc/self/lwp"]
        .iter()
        .find_map(|directory| fs::read_dir(directory).ok())
        .map(Iterator::count)
}

#[allow(unsafe_code, reason = "fork(2) has no safe form")]
fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the child of a process with several threads may use only what is safe in a signal handler. `detach`, the
    // only caller, has refused when there is a second thread, so the child is a whole copy and may do anything.
    unsafe { nix::unistd::fork() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_to_fork_beside_other_threads() {
        // The harness runs this test in a thread of its own.
        let error = detach().expect_err("a fork here would be unsound");
        assert!(error.to_string().contains("threads"), "{error}");
    }

    #[test]
    fn in_the_foreground_nobody_waits() {
        Ready::foreground().release().expect("nothing to do");
    }
}
