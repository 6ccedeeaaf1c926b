//! The log of an instance: output of its methods, and the restarter's own lines with the time.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::super::fmri::Fmri;

pub(crate) fn open(fmri: &Fmri) -> anyhow::Result<File> {
    let path = fmri.log();
    if let Some(dir) = Path::new(&path).parent() {
        fs::create_dir_all(dir)?;
    }
    File::options().create(true).append(true).open(&path).context(path)
}

/// Writes `[ Nov 22 19:00:00 TEXT ]`.
pub(crate) fn line(fmri: &Fmri, text: &str) {
    let now = jiff::Zoned::now().strftime("%b %e %H:%M:%S").to_string();
    let written = open(fmri).and_then(|mut log| Ok(writeln!(log, "[ {now} {text} ]")?));
    if let Err(error) = written {
        eprintln!("svc.startd: {fmri}: {error:#}");
    }
}
