//! The source tree, and the installed tools that check it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The top of the source tree.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All matching files below a directory of the tree, except build output and files of other projects.
pub(crate) fn files(below: &str, fits: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![top().join(below)];
    while let Some(path) = open.pop() {
        if !path.is_dir() {
            found.extend(Some(path).filter(|p| p.is_file() && fits(p)));
            continue;
        }
        let children = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap());
        open.extend(
            children.filter(|c| c.file_name() != "target" && c.file_name() != ".git").map(|c| c.path()),
        );
    }
    found.sort();
    found
}

/// An installed program; if it is missing, prints that the test is skipped.
pub(crate) fn tool(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH")?;
    if std::env::split_paths(&path).any(|directory| directory.join(name).is_file()) {
        Some(Command::new(name))
    } else {
        super::skipped("a check of the sources", format_args!("{name} is not installed"));
        None
    }
}

/// Runs a command at the top of the tree and returns its output; it must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.current_dir(top()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    output
}

/// Both streams of a command as text.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
