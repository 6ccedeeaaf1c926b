//! `--check`: what a configuration names on this machine, without serving.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{Stop, pen};
use crate::core::addr::{Host, LogTarget, Services};
use crate::core::command::Command;
use crate::core::config::Config;
use crate::core::config_file;
use crate::core::error::{Error, Place};
use crate::core::settings::{Settings, Value};
use crate::sys::privileges::{self, Account};
use crate::sys::{atomic_file, resolve};

use super::load::{self, LoadedConfig};
use super::own_address;
use super::startup::{load_upstream_tls, say, tls_server};

/// Checks a configuration and tells all that is wrong with it, or odd, each with its line. What is odd is no failure.
pub(super) fn check(options: &pen::PenOptions, services: &Services) -> ExitCode {
    let user = match become_user(options) {
        Ok(user) => user,
        Err(error) => return Stop::from(error).report("pen"),
    };
    let as_user = |error: Error| match &user {
        Some(account) => of_user(error, account, ""),
        None => error,
    };
    let loaded = match load::load(options, services) {
        Ok(loaded) => loaded,
        Err(errors) => {
            return Stop::from(errors.into_iter().map(as_user).collect::<Vec<_>>()).report("pen");
        }
    };
    loaded.notices.iter().for_each(|notice| say(notice));
    let errors = errors_of(&loaded, options, services);
    if errors.is_empty() {
        _ = writeln!(io::stdout(), "pen: the configuration has no errors");
        return ExitCode::SUCCESS;
    }
    Stop::from(errors.into_iter().map(as_user).collect::<Vec<_>>()).report("pen")
}

/// With `-u`: becomes that user before any file is read.
///
/// Errors show words of the files. Where somebody other than root says which files those are, as the properties of a
/// service may, root would show what only root may read.
fn become_user(options: &pen::PenOptions) -> Result<Option<Account>, Error> {
    let user = options.lines.iter().rev().find_map(|line| match &line.command {
        Command::Set(setting, Value::Text(name)) if *setting == Settings::user() => Some(name),
        _ => None,
    });
    match user {
        Some(name) if privileges::running_as_root() => {
            let account =
                Account::lookup(name).map_err(|e| Error::from(e).at(&Place::Option("-u".into())))?;
            privileges::confine(None, Some(&account), false)?;
            Ok(Some(account))
        }
        _ => Ok(None),
    }
}

/// An error that somebody else would not have, with the user who has it.
fn of_user(error: Error, account: &Account, why: &str) -> Error {
    let text = error.to_string();
    if text.contains("Permission denied") {
        Error::new(format!("{text} (as user {account}{why})"))
    } else {
        error
    }
}

/// What is wrong with what the configuration names on this machine, read again as the user that pen is going to be. What is
/// only odd is told.
///
/// A file that only root may read is there at start and not on HUP: the check is where that is to show.
fn errors_of(loaded: &LoadedConfig, options: &pen::PenOptions, services: &Services) -> Vec<Error> {
    let config = &loaded.config;
    let place = |error| config_file::find(error, &loaded.lines, config);
    let mut errors = Vec::new();
    let tls = check_tls(config);
    match &tls {
        Ok(notices) => notices.iter().for_each(|notice| say(notice)),
        Err(error) => errors.push(place(error.clone())),
    }
    let own = own_names(config);
    match config.settings.user.as_deref().map(Account::lookup) {
        Some(Err(error)) => errors.push(place(Error::from(error).of("user"))),
        Some(Ok(account)) if privileges::running_as_root() => {
            match privileges::confine(None, Some(&account), false) {
                Ok(()) => {
                    let read_again = load::load(options, services).err().into_iter().flatten();
                    let tls_again = tls.and_then(|_| check_tls(config)).err().map(place);
                    let why = ", which reads it on HUP";
                    errors.extend(read_again.chain(tls_again).map(|e| of_user(e, &account, why)));
                    let files = file_warnings(config).into_iter();
                    files.for_each(|e| say(&of_user(place(e), &account, "").to_string()));
                }
                Err(error) => errors.push(error.into()),
            }
        }
        _ => file_warnings(config).into_iter().for_each(|warning| say(&place(warning).to_string())),
    }
    own.into_iter().for_each(|warning| say(&place(warning).to_string()));
    errors
}

/// Reads everything that TLS would read some day, and gives what is odd about it.
fn check_tls(config: &Config) -> Result<Vec<String>, Error> {
    let mut notices = load_upstream_tls(config)?.map(|(_, notices)| notices).unwrap_or_default();
    let Some((server, told)) = tls_server(config)? else { return Ok(notices) };
    notices.extend(told);
    // In a jail pen reads that directory inside only.
    if config.settings.chroot.is_none() {
        notices.extend(server.check_names()?);
    }
    Ok(notices)
}

/// Servers whose names lead back to pen. They are left out, so that this is a warning.
fn own_names(config: &Config) -> Vec<Error> {
    let Some(listening) = config.listening() else { return Vec::new() };
    let mut warnings = Vec::new();
    for name in config.names().into_iter().filter(|name| config.has_server(name, listening.port)) {
        // That a name has no address now keeps pen from nothing.
        let (_, own) = own_address::divide(config, &name, resolve::lookup_now(&name).unwrap_or_default());
        let at = config.servers.iter().position(|server| {
            server.port == listening.port && server.address.as_ref().and_then(Host::name) == Some(&name)
        });
        let subject = at.map_or("emergency".into(), |n| format!("server {n}"));
        warnings.extend(own.iter().map(|ip| Error::new(own_address::told(&name, *ip)).of(&subject)));
    }
    warnings
}

/// Files that pen would write and cannot. They may be in a directory that is made before pen starts.
fn file_warnings(config: &Config) -> Vec<Error> {
    let settings = &config.settings;
    let jail = settings.chroot.as_deref();
    let log = match &settings.log {
        Some(LogTarget::File(path)) => Some(path),
        _ => None,
    };
    let files = [
        ("log", log, true),
        ("web_stats", settings.web_stats.as_ref(), false),
        ("pidfile", settings.pidfile.as_ref(), false),
    ];
    let mut warnings: Vec<Error> = files
        .into_iter()
        .filter_map(|(word, path, appended)| {
            let path = path?;
            let error = atomic_file::check(&inside(jail, path), appended).err()?;
            Some(Error::failed(format!("{} could not be written", path.display()), error).of(word))
        })
        .collect();
    if let Some(jail) = jail.filter(|jail| !jail.is_dir()) {
        warnings.push(Error::new(format!("{} is no directory", jail.display())).of("chroot"));
    }
    warnings
}

/// Where a path leads in a jail.
fn inside(jail: Option<&Path>, path: &Path) -> PathBuf {
    match jail {
        Some(jail) => jail.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.to_owned(),
    }
}
