//! The output of a log writer: a file, standard output, penlogd or syslog.

use std::fs::File;
use std::io::{self, BufRead as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use memchr::memrchr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::core::error::SystemReason;
use crate::sys::{atomic_file, log};

use super::fault_reporter::FaultReporter;
use super::syslog::SyslogSender;
use super::target::SinkTarget;
use super::udp::UdpSender;

/// What a pipe that has room takes without a wait: a page on Linux, and on the others as much as it takes at once (PIPE_BUF).
const PART: usize = 4096;

/// How long a write waits for a reader before other work is done.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// An open target.
#[derive(Debug)]
pub struct SinkOutput {
    target: SinkTarget,
    to: LogDestination,
    /// Whether the last attempt to write has failed; not if the target merely took less than it was to.
    failed: bool,
}

#[derive(Debug)]
enum LogDestination {
    File {
        file: File,
        /// Whether the last write ended within a line.
        mid_line: bool,
        /// Whether a write would wait for a reader: on standard output, whose mode other processes share.
        waits: bool,
    },
    Udp(Box<UdpSender>),
    Syslog,
    SyslogServer(Box<SyslogSender>),
}

/// Opens a log file for appending, creating it if necessary. Never waits (a FIFO without a reader is an error).
///
/// # Errors
/// See [`atomic_file::open_for_appending`].
fn open_file(path: &Path) -> io::Result<File> {
    atomic_file::open_for_appending(path)
}

/// Whether a file takes [`PART`] bytes without a wait, now or within a moment.
fn is_writable(file: &File) -> bool {
    let mut polled = [PollFd::new(file, PollFlags::OUT)];
    match poll(&mut polled, Some(&MOMENT)) {
        Ok(ready) => ready > 0,
        Err(Errno::INTR) => false,
        // The write tells more.
        Err(_) => true,
    }
}

/// What is written of `lines` at a time: whole ones, so that what others write to the same pipe is not mixed with them, unless one
/// is longer than a part.
fn whole_lines(lines: &[u8]) -> &[u8] {
    let part = &lines[..lines.len().min(PART)];
    memrchr(b'\n', part).map_or(part, |end| &part[..=end])
}

impl SinkOutput {
    /// Opens a target. A host name is resolved when the first line is written.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(target: SinkTarget) -> io::Result<SinkOutput> {
        let file = |file| LogDestination::File { file, mid_line: false, waits: false };
        let to = match &target {
            SinkTarget::File(path) => file(open_file(path)?),
            SinkTarget::Stdout => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                let waits = !file.metadata()?.is_file();
                LogDestination::File { file, mid_line: false, waits }
            }
            SinkTarget::Udp { source, .. } => LogDestination::Udp(Box::new(UdpSender::new(*source))),
            SinkTarget::Syslog => LogDestination::Syslog,
            SinkTarget::SyslogServer { transport, .. } => {
                LogDestination::SyslogServer(Box::new(SyslogSender::new(*transport)))
            }
        };
        Ok(SinkOutput { target, to, failed: false })
    }

    /// Where it writes to.
    pub(super) fn target(&self) -> &SinkTarget {
        &self.target
    }

    /// Whether lines should be collected rather than written one by one.
    pub(super) fn lingers(&self) -> bool {
        matches!(self.to, LogDestination::File { .. })
    }

    /// Whether the last attempt to write has failed, so that another is unlikely to succeed soon.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The next attempt is the last one: it is made at once, and must not take long.
    pub(super) fn expect_the_end(&mut self) {
        if let LogDestination::SyslogServer(sender) = &mut self.to {
            sender.expect_the_end();
        }
    }

    /// Writes whole lines; returns how many bytes are handled. Fewer than all mean a full disk: try again later.
    pub(super) fn write(&mut self, lines: &[u8], faults: &mut FaultReporter) -> usize {
        match &mut self.to {
            LogDestination::File { file, mid_line, waits } => {
                let mut done = 0;
                while done < lines.len() {
                    self.failed = false;
                    let mut part = &lines[done..];
                    if *waits {
                        if !is_writable(file) {
                            break;
                        }
                        part = whole_lines(part);
                    }
                    match file.write(part) {
                        Ok(n) if n > 0 => {
                            done += n;
                            *mid_line = lines[done - 1] != b'\n';
                            faults.works(&self.target);
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Ok(_) => break,
                        Err(error) => {
                            let why = SystemReason(&error);
                            faults.failed(format_args!("cannot write log {}: {why}", self.target));
                            self.failed = true;
                            break;
                        }
                    }
                }
                done
            }
            LogDestination::Udp(sender) => {
                sender.send_lines(lines, &self.target, faults);
                lines.len()
            }
            LogDestination::Syslog => {
                lines.lines().map_while(Result::ok).for_each(|line| log::line(&line));
                lines.len()
            }
            LogDestination::SyslogServer(sender) => {
                let done = sender.send_lines(lines, &self.target, faults);
                self.failed = done < lines.len();
                done
            }
        }
    }

    /// Reopens a file by its name. True if that opened another file and the old one ends within a line.
    pub(super) fn reopen(&mut self, faults: &mut FaultReporter) -> bool {
        let (SinkTarget::File(path), LogDestination::File { file, mid_line, .. }) =
            (&self.target, &mut self.to)
        else {
            return false;
        };
        match open_file(path) {
            Ok(new) => {
                let id = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).ok();
                let same = id(&new) == id(file);
                *file = new;
                !same && std::mem::take(mid_line)
            }
            Err(error) => {
                let (path, why) = (path.display(), SystemReason(&error));
                faults.say(&format!("cannot reopen log {path}: {why}; writing goes on to the old file"));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _, pipe};
    use std::os::fd::OwnedFd;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::super::{LogHandle, SinkOptions};
    use super::*;

    /// As for standard output, a pipe whose writes wait, and the end that is read.
    fn piped() -> (SinkOutput, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        let file = OwnedFd::from(writer).into();
        let to = LogDestination::File { file, mid_line: false, waits: true };
        (SinkOutput { target: SinkTarget::Stdout, to, failed: false }, reader)
    }

    fn lines() -> Vec<u8> {
        (0..20_000).flat_map(|n| format!("{n:099}\n").into_bytes()).collect()
    }

    #[test]
    fn standard_output_that_nobody_reads_holds_the_end_up_for_a_moment_only() {
        let (output, mut reader) = piped();
        let log = LogHandle::start(SinkOptions::default(), Box::new(|_| {})).unwrap();
        log.put(Some(output));
        log.line(&lines());
        let begun = Instant::now();
        assert_eq!(log.close(Duration::from_secs(20)), Ok(()));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        // What was written ends with a line.
        let (mut text, all) = (Vec::new(), lines());
        drop(log);
        reader.read_to_end(&mut text).unwrap();
        assert!(!text.is_empty() && text.len() < all.len());
        assert!(all.starts_with(&text) && text.ends_with(b"\n"));
    }

    #[test]
    fn a_reader_of_standard_output_gets_every_byte() {
        let (mut output, mut reader) = piped();
        let reading = thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).unwrap();
            text
        });
        let (mut faults, all) = (FaultReporter::new(Box::new(|_| {})), lines());
        // A line that is longer than what is written at a time is cut, and nothing of it is lost.
        let all = [&all[..], &[b'x'; 100_000], b"\n"].concat();
        let mut done = 0;
        while done < all.len() {
            done += output.write(&all[done..], &mut faults);
        }
        drop(output);
        assert!(reading.join().unwrap() == all, "bytes are lost, doubled or mixed up");
    }
}
