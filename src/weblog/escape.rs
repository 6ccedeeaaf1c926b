//! Escapes control characters, so that what a client or a datagram says cannot affect the terminal of a reader of the log.

/// Appends a line with every control character as `\xHH`, byte by byte: those of ASCII, those that Unicode adds (U+0080
/// to U+009F, in UTF-8), and the same codes of 8-bit character sets where the bytes are not UTF-8.
pub(super) fn push_escaped(line: &[u8], out: &mut Vec<u8>) {
    push_escaped_except(b"", line, out);
}

/// The same, but the ASCII characters of `kept` stay.
pub(super) fn push_escaped_except(kept: &[u8], line: &[u8], out: &mut Vec<u8>) {
    if line.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return out.extend_from_slice(line);
    }
    for chunk in line.utf8_chunks() {
        push_valid(kept, chunk.valid().as_bytes(), out);
        for &byte in chunk.invalid() {
            if (0x80..0xa0).contains(&byte) { push_hex(byte, out) } else { out.push(byte) }
        }
    }
}

/// Appends UTF-8. Lines of other languages have few characters that are one byte each and none to escape: what is
/// between two that may have to be is copied as a whole.
fn push_valid(kept: &[u8], text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    // The bytes of other characters are neither those of ASCII nor this first one of U+0080 to U+00BF.
    while let Some(at) = rest.iter().position(|byte| byte.is_ascii_control() || *byte == 0xc2) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        rest = match *from {
            [0xc2, second @ 0x80..0xa0, ref after @ ..] => {
                push_hex(0xc2, out);
                push_hex(second, out);
                after
            }
            [byte, ref after @ ..] if byte == 0xc2 || kept.contains(&byte) => {
                out.push(byte);
                after
            }
            [byte, ref after @ ..] => {
                push_hex(byte, out);
                after
            }
            [] => from,
        };
    }
    out.extend_from_slice(rest);
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| DIGITS[usize::from(n & 15)];
    out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
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

    /// Character by character, as it is documented.
    fn plainly_escaped(kept: &str, line: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let hex =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into_bytes();
        for chunk in line.utf8_chunks() {
            for character in chunk.valid().chars() {
                let bytes = character.to_string().into_bytes();
                let is_escaped = character.is_control() && !kept.contains(character);
                out.extend(if is_escaped { hex(&bytes) } else { bytes });
            }
            for &byte in chunk.invalid() {
                out.extend(if (0x80..0xa0).contains(&byte) { hex(&[byte]) } else { vec![byte] });
            }
        }
        out
    }

    proptest! {
        #[test]
        fn runs_are_copied_as_their_characters_are(
            line in prop::collection::vec(prop_oneof![
                any::<u8>(),
                prop::sample::select(&b"\t\x1b\xc2\x80\x9f\xa0\xc3 a\x7f"[..]),
            ], 0..40),
        ) {
            for kept in ["", "\t"] {
                let mut out = b"before".to_vec();
                push_escaped_except(kept.as_bytes(), &line, &mut out);
                prop_assert_eq!(&out[6..], plainly_escaped(kept, &line));
            }
        }

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
