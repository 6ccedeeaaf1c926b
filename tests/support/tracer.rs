//! A process under strace(1), which makes its system calls slow or lets them fail.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::sys::signal::Signal;

use super::{Pen, process};

/// Lets go of the process when dropped.
pub(crate) struct Tracer {
    strace: Child,
    /// Read no further, but open: without a reader the tracer would end at its next message.
    _messages: BufReader<ChildStderr>,
}

impl Tracer {
    /// With options of strace; every thread is traced when it returns. `None` where there is no strace.
    #[track_caller]
    pub(crate) fn of(pen: &Pen, options: &[&str]) -> Option<Tracer> {
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &pen.pid().to_string(), "-o", "/dev/null"])
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut messages = BufReader::new(strace.stderr.take().expect("stderr"));
        // The threads are attached to one by one, and this is said after the last one. What the system tells of a
        // thread can be asked before that.
        let mut said = String::new();
        while !said.contains(" attached") {
            let length = messages.read_line(&mut said).expect("the tracer's messages");
            assert!(length > 0, "strace ended: {said}");
        }
        Some(Tracer { strace, _messages: messages })
    }

    /// Calls of one name are changed as `inject` says, in the words of strace(1).
    #[track_caller]
    pub(crate) fn injecting(pen: &Pen, call: &str, inject: &str) -> Option<Tracer> {
        Tracer::of(pen, &["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{inject}")])
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        process::signal(i32::try_from(self.strace.id()).unwrap(), Signal::SIGTERM);
        self.strace.wait().unwrap();
    }
}
