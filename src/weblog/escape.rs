//! Escapes control characters, so that what a client or a datagram says cannot affect the terminal of a reader of the log.

use std::io::Write as _;

/// Appends a line with every control character as `\xHH`, byte by byte: those of ASCII, those that Unicode adds (U+0080
/// to U+009F, in UTF-8), and the same codes of 8-bit character sets where the bytes are not UTF-8.
pub(super) fn push_escaped(line: &[u8], out: &mut Vec<u8>) {
    push_escaped_except("", line, out);
}

/// The same, but the characters of `kept` stay.
pub(super) fn push_escaped_except(kept: &str, line: &[u8], out: &mut Vec<u8>) {
    if line.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return out.extend_from_slice(line);
    }
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            if character.is_control() && !kept.contains(character) {
                push_hex(bytes, out)
            } else {
                out.extend_from_slice(bytes)
            }
        }
        for &byte in chunk.invalid() {
            if (0x80..0xa0).contains(&byte) { push_hex(&[byte], out) } else { out.push(byte) }
        }
    }
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(line: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_escaped(line, &mut out);
        out
    }

    #[test]
    fn control_characters_of_every_set() {
        assert_eq!(escaped(b"\x1b[2J\x07\t\x00\x7f\r"), br"\x1b[2J\x07\x09\x00\x7f\x0d");
        assert_eq!(escaped("\u{9b}2J \u{e9}".as_bytes()), "\\xc2\\x9b2J \u{e9}".as_bytes());
        assert_eq!(escaped(b"\x9b2J \xe9 \xe2\x82"), b"\\x9b2J \xe9 \xe2\\x82");
        assert_eq!(escaped(br#"GET /\x22 \" HTTP/1.0"#), br#"GET /\x22 \" HTTP/1.0"#);
    }

    proptest! {
        #[test]
        fn nothing_controls_a_terminal(line: Vec<u8>) {
            let out = escaped(&line);
            let is_plain = |c: char| !c.is_control();
            prop_assert!(out.utf8_chunks().all(|chunk| chunk.valid().chars().all(is_plain)));
            let is_c1 = |byte: &u8| (0x80..0xa0).contains(byte);
            prop_assert!(!out.utf8_chunks().any(|chunk| chunk.invalid().iter().any(is_c1)));
        }
    }
}
