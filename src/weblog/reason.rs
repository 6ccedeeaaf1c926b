//! How errors of the system are worded.

use std::io;

/// What went wrong, without the number that the standard library appends to errors of the system.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) if text.ends_with(')') => text[..end].to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_left_out() {
        assert_eq!(reason(&io::Error::from_raw_os_error(libc::ENOSPC)), "No space left on device");
        assert_eq!(reason(&io::Error::other("too late (by far)")), "too late (by far)");
    }
}
