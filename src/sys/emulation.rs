//! Behaving, on Linux, as on another system, so that one build tests both.
//!
//! The environment variable `PEN_PORTABLE`, read once, says as which: `1` as on a system that has only POSIX, `oneshot` as
//! on one whose event ports report one event of a descriptor and then forget it, too.

use std::sync::LazyLock;

static WANTED: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var("PEN_PORTABLE").ok().filter(|_| cfg!(target_os = "linux")));

/// Whether pen is to do without what this system has and others have not. Elsewhere than on Linux, never: what a system has
/// is used.
pub(super) fn is_portable() -> bool {
    matches!(WANTED.as_deref(), Some("1" | "oneshot"))
}

/// Whether event ports report one event of a descriptor and then forget it: those of Oracle Solaris. illumos has epoll(7).
pub(super) fn is_one_shot() -> bool {
    cfg!(target_os = "solaris") || WANTED.as_deref() == Some("oneshot")
}
