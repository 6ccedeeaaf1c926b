//! The HTTP status codes that count as success.

use crate::core::Error;

/// Ranges of accepted status codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatusRanges(Vec<(u16, u16)>);

impl StatusRanges {
    /// Parses a list such as `200-299,301`; an empty list means 200 to 399.
    ///
    /// # Errors
    /// It is not such a list.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(StatusRanges(vec![(200, 399)]));
        }
        let text = String::from_utf8_lossy(text);
        let code = |text: &str| text.parse().ok().filter(|code| (100..=599).contains(code));
        let range = |part: &str| match part.split_once('-') {
            Some((first, last)) => Some((code(first)?, code(last)?)).filter(|(first, last)| first <= last),
            None => code(part).map(|code| (code, code)),
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        let expected = "status codes such as 200-299,301";
        ranges.map(StatusRanges).ok_or_else(|| Error::expected(expected, text.to_string()))
    }

    /// Whether this status is accepted.
    pub(super) fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_status_codes() {
        let ranges = StatusRanges::parse(b"200-299,301").unwrap();
        assert_eq!(
            [199, 200, 299, 300, 301, 302].map(|n| ranges.contains(n)),
            [false, true, true, false, true, false]
        );
        for bad in ["x", "200-", "-", "299-200", "99", "200,,300", "600", ","] {
            assert!(StatusRanges::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
