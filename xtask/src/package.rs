//! The package in directory format: pkginfo, pkgmap, install/ and reloc/, as pkgmk(1) makes them.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::Result;
use crate::elf::Program;
use crate::pkginfo;
use crate::prototype::{self, Entry, Kind};
use crate::stamp::Stamp;

/// A package that was built.
pub(crate) struct Made {
    /// The value of PKG.
    pub(crate) name: String,
    /// Its directory; the last component is the name.
    pub(crate) directory: PathBuf,
    /// Its size in blocks of 512 bytes, as in the first line of pkgmap.
    pub(crate) blocks: u64,
}

/// The operating systems that a package can be for, each with its file of dependencies.
const SYSTEMS: [(&str, &str); 3] =
    [("illumos", "depend.ips"), ("solaris11", "depend.ips"), ("sxce", "depend")];

/// The parameters of a package.
pub(crate) struct Request<'a> {
    /// The directory of the prototypes.
    pub(crate) source: &'a Path,
    /// The proto area.
    pub(crate) root: &'a Path,
    /// The processor, i386 or sparc; by default that of the programs.
    pub(crate) isa: Option<&'a str>,
    /// The operating system; illumos by default.
    pub(crate) system: Option<&'a str>,
    /// The output directory.
    pub(crate) output: &'a Path,
}

/// Makes `output/PKG` from `source/prototype_ISA` and the files under `root`.
///
/// # Errors
/// A file of the prototype is missing in the proto area, the programs are for another processor than requested, a class
/// has no script, or a file cannot be read or written.
pub(crate) fn make(request: &Request, stamp: &Stamp) -> Result<Made> {
    let Request { source, root, output, .. } = *request;
    let program = Program::read(&root.join("usr/bin/pen"))?;
    let isa = match (request.isa, program.isa) {
        (Some(isa), Some(of_program)) if isa != of_program => {
            return Err(format!("usr/bin/pen in the proto area is for {of_program}, not for {isa}").into());
        }
        (Some(isa), _) => isa,
        (None, of_program) => of_program.unwrap_or("i386"),
    };
    let system = request.system.unwrap_or("illumos");
    let depend = SYSTEMS.iter().find(|(name, _)| *name == system).map(|(_, file)| *file);
    let depend =
        depend.ok_or_else(|| format!("--system: expected illumos, solaris11 or sxce, got '{system}'"))?;
    let mut entries = prototype::read(&source.join(format!("prototype_{isa}")))?;
    entries.sort_by(|a, b| a.path().cmp(b.path()));

    let template = fs::read_to_string(source.join("pkginfo.tmpl"))?;
    let mut info = pkginfo::fill(&template, isa, env!("CARGO_PKG_VERSION"), stamp)?;
    if !program.solaris {
        eprintln!("xtask: the programs are not for Solaris: the package is for this machine only");
        info = info.replace(
            "\nDESC=",
            "\nDESC=For the machine it was made on only, its programs not being for Solaris: ",
        );
    }
    let name = pkginfo::get(&info, "PKG").ok_or("pkginfo.tmpl has no PKG")?.to_owned();
    check_classes(&info, &entries)?;

    let directory = output.join(&name);
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(directory.join("install"))?;
    fs::create_dir_all(directory.join("reloc"))?;

    let mut map = String::new();
    let mut blocks = 0;
    for entry in &entries {
        match entry {
            Entry::Info { name } => {
                let content = match name.as_str() {
                    "pkginfo" => info.clone().into_bytes(),
                    "depend" => read(&source.join(depend))?,
                    _ => read(&source.join(name))?,
                };
                let to = if name == "pkginfo" {
                    directory.join(name)
                } else {
                    directory.join("install").join(name)
                };
                put(&to, &content, 0o644, stamp)?;
                blocks += blocks_of(&content);
                map.push_str(&format!("1 i {name} {}\n", sums(&content, stamp)));
            }
            Entry::Object { kind, class, path, mode, owner, group } => {
                let octal = mode.map_or_else(|| "?".to_owned(), |mode| format!("{mode:04o}"));
                map.push_str(&format!("1 {} {class} {path} {octal} {owner} {group}", kind.letter()));
                let to = directory.join("reloc").join(path);
                if *kind == Kind::Directory {
                    fs::create_dir_all(to)?;
                } else {
                    let content = read(&root.join(path))?;
                    put(&to, &content, mode.unwrap_or(0o644), stamp)?;
                    blocks += blocks_of(&content);
                    map.push_str(&format!(" {}", sums(&content, stamp)));
                }
                map.push('\n');
            }
            Entry::Link { class, path, to } => {
                let link = directory.join("reloc").join(path);
                fs::create_dir_all(link.parent().unwrap_or(&directory))?;
                symlink(to, link)?;
                map.push_str(&format!("1 s {class} {path}={to}\n"));
            }
        }
    }
    let map = format!(": 1 {blocks}\n{map}");
    put(&directory.join("pkgmap"), map.as_bytes(), 0o644, stamp)?;
    Ok(Made { name, directory, blocks })
}

/// pkgadd would silently leave out a class that CLASSES does not name.
fn check_classes(info: &str, entries: &[Entry]) -> Result<()> {
    let classes: Vec<&str> =
        pkginfo::get(info, "CLASSES").ok_or("pkginfo.tmpl has no CLASSES")?.split_whitespace().collect();
    for entry in entries {
        if let Entry::Object { class, path, .. } | Entry::Link { class, path, .. } = entry
            && !classes.contains(&class.as_str())
        {
            return Err(
                format!("{path} is of class {class}, which CLASSES in pkginfo.tmpl does not name").into()
            );
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?)
}

fn put(path: &Path, content: &[u8], mode: u32, stamp: &Stamp) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content).map_err(|e| format!("{}: {e}", path.display()))?;
    File::options().write(true).open(path)?.set_modified(stamp.system_time())?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(())
}

/// `SIZE SUM MTIME`, the last three fields of a pkgmap line.
fn sums(content: &[u8], stamp: &Stamp) -> String {
    format!("{} {} {}", content.len(), sum(content), stamp.seconds())
}

/// The checksum of sum(1): all bytes added up, then folded twice to 16 bits.
fn sum(content: &[u8]) -> u32 {
    let all = content.iter().fold(0_u32, |s, byte| s.wrapping_add(u32::from(*byte)));
    let once = (all & 0xffff) + (all >> 16);
    (once & 0xffff) + (once >> 16)
}

fn blocks_of(content: &[u8]) -> u64 {
    (content.len() as u64).div_ceil(512)
}

#[cfg(test)]
mod tests {
    use super::sum;

    /// Values of `sum` on System V, which GNU `sum -s` prints too.
    #[test]
    fn sums_as_system_v_does() {
        assert_eq!(sum(b""), 0);
        assert_eq!(sum(b"hello\n"), 542);
        assert_eq!(sum(&[0xff; 1000]), 58395);
    }
}
