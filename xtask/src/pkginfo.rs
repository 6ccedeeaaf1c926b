//! pkginfo(4) from its template, with the tokens of the SFW consolidation filled in.

use crate::Result;
use crate::stamp::Stamp;

/// Fills in `SFWVERS`, `RELEASE/VERSION` and `ISA`, drops comments and quotes as pkgmk does, and appends PSTAMP when absent.
///
/// # Errors
/// A line that is not `NAME=value`.
pub(crate) fn fill(template: &str, isa: &str, version: &str, stamp: &Stamp) -> Result<String> {
    let revision = format!("{version},REV={}", stamp.format("%Y.%m.%d.%H.%M")?);
    let mut text = String::new();
    for (number, line) in template.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            .ok_or_else(|| format!("pkginfo.tmpl:{}: `{line}' is not NAME=value", number + 1))?;
        let value = value
            .trim()
            .trim_matches('"')
            .replace("RELEASE/VERSION", &format!("5.11/{version}"))
            .replace("SFWVERS", &revision)
            .replace("ISA", isa);
        text.push_str(&format!("{name}={value}\n"));
    }
    if get(&text, "PSTAMP").is_none() {
        text.push_str(&format!("PSTAMP=pen{}\n", stamp.format("%Y%m%d%H%M%S")?));
    }
    Ok(text)
}

/// The value of a parameter.
pub(crate) fn get<'a>(pkginfo: &'a str, name: &str) -> Option<&'a str> {
    pkginfo.lines().find_map(|line| line.split_once('=').filter(|(n, _)| *n == name).map(|(_, value)| value))
}
