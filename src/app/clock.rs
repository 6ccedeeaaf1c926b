//! The date and time that reports show.

/// Local date and time, as `2026-11-22 18:48:25`.
pub(super) fn local_time() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}
