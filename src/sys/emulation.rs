//! Emulates other systems on Linux, so that one build tests all variants.
//!
//! The environment variable `PEN_PORTABLE`, read once, selects the system: `1` is one that has only POSIX; `oneshot`
//! also has event ports that report one event of a descriptor and then forget it.

use std::sync::LazyLock;

static WANTED: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var("PEN_PORTABLE").ok().filter(|_| cfg!(target_os = "linux")));

/// Whether pen must do without features that other systems lack. Always false except on Linux: there the features of
/// the system are used.
pub(super) fn is_portable() -> bool {
    matches!(WANTED.as_deref(), Some("1" | "oneshot"))
}

/// Whether event ports report one event of a descriptor and then forget it, as those of Oracle Solaris do. illumos has
/// epoll(7).
pub(super) fn is_one_shot() -> bool {
    cfg!(target_os = "solaris") || WANTED.as_deref() == Some("oneshot")
}
