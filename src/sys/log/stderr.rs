//! Messages on standard error, with what whoever reads them does not add by itself.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use jiff::tz::TimeZone;
use rustix::fs::{FileType, fstat};

use super::queue::Message;

/// How a line begins.
#[derive(Debug)]
pub(super) enum Prefix {
    /// With the local time.
    Time(TimeZone),
    /// With the priority, as the journal of systemd takes it from standard error; it adds the time (sd-daemon(3)).
    Priority,
    /// With nothing: who reads from a pipe adds the time, as far as it is wanted.
    Nothing,
}

impl Prefix {
    /// The one for standard error as it is now.
    pub(super) fn of_stderr() -> Self {
        // systemd.exec(5): the device and inode of the stream that is connected to the journal.
        let journal = std::env::var("JOURNAL_STREAM").ok();
        match fstat(io::stderr().as_fd()) {
            Ok(stat) if journal == Some(format!("{}:{}", stat.st_dev, stat.st_ino)) => Prefix::Priority,
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo => Prefix::Nothing,
            // Read once: a chroot jail may lack the time zone database.
            _ => Prefix::Time(TimeZone::system()),
        }
    }

    /// Writes a message.
    pub(super) fn write(&self, message: &Message) {
        for line in message.lines() {
            // An error here could not be reported anywhere.
            let _ = match self {
                Prefix::Time(zone) => {
                    let time = message.time.to_zoned(zone.clone());
                    writeln!(io::stderr(), "{}: {line}", time.strftime("%Y-%m-%d %H:%M:%S"))
                }
                Prefix::Priority => writeln!(io::stderr(), "<{}>{line}", message.severity as i32),
                Prefix::Nothing => writeln!(io::stderr(), "{line}"),
            };
        }
    }
}
