//! How a peer says that it sends no more.

/// Types of records (RFC 8446 5.1).
const ALERT: u8 = 21;
const DATA: u8 = 23;
/// The length of an alert that TLS 1.3 has encrypted: two bytes, their type, and 16 that protect them.
const ENCRYPTED: usize = 2 + 1 + 16;

/// Whether `bytes`, which follow a handshake, are one alert and nothing more. TLS 1.3 hides which messages are alerts: the last
/// one of that length, of a peer that `has_closed`, is.
pub(in crate::net) fn is_farewell(bytes: &[u8], has_closed: bool) -> bool {
    let &[kind, _, _, high, low, ref body @ ..] = bytes else { return false };
    let is_whole = body.len() == usize::from(u16::from_be_bytes([high, low]));
    is_whole && (kind == ALERT || (kind == DATA && has_closed && body.len() == ENCRYPTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_alone_is_a_farewell() {
        let record = |kind: u8, length: u8| [&[kind, 3, 3, 0, length], &vec![0; length.into()][..]].concat();
        assert!(is_farewell(&record(ALERT, 26), false));
        assert!(is_farewell(&record(DATA, 19), true));
        // It may be data of two bytes.
        assert!(!is_farewell(&record(DATA, 19), false));
        assert!(!is_farewell(&record(DATA, 20), true));
        assert!(!is_farewell(&[record(DATA, 19), record(DATA, 19)].concat(), true));
        assert!(!is_farewell(&record(ALERT, 26)[..20], false));
        assert!(!is_farewell(b"", true));
    }
}
