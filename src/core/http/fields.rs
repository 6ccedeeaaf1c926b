//! The fields of a head (RFC 9112, section 5) that determine where the body ends and what follows it.

use super::field::HeaderField;
use super::forwarded::Forwarded;
use super::lines::HeadLines;
use super::refusal::RequestRefusal;

/// The body that the fields of a message declare, before method and status are taken into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Neither length nor transfer coding.
    Unstated,
    /// A Content-Length, in bytes.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What the fields of a head declare.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) framing: Framing,
    /// It asks for another protocol: Upgrade, and `upgrade` in Connection (RFC 9110, section 7.8).
    pub(super) upgrade: bool,
    /// The client's own fields about the path of the request.
    pub(super) forwarded: Forwarded,
    /// All lines follow RFC 9112: none is folded, and each ends in CR LF.
    pub(super) are_canonical: bool,
    /// Every name is a token, see [`HeaderField::is_regular`].
    pub(super) are_regular: bool,
}

impl Fields {
    /// Reads the lines after the first one. A transfer coding is accepted only if `may_be_chunked`.
    ///
    /// # Errors
    /// A line, or an end of the body, that servers read in different ways.
    pub(super) fn read(lines: HeadLines<'_>, may_be_chunked: bool) -> Result<Self, RequestRefusal> {
        let mut fields = Self {
            framing: Framing::Unstated,
            upgrade: false,
            forwarded: Forwarded::default(),
            are_canonical: true,
            are_regular: true,
        };
        let (mut upgrade, mut allowed) = (false, false);
        for line in lines {
            fields.are_canonical &= line.is_canonical;
            let field = HeaderField::read(&line).ok_or(RequestRefusal::FieldLine)?;
            fields.are_regular &= field.is_regular();
            fields.forwarded.note(&field);
            // Compared by length first: most fields are none of these.
            match field.name.len() {
                7 if field.is("upgrade") => upgrade |= !field.value.is_empty(),
                10 if field.is("connection") => {
                    allowed |= field.items().any(|item| item.eq_ignore_ascii_case(b"upgrade"));
                }
                14 if field.is("content-length") => {
                    let length = decimal(&field.value).ok_or(RequestRefusal::Framing)?;
                    fields.set_framing(Framing::Length(length))?;
                }
                17 if field.is("transfer-encoding") => {
                    // Hardly any server supports other codings (RFC 9112, section 6.1).
                    if !may_be_chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(RequestRefusal::Framing);
                    }
                    fields.set_framing(Framing::Chunked)?;
                }
                14.. if resembles_framing(field.name) => return Err(RequestRefusal::Framing),
                _ => {}
            }
        }
        fields.upgrade = upgrade && allowed;
        Ok(fields)
    }

    /// Sets the framing. A second declaration, even an equal one, is how requests are smuggled.
    fn set_framing(&mut self, framing: Framing) -> Result<(), RequestRefusal> {
        if self.framing != Framing::Unstated {
            return Err(RequestRefusal::Framing);
        }
        self.framing = framing;
        Ok(())
    }
}

/// Whether a lenient server may take a name for one that determines where the body ends: `Content_Length`.
fn resembles_framing(name: &[u8]) -> bool {
    let letters = || name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    letters().eq(*b"contentlength") || letters().eq(*b"transferencoding")
}

/// A Content-Length: only decimal digits, less than 2 to the 64th.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}
