//! The blocks of a file in PEM form (RFC 7468).

use openssl::base64;
use openssl::x509::X509;

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";

/// One block.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    /// Its label, such as `CERTIFICATE`.
    label: &'a [u8],
    /// From the first dash to the last; up to the end of the file if its end is missing.
    text: &'a [u8],
    /// The lines between.
    body: &'a [u8],
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, what)
}

/// The blocks of a file.
fn blocks(mut rest: &[u8]) -> impl Iterator<Item = Block<'_>> {
    std::iter::from_fn(move || {
        let text = rest.get(find(rest, BEGIN)?..)?;
        let after = text.get(BEGIN.len()..)?;
        let label = after.get(..find(after, DASHES)?)?;
        let inner = after.get(label.len() + DASHES.len()..)?;
        let end = [b"-----END ", label, DASHES].concat();
        let length = find(inner, &end).unwrap_or(inner.len());
        let body = inner.get(..length)?;
        let all = text.len() - inner.len() + (length + end.len()).min(inner.len());
        rest = text.get(all..).unwrap_or_default();
        Some(Block { label, text: text.get(..all)?, body })
    })
}

/// The certificates of a file in order, with `None` for a damaged one.
pub(super) fn certificates(pem: &[u8]) -> impl Iterator<Item = Option<X509>> {
    blocks(pem).filter_map(|block| match block.label {
        b"CERTIFICATE" | b"X509 CERTIFICATE" => Some(X509::from_pem(block.text).ok()),
        // The certificate, followed by the purposes that OpenSSL trusts it for.
        b"TRUSTED CERTIFICATE" => {
            let text: String = block
                .body
                .iter()
                .filter(|byte| !byte.is_ascii_whitespace())
                .map(|b| char::from(*b))
                .collect();
            Some(base64::decode_block(&text).ok().and_then(|der| X509::from_der(&der).ok()))
        }
        _ => None,
    })
}

/// The form of a file's private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyForm {
    /// None.
    Missing,
    /// Protected by a passphrase (RFC 5958, or RFC 1421 as older tools write it).
    Encrypted,
    /// Unprotected.
    Plain,
}

/// Finds the form of the first private key in a file.
pub(super) fn key_form(pem: &[u8]) -> KeyForm {
    let key = blocks(pem).find(|block| block.label.ends_with(b"PRIVATE KEY"));
    match key {
        None => KeyForm::Missing,
        Some(block) => {
            let is_header =
                |line: &[u8]| line.starts_with(b"Proc-Type:") && line.trim_ascii().ends_with(b"ENCRYPTED");
            let encrypted =
                block.label == b"ENCRYPTED PRIVATE KEY" || block.body.split(|b| *b == b'\n').any(is_header);
            if encrypted { KeyForm::Encrypted } else { KeyForm::Plain }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_key_is_told_by_its_block() {
        for (text, form) in [
            ("", KeyForm::Missing),
            (
                "ENCRYPTED notes: PRIVATE KEY\n-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
                KeyForm::Missing,
            ),
            ("ENCRYPTED\n-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n", KeyForm::Plain),
            ("-----BEGIN EC PRIVATE KEY-----\nAA\n-----END EC PRIVATE KEY-----\nENCRYPTED", KeyForm::Plain),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", KeyForm::Encrypted),
            (
                "-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: x\r\n",
                KeyForm::Encrypted,
            ),
        ] {
            assert_eq!(key_form(text.as_bytes()), form, "{text:?}");
        }
    }

    #[test]
    fn a_block_without_end_is_damaged_and_the_last_one() {
        let text = b"x-----BEGIN A-----\n1\n-----END A-----\n-----BEGIN CERTIFICATE-----\nAA";
        let labels: Vec<&[u8]> = blocks(text).map(|block| block.label).collect();
        assert_eq!(labels, [&b"A"[..], b"CERTIFICATE"]);
        assert_eq!(certificates(text).map(|c| c.is_some()).collect::<Vec<_>>(), [false]);
    }
}
