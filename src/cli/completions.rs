//! Completions of command lines for shells.

use std::collections::BTreeSet;

use clap::Command as Cli;

use crate::core::Error;
use crate::core::command::help;

use super::Stop;

/// The shells that there are completions for.
const SHELLS: &str = "bash, ksh or zsh";

/// What completes the commands of penctl in `shell`: the source of a script.
///
/// # Errors
/// Another shell.
pub fn penctl(shell: &str) -> Result<String, Stop> {
    let own = ["check-health", "watch"].map(str::to_owned);
    // "[no] word", "word, word N", "word ARGUMENT": what begins with a small letter is typed as it is.
    let usages: Vec<String> =
        help::topics().into_iter().flat_map(|(_, lines)| lines).map(|(usage, _)| usage).collect();
    let typed = usages.iter().flat_map(|usage| usage.split(", ")).filter_map(|part| {
        part.split(' ')
            .find(|word| *word != "[no]")
            .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
    });
    let words: BTreeSet<String> = typed.map(str::to_owned).chain(own).collect();
    script("penctl", &words, shell)
}

/// What completes the options of `program` in `shell`.
///
/// # Errors
/// Another shell.
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
        // As OpenBSD's ksh and its relatives have it; ksh93 completes names of files only.
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
            let text = penctl(shell).unwrap();
            for word in ["servers", "roundrobin", "blacklist", "listen", "kqueue", "watch", "acl"] {
                assert!(
                    text.split_whitespace().any(|w| w.trim_matches('\'') == word),
                    "{shell} {word}: {text}"
                );
            }
            assert!(!text.contains('['), "{text}");
        }
        assert!(matches!(penctl("fish"), Err(Stop::Errors(e)) if e[0].contains("expected bash, ksh or zsh")));
    }
}
