//! Command line completions for shells.

use std::collections::BTreeSet;

use clap::Command as Cli;

use crate::core::Error;
use crate::core::command::help;

use super::Stop;

/// The supported shells.
const SHELLS: &str = "bash, ksh or zsh";

/// The script that completes the commands of penctl, and its `own`, in `shell`.
///
/// # Errors
/// The shell is not supported.
pub fn penctl(own: impl IntoIterator<Item = &'static str>, shell: &str) -> Result<String, Stop> {
    let words = help::words().chain(own).map(str::to_owned).collect();
    script("penctl", &words, shell)
}

/// The script that completes the options of `program` in `shell`.
///
/// # Errors
/// The shell is not supported.
pub fn options(program: &str, cli: &Cli, shell: &str) -> Result<String, Stop> {
    let mut words = BTreeSet::new();
    for option in cli.get_arguments() {
        words.extend(option.get_short().map(|letter| format!("-{letter}")));
        words.extend(option.get_long().map(|name| format!("--{name}")));
    }
    script(program, &words, shell)
}

fn script(program: &str, words: &BTreeSet<String>, shell: &str) -> Result<String, Stop> {
    let words = words.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    match shell {
        "bash" => Ok(format!("complete -o default -W '{words}' {program}\n")),
        "zsh" => Ok(format!(
            "#compdef {program}\n_{program}() {{ compadd -- {words}; _files; }}\ncompdef _{program} {program}\n"
        )),
        // In the form of OpenBSD's ksh and related shells; ksh93 completes only file names.
        "ksh" => Ok(format!("set -A complete_{program} -- {words}\n")),
        other => Err(Error::expected(SHELLS, other).of("--completions").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_every_word() {
        for shell in ["bash", "ksh", "zsh"] {
            let text = penctl(["watch"], shell).unwrap();
            for word in ["servers", "roundrobin", "blacklist", "listen", "kqueue", "watch", "acl"] {
                assert!(
                    text.split_whitespace().any(|w| w.trim_matches('\'') == word),
                    "{shell} {word}: {text}"
                );
            }
            assert!(!text.contains('['), "{text}");
        }
        assert!(
            matches!(penctl([], "fish"), Err(Stop::Errors(e)) if e[0].contains("expected bash, ksh or zsh"))
        );
    }
}
