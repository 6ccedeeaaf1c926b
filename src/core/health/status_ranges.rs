//! The HTTP status codes that count as success.

use crate::core::Error;

/// A list of accepted status codes and ranges of them, such as `200-299,301`; an empty one means 200 to 399.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatusRanges<'a>(&'a [u8]);

impl<'a> StatusRanges<'a> {
    /// The list with this text, which need not be valid.
    pub(super) fn new(text: &'a [u8]) -> Self {
        StatusRanges(text)
    }

    /// Whether it is a valid list.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn valid(self) -> Result<(), Error> {
        if self.0.is_empty() || self.ranges().all(|range| range.is_some()) {
            return Ok(());
        }
        Err(Error::expected("status codes such as 200-299,301", String::from_utf8_lossy(self.0).into_owned()))
    }

    /// Whether this status is accepted.
    pub(super) fn contains(self, status: u16) -> bool {
        match self.0 {
            [] => (200..=399).contains(&status),
            _ => self.ranges().flatten().any(|(first, last)| (first..=last).contains(&status)),
        }
    }

    /// The ranges; `None` for each that is none.
    fn ranges(self) -> impl Iterator<Item = Option<(u16, u16)>> {
        let code = |text: &str| text.parse().ok().filter(|code| (100..=599).contains(code));
        self.0.split(|byte| *byte == b',').map(move |part| {
            let part = std::str::from_utf8(part).ok()?;
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((code(first)?, code(last)?)).filter(|(first, last)| first <= last)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_status_codes() {
        let ranges = StatusRanges::new(b"200-299,301");
        ranges.valid().unwrap();
        assert_eq!(
            [199, 200, 299, 300, 301, 302].map(|n| ranges.contains(n)),
            [false, true, true, false, true, false]
        );
        let any = StatusRanges::new(b"");
        any.valid().unwrap();
        assert_eq!([199, 200, 399, 400].map(|n| any.contains(n)), [false, true, true, false]);
        for bad in ["x", "200-", "-", "299-200", "99", "200,,300", "600", ","] {
            assert!(StatusRanges::new(bad.as_bytes()).valid().is_err(), "{bad}");
        }
    }
}
