//! The administration file, admin(4): what to do instead of asking a question.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::params::Params;
use crate::cli;

/// Exit status: the administration file said quit.
const ADMINISTRATION: u8 = 4;
/// Exit status: a question is necessary, and -n forbids it.
const INTERACTION: u8 = 5;

/// The administration file in force, and whether -n was given.
pub(crate) struct Admin {
    params: Params,
    interactive: bool,
}

impl Admin {
    /// Reads the operand of -a: a full path, or a name looked up here and in /var/sadm/install/admin. `none` asks every
    /// question; without -a the file is `default`, which asks nearly every one too.
    pub(crate) fn read(operand: Option<&str>, interactive: bool) -> anyhow::Result<Admin> {
        let dir = Path::new("/var/sadm/install/admin");
        let file = match operand {
            Some("none") => None,
            Some(name) if name.starts_with('/') => Some(PathBuf::from(name)),
            Some(name) if Path::new(name).is_file() => Some(PathBuf::from(name)),
            Some(name) => Some(dir.join(name)),
            None => Some(dir.join("default")).filter(|file| file.is_file()),
        };
        let params = match file {
            Some(file) => Params::read(&file)?,
            None => Params::parse("instance=unique\nbasedir=default\n"),
        };
        Ok(Admin { params, interactive })
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or("ask")
    }

    /// Follows the administration file on a problem: continues (nocheck), quits, or asks.
    pub(crate) fn decide(&self, name: &str, problem: &str, question: &str) -> anyhow::Result<()> {
        match self.get(name) {
            "nocheck" => Ok(()),
            "quit" => Err(cli::exit(ADMINISTRATION, format!("ERROR: {problem}"))),
            "ask" | "" => self.ask(problem, question),
            other => bail!("admin file: {name}={other}: only nocheck, quit and ask are known here"),
        }
    }

    /// Asks, unless -n forbids it.
    pub(crate) fn ask(&self, problem: &str, question: &str) -> anyhow::Result<()> {
        if !self.interactive {
            return Err(cli::exit(
                INTERACTION,
                format!("ERROR: {problem}: interaction is required, do not use -n"),
            ));
        }
        println!("\n{problem}");
        match cli::confirm(question)? {
            true => Ok(()),
            false => Err(cli::exit(ADMINISTRATION, "Processing was terminated by the administrator.")),
        }
    }

    pub(crate) fn interactive(&self) -> bool {
        self.interactive
    }
}
