//! The access list of penlogd: the file of option `-a`.

use std::io;
use std::path::Path;

use crate::core::acl::{Acl, AclLine};
use crate::core::error::{Place, SystemReason};
use crate::core::{Error, lexer};
use crate::sys::read_file;

/// Reads an ACL file with lines `permit|deny IP [MASK]`, `permit|deny IP6[/LEN]` or `default permit|deny`, as in pen's
/// command `acl`.
///
/// # Errors
/// The file cannot be read, is not a regular file or is too large; a line is invalid: its number and the reason.
pub(super) fn read_acl(path: &Path) -> io::Result<Acl> {
    let name = path.display();
    let bytes = read_file::read(path).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read ACL file {name}: {}", SystemReason(&error)))
    })?;
    let mut acl = Acl::default();
    for (n, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let place = Place::Line(name.to_string().into(), n + 1);
        let at = |error: Error| io::Error::new(io::ErrorKind::InvalidInput, error.at(&place).to_string());
        // Comments may be in any character set; elsewhere such bytes are invalid.
        let words = lexer::split(&String::from_utf8_lossy(line)).map_err(at)?;
        if !words.is_empty() {
            acl.add(AclLine::parse(&words).map_err(at)?);
        }
    }
    Ok(acl)
}
