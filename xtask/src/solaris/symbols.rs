//! `xtask/solaris/symbols.illumos`: the symbols that the programs need from the libraries of illumos.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;

/// A list: of each symbol, the library that provides it. In the file follows the first release that has it.
#[derive(Debug, Default)]
pub(super) struct List<'a> {
    libraries: BTreeMap<&'a str, &'a str>,
}

impl<'a> List<'a> {
    /// Reads a list: lines of symbol, library and release, sorted by symbol; # begins a comment.
    ///
    /// # Errors
    /// A line that is something else, or not in its place.
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let mut list = Self::default();
        for (number, line) in
            (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        {
            let mut fields = line.splitn(3, ' ').filter(|field| !field.is_empty());
            let (Some(symbol), Some(library), Some(_)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(format!("line {number}: expected SYMBOL LIBRARY RELEASE, got '{line}'").into());
            };
            if let Some((last, _)) = list.libraries.last_key_value().filter(|(last, _)| **last >= symbol) {
                return Err(format!("line {number}: expected a symbol after '{last}', got '{symbol}'").into());
            }
            list.libraries.insert(symbol, library);
        }
        Ok(list)
    }

    /// Looks for each needed symbol in the list, and for its library among those that the programs are linked with.
    /// Returns the symbols that are not needed.
    ///
    /// # Errors
    /// Names the symbols that are not in the list, or whose library is not linked with.
    pub(super) fn compare(
        &self,
        needed: &BTreeSet<String>,
        linked: &BTreeSet<String>,
    ) -> Result<Vec<&'a str>> {
        let unknown: Vec<&str> =
            needed.iter().map(String::as_str).filter(|symbol| !self.libraries.contains_key(symbol)).collect();
        if !unknown.is_empty() {
            return Err(format!(
                "expected every symbol that the programs need, got none for: {} \
                 (add those that the system has, with library and first release)",
                unknown.join(", ")
            )
            .into());
        }
        for symbol in needed {
            if let Some(library) = self.libraries.get(symbol.as_str()).filter(|name| !linked.contains(**name))
            {
                return Err(format!("{symbol}: expected a program linked with {library}, got none").into());
            }
        }
        Ok(self.libraries.keys().copied().filter(|symbol| !needed.contains(*symbol)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "# comment\n\nSSL_new libssl OpenSSL 1.1.0\naccept4 libsocket illumos 2013\nread libc Solaris 10\n";

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn compare(needed: &[&str], linked: &[&str]) -> std::result::Result<String, String> {
        let list = List::parse(LIST).expect("a list");
        let unused = list.compare(&set(needed), &set(linked)).map_err(|error| error.to_string());
        unused.map(|names| names.join(" "))
    }

    #[test]
    fn a_symbol_that_is_not_in_the_list_is_named() {
        let linked = ["libc", "libsocket", "libssl"];
        assert_eq!(compare(&["SSL_new", "accept4", "read"], &linked), Ok(String::new()));
        assert_eq!(compare(&["read"], &linked), Ok("SSL_new accept4".to_owned()));
        let error = compare(&["io_uring_setup", "read", "splice"], &linked).expect_err("two are new");
        assert!(error.contains("got none for: io_uring_setup, splice ("), "{error}");
    }

    #[test]
    fn a_library_that_is_not_linked_with_is_named() {
        let error = compare(&["accept4", "read"], &["libc"]).expect_err("no libsocket");
        assert_eq!(error, "accept4: expected a program linked with libsocket, got none");
    }

    #[test]
    fn a_line_that_cannot_be_is_named() {
        for (text, expected) in [
            ("read libc\n", "line 1: expected SYMBOL LIBRARY RELEASE, got 'read libc'"),
            ("\nread  Solaris 10\n", "line 2: expected SYMBOL LIBRARY RELEASE, got 'read  Solaris 10'"),
            ("write libc 1\nread libc 1\n", "line 2: expected a symbol after 'write', got 'read'"),
            ("read libc 1\nread libc 1\n", "line 2: expected a symbol after 'read', got 'read'"),
        ] {
            assert_eq!(List::parse(text).expect_err("no list").to_string(), expected);
        }
    }

    #[test]
    fn the_list_names_libraries_and_releases_that_there_are() {
        let text = include_str!("../../solaris/symbols.illumos");
        let list = List::parse(text).expect("a list");
        assert!(list.libraries.len() > 200, "{}", list.libraries.len());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.splitn(3, ' ').collect();
            let is_release = match fields[1] {
                "libcrypto" | "libssl" => fields[2].starts_with("OpenSSL "),
                "libgcc_s" => fields[2].starts_with("GCC "),
                "libc" | "libm" | "libsocket" => {
                    ["Solaris 10", "Solaris 11"].contains(&fields[2])
                        || fields[2].starts_with("illumos ILLUMOS_")
                }
                _ => false,
            };
            assert!(is_release, "{line}");
        }
    }
}
