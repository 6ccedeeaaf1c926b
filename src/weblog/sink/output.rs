//! The output of a log writer: a file, standard output, penlogd or syslog.

use std::fs::File;
use std::io::{self, BufRead as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::core::error::SystemReason;
use crate::sys::{atomic_file, log};

use super::fault_reporter::FaultReporter;
use super::syslog::SyslogSender;
use super::target::SinkTarget;
use super::udp::UdpSender;

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

impl SinkOutput {
    /// Opens a target. A host name is resolved when the first line is written.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(target: SinkTarget) -> io::Result<SinkOutput> {
        let file = |file| LogDestination::File { file, mid_line: false };
        let to = match &target {
            SinkTarget::File(path) => file(open_file(path)?),
            SinkTarget::Stdout => file(io::stdout().as_fd().try_clone_to_owned()?.into()),
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
            LogDestination::File { file, mid_line } => {
                let mut done = 0;
                while done < lines.len() {
                    self.failed = false;
                    match file.write(&lines[done..]) {
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
        let (SinkTarget::File(path), LogDestination::File { file, mid_line }) = (&self.target, &mut self.to)
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
