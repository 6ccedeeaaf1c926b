//! `--check`: checks a configuration on this machine without serving.

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use crate::cli::{Stop, pen};
use crate::core::addr::{Host, Services};
use crate::core::command::Command;
use crate::core::config::Config;
use crate::core::config_file::LineIndex;
use crate::core::error::{Error, Place};
use crate::core::settings::{Settings, Value};
use crate::core::state::Log;
use crate::net::tls::{TlsServer, TlsSettings};
use crate::sys::privileges::{self, Account};
use crate::sys::resolve;

use super::dns::FoundName;
use super::load::{self, LoadedConfig};
use super::startup::{load_upstream_tls, say, tls_server};
use super::{logs, missing, own_address};

/// Checks a configuration and reports all errors and warnings, each with its line. Warnings are no failure.
pub(super) fn check(options: &pen::PenOptions, services: &Services) -> ExitCode {
    let user = match become_user(options) {
        Ok(user) => user,
        Err(error) => return Stop::from(error).report("pen"),
    };
    let as_user = |error: Error| match &user {
        Some(account) => of_user(error, account, ""),
        None => error,
    };
    let mut loaded = load::load(options, services);
    if loaded.report.is_empty() {
        loaded.notices.iter().for_each(|notice| say(notice));
    }
    look_around(&mut loaded, options, services);
    if loaded.report.is_empty() {
        _ = writeln!(io::stdout(), "pen: the configuration has no errors");
        return ExitCode::SUCCESS;
    }
    let errors = loaded.report.into_errors();
    Stop::from(errors.into_iter().map(as_user).collect::<Vec<_>>()).report("pen")
}

/// What a start would fail on after the errors of a configuration are mended: the user, the files of TLS, and logs.
pub(super) fn faults_at_start(config: &Config) -> Vec<Error> {
    let settings = &config.settings;
    let user = settings.user.as_deref().map(Account::lookup).and_then(Result::err);
    let user = user.map(|error| Error::from(error).of("user"));
    let logs = [(Log::Requests, &settings.log), (Log::Connections, &settings.connection_log)];
    // In a chroot jail, the paths mean other files.
    let logs = logs.into_iter().filter(|_| settings.chroot.is_none()).filter_map(|(log, target)| {
        let error = logs::check(target.as_ref()?).err()?;
        Some(error.of(log.setting().word()))
    });
    user.into_iter().chain(check_tls(config).err().into_iter().flatten()).chain(logs).collect()
}

/// With `-u`: becomes that user before any file is read.
///
/// Errors quote words of the files. Where a user other than root can choose the files, as with the properties of a
/// service, root would reveal files that only root may read.
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

/// Adds the name of the user to a permission error.
fn of_user(error: Error, account: &Account, why: &str) -> Error {
    let text = error.to_string();
    if text.contains("Permission denied") {
        Error::new(format!("{text} (as user {account}{why})"))
    } else {
        error
    }
}

/// Adds the errors in what the configuration names on this machine, read again as the user that pen will run as. Warnings
/// are printed.
///
/// A file that only root may read is readable at start and not on HUP: only this check can show that.
fn look_around(loaded: &mut LoadedConfig, options: &pen::PenOptions, services: &Services) {
    let config = &loaded.config;
    let index = LineIndex::new(&loaded.lines, config);
    let warn = |warning: Error| say(&index.place(warning).to_string());
    let mut errors = Vec::new();
    let tls = check_tls(config);
    match &tls {
        Ok(notices) => notices.iter().for_each(|notice| say(notice)),
        Err(wrong) => errors.extend(wrong.iter().cloned()),
    }
    let others = own_names(config).into_iter().chain(missing::at_start(config)).collect::<Vec<_>>();
    match config.settings.user.as_deref().map(Account::lookup) {
        Some(Err(error)) => errors.push(Error::from(error).of("user")),
        Some(Ok(account)) if privileges::running_as_root() => {
            match privileges::confine(None, Some(&account), false) {
                Ok(()) => {
                    let why = ", which reads it on HUP";
                    let as_user = |error| of_user(index.place(error), &account, why);
                    if loaded.report.is_empty() {
                        let again = load::load(options, services).report.into_errors();
                        errors.extend(again.into_iter().map(as_user));
                    }
                    // What is wrong for whoever starts pen is told already, and hides nothing: each error is told.
                    let told: Vec<String> = tls.err().into_iter().flatten().map(|e| e.to_string()).collect();
                    let again = check_tls(config).err().into_iter().flatten();
                    let news = again.filter(|error| !told.contains(&error.to_string()));
                    errors.extend(news.map(as_user));
                    missing::as_user(config).into_iter().for_each(|warning| {
                        say(&of_user(index.place(warning), &account, "").to_string());
                    });
                }
                Err(error) => errors.push(error.into()),
            }
        }
        _ => missing::as_user(config).into_iter().for_each(warn),
    }
    others.into_iter().for_each(warn);
    loaded.add(errors);
}

/// Reads all files that TLS may ever read, and returns the warnings about them.
///
/// # Errors
/// All that is wrong with them.
fn check_tls(config: &Config) -> Result<Vec<String>, Vec<Error>> {
    // TLS with datagrams is an error by itself, and its files do not matter.
    if config.settings.udp {
        return Ok(Vec::new());
    }
    let upstream = load_upstream_tls(config).map(|loaded| loaded.map(|(_, notices)| notices));
    // In a chroot jail, pen reads the directory of names inside the jail only.
    let reads_names = config.settings.chroot.is_none();
    let server = match tls_server(config) {
        Ok(Some((server, notices))) if reads_names => {
            server.check_names().map(|more| Some([notices, more].concat()))
        }
        Ok(loaded) => Ok(loaded.map(|(_, notices)| notices)),
        Err(mut wrong) => {
            let settings = TlsSettings::of(&config.settings).filter(|_| reads_names);
            let of_names = settings.map(|settings| TlsServer::check_names_alone(&settings));
            wrong.extend(of_names.and_then(Result::err).into_iter().flatten());
            Err(wrong)
        }
    };
    match (upstream, server) {
        (Ok(upstream), Ok(server)) => Ok([upstream, server].into_iter().flatten().flatten().collect()),
        (upstream, server) => Err([upstream.err(), server.err()].into_iter().flatten().flatten().collect()),
    }
}

/// Servers whose names resolve to pen itself. Pen leaves these addresses out, so this is a warning.
fn own_names(config: &Config) -> Vec<Error> {
    let Some(listening) = config.listening() else { return Vec::new() };
    // Pen starts although a name has no address yet.
    let look_up = |name: &str| (name.to_owned(), resolve::lookup_now(name).unwrap_or_default());
    let mut found: Vec<FoundName> = config.names_with_port(listening.port).into_iter().map(look_up).collect();
    let own = own_address::take_out(config, own_address::first_address(), &mut found);
    let warning = |(name, ip): &(String, IpAddr)| {
        let at = config.servers.iter().position(|server| {
            server.port == listening.port && server.address.as_ref().and_then(Host::name) == Some(name)
        });
        let is_emergency =
            config.settings.emergency.as_ref().is_some_and(|emergency| {
                emergency.port == listening.port && emergency.host.name() == Some(name)
            });
        let special = if is_emergency { "emergency" } else { "abuse" };
        let subject = at.map_or(special.into(), |n| format!("server {n}"));
        Error::new(own_address::notice(name, *ip)).of(&subject)
    };
    own.iter().map(warning).collect()
}
