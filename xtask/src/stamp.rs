//! The time stamp of everything in the package, so that the same sources produce the same bytes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::Result;

/// A time in seconds since 1970.
pub(crate) struct Stamp {
    seconds: u32,
}

impl Stamp {
    /// `SOURCE_DATE_EPOCH` if it is set, as reproducible-builds.org defines it; otherwise the time of the last commit;
    /// otherwise now.
    pub(crate) fn now(top: &Path) -> Result<Self> {
        let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => text.parse().map_err(|_| {
                format!("SOURCE_DATE_EPOCH is `{text}', not seconds since 1970 (0 to {})", u32::MAX)
            })?,
            Err(_) => match last_commit(top) {
                Some(seconds) => seconds,
                None => u32::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_secs())?,
            },
        };
        Ok(Self { seconds })
    }

    pub(crate) fn seconds(&self) -> u32 {
        self.seconds
    }

    pub(crate) fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds.into())
    }

    /// The time in UTC, in a format of strftime(3C).
    pub(crate) fn format(&self, format: &str) -> Result<String> {
        Ok(jiff::fmt::strtime::format(format, jiff::Timestamp::from_second(self.seconds.into())?)?)
    }
}

fn last_commit(top: &Path) -> Option<u32> {
    let git = Command::new("git").current_dir(top).args(["log", "-1", "--format=%ct"]).output().ok()?;
    String::from_utf8(git.stdout).ok()?.trim().parse().ok()
}
