//! Types of property values, scf_value_create(3SCF), and the quoting of values in output.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, bail};

/// All types of the manifest's DTD.
const TYPES: [&str; 14] = [
    "count",
    "integer",
    "opaque",
    "host",
    "hostname",
    "net_address",
    "net_address_v4",
    "net_address_v6",
    "time",
    "astring",
    "ustring",
    "boolean",
    "fmri",
    "uri",
];

pub(crate) fn is_type(name: &str) -> bool {
    TYPES.contains(&name)
}

/// Refuses a value that its type does not allow.
pub(crate) fn check(kind: &str, value: &str) -> anyhow::Result<()> {
    let wrong = || format!("\"{value}\" is not a value of type {kind}");
    match kind {
        "count" => _ = value.parse::<u64>().with_context(wrong)?,
        "integer" => _ = value.parse::<i64>().with_context(wrong)?,
        "boolean" if !matches!(value, "true" | "false" | "0" | "1") => bail!(wrong()),
        "net_address" => _ = address(value).parse::<IpAddr>().with_context(wrong)?,
        "net_address_v4" => _ = address(value).parse::<Ipv4Addr>().with_context(wrong)?,
        "net_address_v6" => _ = address(value).parse::<Ipv6Addr>().with_context(wrong)?,
        "fmri"
            if !value.starts_with("svc:/") && !value.starts_with("file:/") && !value.starts_with("lrc:/") =>
        {
            bail!(wrong())
        }
        _ if !is_type(kind) => bail!("\"{kind}\" is not a property type"),
        _ => {}
    }
    Ok(())
}

/// An address without its prefix length.
fn address(value: &str) -> &str {
    value.split_once('/').map_or(value, |(address, _)| address)
}

/// The form in which the repository stores a boolean.
pub(crate) fn normal(kind: &str, value: &str) -> String {
    match (kind, value) {
        ("boolean", "1") => "true".into(),
        ("boolean", "0") => "false".into(),
        _ => value.to_owned(),
    }
}

/// A value as svcprop(1) prints it: shell metacharacters behind backslashes, an empty string as `""`.
pub(crate) fn for_shell(value: &str) -> String {
    if value.is_empty() {
        return "\"\"".into();
    }
    let mut text = String::new();
    for letter in value.chars() {
        if matches!(
            letter,
            ';' | '&' | '(' | ')' | '|' | '^' | '<' | '>' | '\n' | ' ' | '\t' | '\\' | '"' | '\'' | '`'
        ) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// A value as svccfg(1M) prints it: in double quotes if it could not be read back without them.
pub(crate) fn for_svccfg(value: &str) -> String {
    let plain = !value.is_empty() && !value.contains([' ', '\t', '\n', '"', '\\', '(', ')', '=', '>', ';']);
    match plain {
        true => value.to_owned(),
        false => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_and_quotes() {
        check("count", "8080").unwrap();
        check("net_address_v4", "127.0.0.1").unwrap();
        for (kind, value) in
            [("count", "-1"), ("integer", "x"), ("boolean", "yes"), ("fmri", "pen"), ("port", "1")]
        {
            assert!(check(kind, value).is_err(), "{kind} {value}");
        }
        assert_eq!(for_shell("a b;$c'"), "a\\ b\\;$c\\'");
        assert_eq!(for_shell(""), "\"\"");
        assert_eq!(for_svccfg("a \"b\""), "\"a \\\"b\\\"\"");
    }
}
