//! The package as one file, as `pkgtrans -s` writes it: a header, then two archives in the ASCII format of cpio(1) -c.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::Result;
use crate::package::Made;
use crate::stamp::Stamp;

/// The block size to which header and archives are padded with NULs.
const BLOCK: usize = 512;

/// Writes `PKG.pkg` beside the package's directory and returns its path.
///
/// # Errors
/// The package cannot be read, or the file cannot be written.
pub(crate) fn write(made: &Made, stamp: &Stamp) -> Result<PathBuf> {
    let Made { name, directory, blocks } = made;
    let mut stream = format!("# PaCkAgE DaTaStReAm\n{name} 1 {blocks}\n# end of header\n").into_bytes();
    fill(&mut stream);

    // First the files that pkgadd reads for every package in the stream, then each package in full.
    let mut heads = Archive::new(stamp);
    for file in ["pkginfo", "pkgmap"] {
        heads.add(&directory.join(file), &format!("{name}/{file}"))?;
    }
    stream.extend(heads.end()?);

    let mut all = Archive::new(stamp);
    for part in ["pkginfo", "pkgmap", "install", "reloc"] {
        all.add(&directory.join(part), part)?;
    }
    stream.extend(all.end()?);

    let path = directory.with_extension("pkg");
    File::create(&path)?.write_all(&stream)?;
    Ok(path)
}

/// One archive; its bytes depend only on names, modes and contents.
struct Archive {
    bytes: Vec<u8>,
    mtime: u32,
    members: u32,
}

impl Archive {
    fn new(stamp: &Stamp) -> Self {
        Self { bytes: Vec::new(), mtime: stamp.seconds(), members: 0 }
    }

    /// Adds a file, a link, or a directory and its contents in order of names.
    fn add(&mut self, path: &Path, name: &str) -> Result<()> {
        let meta = fs::symlink_metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
        self.members += 1;
        let member = Builder::new(name)
            .ino(self.members)
            .nlink(1)
            .mtime(self.mtime)
            .mode(meta.permissions().mode() & 0o7777);
        if meta.is_dir() {
            self.put(member.mode(0o755).nlink(2).set_mode_file_type(ModeFileType::Directory), &[])?;
            let mut children = fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
            children.sort_by_key(fs::DirEntry::file_name);
            for child in children {
                self.add(&child.path(), &format!("{name}/{}", child.file_name().to_string_lossy()))?;
            }
            Ok(())
        } else if meta.is_symlink() {
            let to = fs::read_link(path)?;
            self.put(member.set_mode_file_type(ModeFileType::Symlink), to.as_os_str().as_encoded_bytes())
        } else {
            self.put(member.set_mode_file_type(ModeFileType::Regular), &fs::read(path)?)
        }
    }

    fn put(&mut self, member: Builder, content: &[u8]) -> Result<()> {
        let mut writer = member.write(&mut self.bytes, u32::try_from(content.len())?);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }

    fn end(mut self) -> Result<Vec<u8>> {
        trailer(&mut self.bytes)?;
        fill(&mut self.bytes);
        Ok(self.bytes)
    }
}

fn fill(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}
