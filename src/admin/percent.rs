//! Percent-encoding of paths (RFC 3986, section 2.1).

/// The text that `path` stands for; `None` if it is wrongly encoded, or no text.
pub(super) fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes().iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_make_a_byte() {
        for (path, text) in [
            ("/api/v1/why/%5B::1%5d:80", Some("/api/v1/why/[::1]:80")),
            ("/%2525", Some("/%25")),
            ("", Some("")),
            ("/%", None),
            ("/%4", None),
            ("/%zz", None),
            ("/%ff", None),
        ] {
            assert_eq!(decoded(path).as_deref(), text, "{path}");
        }
    }
}
