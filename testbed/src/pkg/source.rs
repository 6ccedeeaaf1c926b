//! The sources of packages: a directory of packages, or a datastream as pkgtrans(1) writes it.

use std::fs;
use std::io::{Cursor, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// The block size of a datastream: header and archives each start on a block boundary.
const BLOCK: usize = 512;

/// An opened source; a datastream is unpacked to a directory that is removed when this is dropped.
pub(crate) struct Source {
    pub(crate) dir: PathBuf,
    /// The packages it holds.
    pub(crate) packages: Vec<String>,
    _unpacked: Option<TempDir>,
}

impl Source {
    pub(crate) fn open(device: &Path) -> anyhow::Result<Source> {
        let name = || device.display().to_string();
        if device.is_dir() {
            let mut packages = Vec::new();
            for entry in device.read_dir().with_context(name)? {
                let entry = entry?;
                if entry.path().join("pkginfo").is_file() {
                    packages.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            packages.sort();
            return Ok(Source { dir: device.canonicalize()?, packages, _unpacked: None });
        }
        let data = fs::read(device).with_context(name)?;
        let dir = tempfile::Builder::new().prefix("dstream").tempdir_in(temporary())?;
        let packages = unpack(&data, dir.path()).with_context(|| format!("{}: bad datastream", name()))?;
        Ok(Source { dir: dir.path().to_owned(), packages, _unpacked: Some(dir) })
    }

    /// The packages that operands name: names, or `all`.
    pub(crate) fn select(&self, operands: &[String]) -> anyhow::Result<Vec<String>> {
        let mut chosen = Vec::new();
        for operand in operands.iter().flat_map(|operand| operand.split(',')) {
            let name = operand.strip_suffix(".*").unwrap_or(operand);
            match name {
                "all" => chosen.extend(self.packages.iter().cloned()),
                _ if self.packages.iter().any(|package| package == name) => chosen.push(name.to_owned()),
                _ => bail!("package <{name}> was not found in <{}>", self.dir.display()),
            }
        }
        Ok(chosen)
    }
}

/// `$TMPDIR`, or /var/tmp: where pkgadd(1M) unpacks.
fn temporary() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// Unpacks every package of a datastream below `dir`; returns their names.
fn unpack(data: &[u8], dir: &Path) -> anyhow::Result<Vec<String>> {
    let end = b"# end of header\n";
    let header =
        data.windows(end.len()).position(|window| window == end).context("no end of header")? + end.len();
    let text = std::str::from_utf8(data.get(..header).unwrap_or_default()).context("header")?;
    let mut lines = text.lines();
    if !lines.next().is_some_and(|line| line.starts_with("# PaCkAgE DaTaStReAm")) {
        bail!("the first line is not # PaCkAgE DaTaStReAm");
    }
    let packages: Vec<String> = lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    let start = header.next_multiple_of(BLOCK);
    if data.get(header..start).is_none_or(|padding| padding.iter().any(|&byte| byte != 0)) {
        bail!("the header is not padded with NUL to {BLOCK} bytes");
    }
    // The first archive repeats pkginfo and pkgmap of all packages, so that they can be listed without the rest.
    let mut at = archive(data, start, dir).context("archive of pkginfo and pkgmap")?;
    for package in &packages {
        let dir = dir.join(package);
        for name in ["pkginfo", "pkgmap"] {
            if !dir.join(name).is_file() {
                bail!("the first archive has no {package}/{name}");
            }
        }
        at = archive(data, at, &dir).with_context(|| format!("archive of {package}"))?;
    }
    Ok(packages)
}

/// Unpacks the cpio archive at `start`; returns where the next one starts.
fn archive(data: &[u8], start: usize, dir: &Path) -> anyhow::Result<usize> {
    let mut input = Cursor::new(data.get(start..).context("cut short")?);
    loop {
        let mut reader = cpio::NewcReader::new(input)?;
        let entry = reader.entry();
        if entry.is_trailer() {
            let used = usize::try_from(reader.finish()?.position())?;
            return Ok(start + used.next_multiple_of(BLOCK));
        }
        let name = entry.name().to_owned();
        let (mode, mtime) = (entry.mode(), entry.mtime());
        let safe = Path::new(&name)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !safe {
            bail!("{name}: leads outside the package");
        }
        let path = dir.join(&name);
        match mode & 0o170_000 {
            0o040_000 => fs::create_dir_all(&path)?,
            0o100_000 => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let mut content = Vec::new();
                reader.read_to_end(&mut content)?;
                fs::write(&path, content)?;
                super::verify::set_mtime(&path, mtime.into())?;
            }
            other => bail!("{name}: file type {other:o} in the archive"),
        }
        input = reader.finish()?;
    }
}
