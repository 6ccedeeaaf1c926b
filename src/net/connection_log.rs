//! The connection log, as those who serve clients write to it.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::core::Millis;
use crate::core::connection_line::ConnectionLine;
use crate::core::settings::ConnectionLogFormat;
use crate::weblog::LogHandle;

/// The connection log.
#[derive(Debug)]
pub struct ConnectionLog {
    /// Who writes it.
    pub handle: LogHandle,
    /// The zone of its times, read once: there may be none in a chroot.
    zone: TimeZone,
}

impl ConnectionLog {
    /// A log that `handle` writes.
    pub fn new(handle: LogHandle) -> Self {
        ConnectionLog { handle, zone: TimeZone::system() }
    }

    /// Whether there is one. Ask before preparing a line.
    pub(super) fn is_on(&self) -> bool {
        self.handle.is_on()
    }

    /// Logs a line; never waits for that.
    pub(super) fn log(&self, line: &ConnectionLine<'_>, format: ConnectionLogFormat) {
        self.handle.line(&line.write(format));
    }

    /// The date and time of so long ago, as RFC 3339 has it. The monotonic clock has measured that, however the other one was
    /// set since.
    pub(super) fn ago(&self, time: Millis) -> String {
        let time = SignedDuration::from_millis(i64::try_from(time).unwrap_or(i64::MAX));
        let then = Timestamp::now().saturating_sub(time).unwrap_or(Timestamp::MIN);
        then.to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
    }
}
