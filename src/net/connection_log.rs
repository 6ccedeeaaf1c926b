//! The connection log as used by the code that serves clients.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::core::Millis;
use crate::core::connection_line::ConnectionLine;
use crate::core::settings::ConnectionLogFormat;
use crate::weblog::LogHandle;

/// The connection log.
#[derive(Debug)]
pub struct ConnectionLog {
    /// Its writer.
    pub handle: LogHandle,
    /// The time zone, read once: a chroot jail may lack the time zone database.
    zone: TimeZone,
}

impl ConnectionLog {
    /// A log that `handle` writes.
    pub fn new(handle: LogHandle) -> Self {
        ConnectionLog { handle, zone: TimeZone::system() }
    }

    /// Whether it is enabled. Check this before preparing a line.
    pub(super) fn is_on(&self) -> bool {
        self.handle.is_on()
    }

    /// Logs a line without waiting.
    pub(super) fn log(&self, line: &ConnectionLine<'_>, format: ConnectionLogFormat) {
        self.handle.line(&line.write(format));
    }

    /// The date and time `time` ago in RFC 3339 form. The interval is measured by the monotonic clock, regardless of
    /// changes of the other one.
    pub(super) fn ago(&self, time: Millis) -> String {
        let time = SignedDuration::from_millis(i64::try_from(time).unwrap_or(i64::MAX));
        let then = Timestamp::now().saturating_sub(time).unwrap_or(Timestamp::MIN);
        then.to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
    }
}
