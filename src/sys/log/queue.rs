//! The bounded queue between the threads that log messages and the thread that writes them.

use std::collections::VecDeque;
use std::fmt::Arguments;
use std::io;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use nix::syslog::Severity;

/// The maximum number of waiting messages; about 400 KiB at a hundred bytes each.
const MOST: usize = 4096;

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) severity: Severity,
    pub(super) time: Timestamp,
    text: String,
    /// Its line ends are its own, and it quotes nothing.
    has_lines: bool,
}

impl Message {
    pub(super) fn new(severity: Severity, text: Arguments<'_>) -> Self {
        Self { severity, time: Timestamp::now(), text: text.to_string(), has_lines: false }
    }

    /// A message whose line ends are its own.
    pub(super) fn of_lines(severity: Severity, text: Arguments<'_>) -> Self {
        Self { has_lines: true, ..Self::new(severity, text) }
    }

    /// Its lines, one unless it [has its own](Message::of_lines), with control characters as `\xhh`: what it quotes, such as the name of
    /// a file, can neither forge another line nor control a terminal.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let has_lines = self.has_lines;
        self.text.trim_end_matches(['\r', '\n']).split(move |c| has_lines && c == '\n').map(escaped)
    }
}

fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                line += &format!("\\x{byte:02x}");
            }
        } else {
            line.push(c);
        }
    }
    line
}

/// The queue; before [`MessageQueue::start`] it accepts no message.
pub(super) struct MessageQueue {
    state: Mutex<MessageQueueState>,
    /// Signals that there is something to write.
    work: Condvar,
    /// Signals that everything is written.
    idle: Condvar,
}

struct MessageQueueState {
    started: bool,
    waiting: VecDeque<Message>,
    lost: u64,
    writing: bool,
}

impl MessageQueue {
    pub(super) const fn new() -> Self {
        let state = MessageQueueState { started: false, waiting: VecDeque::new(), lost: 0, writing: false };
        Self { state: Mutex::new(state), work: Condvar::new(), idle: Condvar::new() }
    }

    /// Starts the thread that passes each message to `write`; if there is one already, it is kept.
    pub(super) fn start(&'static self, write: impl FnMut(&Message) + Send + 'static) -> io::Result<()> {
        let mut state = self.state();
        if !state.started {
            thread::Builder::new().name("log".to_owned()).spawn(move || self.run(write))?;
            state.started = true;
        }
        Ok(())
    }

    /// Queues a message, or counts it when the queue is full. Returns it if the writer thread has not been started.
    pub(super) fn push(&self, message: Message) -> Result<(), Message> {
        let mut state = self.state();
        if !state.started {
            return Err(message);
        }
        if state.waiting.len() < MOST {
            state.waiting.push_back(message);
        } else {
            state.lost += 1;
        }
        self.work.notify_one();
        Ok(())
    }

    /// Waits until all is written or `patience` is over.
    pub(super) fn flush(&self, patience: Duration) {
        let busy =
            |state: &mut MessageQueueState| state.writing || !state.waiting.is_empty() || state.lost > 0;
        let state = self.state();
        // A timeout and an empty queue have the same result.
        drop(self.idle.wait_timeout_while(state, patience, busy));
    }

    fn run(&self, mut write: impl FnMut(&Message)) {
        loop {
            let (messages, lost) = self.next();
            messages.iter().for_each(&mut write);
            if lost > 0 {
                write(&Message::new(
                    Severity::LOG_WARNING,
                    format_args!("{lost} messages were lost: too many at once"),
                ));
            }
        }
    }

    /// Waits for something to write.
    fn next(&self) -> (VecDeque<Message>, u64) {
        let mut state = self.state();
        state.writing = false;
        while state.waiting.is_empty() && state.lost == 0 {
            self.idle.notify_all();
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writing = true;
        (mem::take(&mut state.waiting), mem::take(&mut state.lost))
    }

    fn state(&self) -> MutexGuard<'_, MessageQueueState> {
        // No code that holds this lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn message(text: &str) -> Message {
        Message::new(Severity::LOG_INFO, format_args!("{text}"))
    }

    fn queue() -> &'static MessageQueue {
        Box::leak(Box::new(MessageQueue::new()))
    }

    #[test]
    fn takes_nothing_before_the_start() {
        assert!(queue().push(message("early")).is_err());
    }

    #[test]
    fn writes_in_order_and_flush_waits_for_all() {
        let queue = queue();
        let (sender, written) = mpsc::channel();
        queue.start(move |m| sender.send(m.text.clone()).expect("test listens")).expect("thread");
        for number in 0..100 {
            queue.push(message(&number.to_string())).expect("started");
        }
        queue.flush(LONG);
        let texts: Vec<String> = written.try_iter().collect();
        assert_eq!(texts, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn counts_what_finds_no_room_and_never_blocks() {
        let queue = queue();
        let (open, gate) = mpsc::channel::<()>();
        let (sender, written) = mpsc::channel();
        queue
            .start(move |m| {
                sender.send(m.text.clone()).expect("test listens");
                let _ = gate.recv();
            })
            .expect("thread");
        queue.push(message("first")).expect("started");
        assert_eq!(written.recv_timeout(LONG).expect("written"), "first");
        for _ in 0..MOST + 7 {
            queue.push(message("more")).expect("counted"); // The writer is blocked all the while.
        }
        queue.flush(Duration::ZERO); // Gives up because the writer is blocked.
        drop(open);
        queue.flush(LONG);
        let texts: Vec<String> = written.try_iter().collect();
        assert_eq!(texts.len(), MOST + 1);
        assert_eq!(texts.last().map(String::as_str), Some("7 messages were lost: too many at once"));
    }

    #[test]
    fn lines_play_no_tricks() {
        let text = "one\ttwo\x1b[2J\0\r\n2026-11-26 00:00:00: forged\u{9b}\n";
        let one = "one\ttwo\\x1b[2J\\x00\\x0d\\x0a2026-11-26 00:00:00: forged\\xc2\\x9b";
        assert_eq!(message(text).lines().collect::<Vec<_>>(), [one]);
        let message = Message::of_lines(Severity::LOG_INFO, format_args!("head\n 00\x1b\n 01\n"));
        assert_eq!(message.lines().collect::<Vec<_>>(), ["head", " 00\\x1b", " 01"]);
    }
}
