//! Who may send to penlogd: the file of option `-a`.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::core::acl::{Acl, AclEntry};
use crate::core::error::Place;
use crate::core::{Error, lexer};

/// Largest file that is read.
const LARGEST: u64 = 16 << 20;

/// Reads an ACL file: `permit|deny IP [MASK]` or `permit|deny IP6[/LEN]` a line, as pen's command `acl`.
///
/// # Errors
/// The file cannot be read, is no regular file or is too large; a line is not understood: its number and the reason.
pub(super) fn read_acl(path: &Path) -> io::Result<Acl> {
    let name = path.display();
    let bytes = read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read ACL file {name}: {error}")))?;
    let mut acl = Acl::default();
    for (n, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let place = Place::Line(name.to_string().into(), n + 1);
        let at = |error: Error| io::Error::new(io::ErrorKind::InvalidInput, error.at(&place).to_string());
        // Comments may be in any character set; anywhere else such bytes are not understood.
        let words = lexer::split(&String::from_utf8_lossy(line)).map_err(at)?;
        if !words.is_empty() {
            acl.push(AclEntry::parse(&words).map_err(at)?);
        }
    }
    Ok(acl)
}

/// Reads a regular file. Anything else could block or never end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("expected at most {LARGEST} bytes")));
    }
    Ok(bytes)
}
