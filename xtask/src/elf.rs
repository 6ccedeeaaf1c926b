//! The target of a program, from its ELF header, see elf(3ELF) and the System V ABI.

use std::fs;
use std::path::Path;

use crate::Result;

/// The processor and the operating system of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The processor in the words of isalist(5): i386 or sparc; `None` for any other.
    pub(crate) isa: Option<&'static str>,
    /// Whether it runs on Solaris or illumos.
    pub(crate) solaris: bool,
}

impl Program {
    /// Reads the header of a file; a file that is not an ELF program has no processor and is not for Solaris.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let content = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self::parse(&content).unwrap_or(Self { isa: None, solaris: false }))
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let ident = content.get(..16).filter(|ident| ident.starts_with(b"\x7fELF"))?;
        let header = Header { content, wide: ident[4] == 2, big: ident[5] == 2 };
        let isa = match header.number(18, 2)? {
            // EM_386, EM_X86_64.
            3 | 62 => Some("i386"),
            // EM_SPARC, EM_SPARC32PLUS, EM_SPARCV9.
            2 | 18 | 43 => Some("sparc"),
            _ => None,
        };
        // The run-time linker of Solaris and illumos has this name in every directory; that of Linux on these
        // processors has another.
        let solaris = header.interpreter().is_some_and(|path| path.ends_with(b"/ld.so.1"));
        Some(Self { isa, solaris })
    }
}

/// A header and its file.
struct Header<'a> {
    content: &'a [u8],
    /// Whether it is a 64-bit program.
    wide: bool,
    /// Whether it is big-endian.
    big: bool,
}

impl<'a> Header<'a> {
    /// The unsigned number of this size at an offset.
    fn number(&self, at: usize, size: usize) -> Option<usize> {
        let bytes = self.content.get(at..at.checked_add(size)?)?;
        let add = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
        Some(if self.big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    /// The path in the segment PT_INTERP.
    fn interpreter(&self) -> Option<&'a [u8]> {
        const PT_INTERP: usize = 3;
        let (table, entry, entries) = match self.wide {
            true => (self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?),
            false => (self.number(28, 4)?, self.number(42, 2)?, self.number(44, 2)?),
        };
        (0..entries).find_map(|index| {
            let at = table.checked_add(index.checked_mul(entry)?)?;
            if self.number(at, 4)? != PT_INTERP {
                return None;
            }
            let (offset, size) = match self.wide {
                true => (self.number(at + 8, 8)?, self.number(at + 32, 8)?),
                false => (self.number(at + 4, 4)?, self.number(at + 16, 4)?),
            };
            let path = self.content.get(offset..offset.checked_add(size)?)?;
            path.strip_suffix(b"\0").or(Some(path))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit or 32-bit program with one segment, which has the path of the run-time linker.
    fn program(machine: u8, wide: bool, big: bool, interpreter: &[u8]) -> Vec<u8> {
        let (header, segment) = if wide { (64, 56) } else { (52, 32) };
        let mut content = vec![0; header + segment];
        content[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 1 + u8::from(wide), 1 + u8::from(big)]);
        let mut put = |at: usize, size: usize, value: usize| {
            let bytes = value.to_le_bytes();
            for (index, byte) in bytes.iter().take(size).enumerate() {
                content[at + if big { size - 1 - index } else { index }] = *byte;
            }
        };
        let end = header + segment;
        let fields = match wide {
            true => [(32, 8, header), (54, 2, segment), (56, 2, 1), (header + 8, 8, end)],
            false => [(28, 4, header), (42, 2, segment), (44, 2, 1), (header + 4, 4, end)],
        };
        let size_at = if wide { (header + 32, 8) } else { (header + 16, 4) };
        let last = [(18, 2, machine.into()), (header, 4, 3), (size_at.0, size_at.1, interpreter.len())];
        for (at, size, value) in fields.into_iter().chain(last) {
            put(at, size, value);
        }
        content.extend(interpreter);
        content
    }

    #[test]
    fn tells_processor_and_system() {
        for (machine, wide, big, interpreter, isa, solaris) in [
            (62, true, false, &b"/lib/amd64/ld.so.1\0"[..], Some("i386"), true),
            (3, false, false, b"/usr/lib/ld.so.1\0", Some("i386"), true),
            (43, true, true, b"/usr/lib/sparcv9/ld.so.1\0", Some("sparc"), true),
            (18, false, true, b"/usr/lib/ld.so.1\0", Some("sparc"), true),
            (62, true, false, b"/lib64/ld-linux-x86-64.so.2\0", Some("i386"), false),
            (183, true, false, b"/lib/ld-linux-aarch64.so.1\0", None, false),
        ] {
            let told = Program::parse(&program(machine, wide, big, interpreter));
            assert_eq!(told, Some(Program { isa, solaris }), "{machine}");
        }
    }

    #[test]
    fn survives_what_is_no_program() {
        let whole = program(62, true, false, b"/lib/amd64/ld.so.1\0");
        for end in 0..whole.len() {
            _ = Program::parse(&whole[..end]);
        }
        assert_eq!(Program::parse(b"#!/bin/sh\nexit 0\n and more than sixteen bytes"), None);
        let mut wild = whole;
        wild[32..40].fill(0xff);
        assert!(Program::parse(&wild).is_some_and(|program| !program.solaris));
    }
}
