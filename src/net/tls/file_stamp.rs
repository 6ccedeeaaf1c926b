//! Detects changes of files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The metadata of stat(2) that changes with a file: device, inode, size, time of modification.
type FileState = Option<(u64, u64, u64, i64, i64)>;

/// The state of several files; a missing file has a state too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<FileState>);

impl Stamp {
    /// Reads the state of the files.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let state =
            |file| fs::metadata(file).ok().map(|m| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec()));
        Stamp(files.into_iter().map(state).collect())
    }

    /// Whether a change made now would be detected: not if the last one is so recent that another one may have the same
    /// time.
    pub(super) fn is_settled(&self) -> bool {
        const TICK: i64 = 2;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.0.iter().flatten().all(|(.., seconds, _)| seconds.saturating_add(TICK) <= now)
    }
}
