//! `xtask/solaris/symbols.*`: the symbols that the programs need from the libraries of illumos and of Solaris.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;

/// The suffix of a release that no source confirms: the symbol is expected in it, and may be in an earlier one too.
const UNCONFIRMED: &str = "(unconfirmed)";

/// A list: for each symbol, the library that provides it and the first release that has it.
#[derive(Debug, Default)]
pub(super) struct List<'a> {
    symbols: BTreeMap<&'a str, Source<'a>>,
}

/// The origin of a symbol.
#[derive(Debug)]
struct Source<'a> {
    library: &'a str,
    release: &'a str,
}

/// The result of [`List::compare`] for symbols in the list.
#[derive(Debug)]
pub(super) struct Compared<'a> {
    /// Symbols that no program needs.
    pub(super) unused: Vec<&'a str>,
    /// Symbols that a program needs, and for which no source confirms the release.
    pub(super) unconfirmed: Vec<&'a str>,
}

impl<'a> List<'a> {
    /// Parses a list: lines of symbol, library and release, sorted by symbol; # begins a comment.
    ///
    /// # Errors
    /// A line of another form, or out of order.
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let mut list = Self::default();
        for (number, line) in
            (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        {
            let mut fields = line.splitn(3, ' ').filter(|field| !field.is_empty());
            let (Some(symbol), Some(library), Some(release)) = (fields.next(), fields.next(), fields.next())
            else {
                return Err(format!("line {number}: expected SYMBOL LIBRARY RELEASE, got '{line}'").into());
            };
            if let Some((last, _)) = list.symbols.last_key_value().filter(|(last, _)| **last >= symbol) {
                return Err(format!("line {number}: expected a symbol after '{last}', got '{symbol}'").into());
            }
            list.symbols.insert(symbol, Source { library, release });
        }
        Ok(list)
    }

    /// Looks up each needed symbol in the list, and its library among those that the programs are linked with.
    ///
    /// # Errors
    /// The symbols that are not in the list, or whose library is not linked.
    pub(super) fn compare(
        &self,
        needed: &BTreeSet<String>,
        linked: &BTreeSet<String>,
    ) -> Result<Compared<'a>> {
        let unknown: Vec<&str> =
            needed.iter().map(String::as_str).filter(|symbol| !self.symbols.contains_key(symbol)).collect();
        if !unknown.is_empty() {
            return Err(format!(
                "expected every symbol that the programs need, got none for: {} \
                 (add those that the system has, with library and first release)",
                unknown.join(", ")
            )
            .into());
        }
        let (mut unused, mut unconfirmed) = (Vec::new(), Vec::new());
        for (symbol, Source { library, release }) in &self.symbols {
            if !needed.contains(*symbol) {
                unused.push(*symbol);
            } else if !linked.contains(*library) {
                return Err(format!("{symbol}: expected a program linked with {library}, got none").into());
            } else if release.ends_with(UNCONFIRMED) {
                unconfirmed.push(*symbol);
            }
        }
        Ok(Compared { unused, unconfirmed })
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
        let compared = list.compare(&set(needed), &set(linked)).map_err(|error| error.to_string());
        compared.map(|found| found.unused.join(" "))
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
    fn a_needed_symbol_that_is_not_confirmed_is_named() {
        let list = "pipe2 libc Solaris 11.4 (unconfirmed)\nread libc Solaris 10\nstat libc Solaris 10 (unconfirmed)\n";
        let list = List::parse(list).expect("a list");
        let found = list.compare(&set(&["pipe2", "read"]), &set(&["libc"])).expect("all are known");
        assert_eq!((found.unconfirmed, found.unused), (vec!["pipe2"], vec!["stat"]));
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
    fn the_lists_name_libraries_and_releases_that_there_are() {
        for (name, text, own) in [
            ("symbols.illumos", include_str!("../../solaris/symbols.illumos"), "illumos ILLUMOS_"),
            ("symbols.solaris", include_str!("../../solaris/symbols.solaris"), "Solaris 11."),
        ] {
            let list = List::parse(text).expect("a list");
            assert!(list.symbols.len() > 200, "{name}: {}", list.symbols.len());
            for (symbol, Source { library, release }) in &list.symbols {
                let is_release = match *library {
                    "libcrypto" | "libssl" => release.starts_with("OpenSSL "),
                    "libgcc_s" => release.starts_with("GCC "),
                    "libc" | "libm" | "libsocket" => {
                        ["Solaris 10", "Solaris 11"].contains(release) || release.starts_with(own)
                    }
                    _ => false,
                };
                assert!(is_release, "{name}: {symbol} {library} {release}");
            }
        }
    }
}
