//! `--check`: what a configuration names on this machine, without serving.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{Stop, pen};
use crate::core::addr::Services;
use crate::core::command::Command;
use crate::core::config::Config;
use crate::core::error::{Error, Place};
use crate::core::settings::{Settings, Value};
use crate::sys::privileges::{self, Account};

use super::load::{self, LoadedConfig};
use super::startup::{say, tls_server};

/// Of `--check` with `-u`: becomes that user before any file is read.
///
/// Errors show words of the files. Where somebody other than root says which files those are, as the properties of a
/// service may, root would show what only root may read.
pub(super) fn become_user(options: &pen::PenOptions) -> Result<(), Error> {
    let user = options.lines.iter().rev().find_map(|line| match &line.command {
        Command::Set(setting, Value::Text(name)) if *setting == Settings::user() => Some(name),
        _ => None,
    });
    match user {
        Some(name) if privileges::running_as_root() => {
            let account =
                Account::lookup(name).map_err(|e| Error::from(e).at(&Place::Option("-u".into())))?;
            Ok(privileges::confine(None, Some(&account))?)
        }
        _ => Ok(()),
    }
}

/// The rest of `--check`: what the configuration names on this machine, read again as the user that pen is going to be.
///
/// A file that only root may read is there at start and not on HUP: the check is where that is to show.
pub(super) fn check(loaded: &LoadedConfig, options: &pen::PenOptions, services: &Services) -> ExitCode {
    let mut errors = Vec::new();
    let tls = check_tls(&loaded.config);
    match &tls {
        Ok(notices) => notices.iter().for_each(|notice| say(notice)),
        Err(error) => errors.push(error.clone()),
    }
    match loaded.config.settings.user.as_deref().map(Account::lookup) {
        Some(Err(error)) => errors.push(Error::from(error).of("user")),
        Some(Ok(account)) if privileges::running_as_root() => {
            match privileges::confine(None, Some(&account)) {
                Ok(()) => {
                    let read_again = load::load(options, services).err().into_iter().flatten();
                    let tls_again = tls.and_then(|_| check_tls(&loaded.config)).err();
                    errors.extend(
                        read_again
                            .chain(tls_again)
                            .map(|e| Error::new(format!("{e} (as user {account}, which reads it on HUP)"))),
                    );
                }
                Err(error) => errors.push(error.into()),
            }
        }
        _ => {}
    }
    if errors.is_empty() {
        _ = writeln!(std::io::stdout(), "pen: the configuration has no errors");
        return ExitCode::SUCCESS;
    }
    Stop::from(errors).report("pen")
}

/// Reads everything that TLS would read some day, and gives what is odd about it.
fn check_tls(config: &Config) -> Result<Vec<String>, Error> {
    let Some((server, mut notices)) = tls_server(config)? else { return Ok(Vec::new()) };
    // In a jail pen reads that directory inside only.
    if config.settings.chroot.is_none() {
        notices.extend(server.check_names()?);
    }
    Ok(notices)
}
