//! Pen itself: puts the parts together and starts them in the order that lets a failed start be told.
//!
//! Everything is parsed before anything is done; every socket is bound before the fork, so that the caller's exit status tells
//! whether pen serves; privileges are dropped before a file is opened for writing; threads start after all that.

mod clock;
mod dns;
mod documents;
mod listeners;
mod load;
mod owner;
mod perform;
mod run;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use crate::cli::{Stop, pen};
use crate::core::addr::Services;
use crate::core::command::Command;
use crate::core::config::Config;
use crate::core::error::{Error, Place, one_line};
use crate::core::settings::{Settings, Value};
use crate::core::state::{self, State};
use crate::net::shared::Shared;
use crate::net::tls;
use crate::sys::daemon::{self, Fork, Ready};
use crate::sys::privileges::{self, Account};
use crate::sys::{crash, inherited, limits, log, pidfile::PidFile};
use crate::weblog::{LogHandle, SinkOptions};

use dns::Dns;
use documents::Documents;
use listeners::Control;
use load::LoadedConfig;
use owner::Owner;

/// Descriptors that pen itself needs: standard streams, listeners, logs, an event port a worker and the like.
const FIXED_DESCRIPTORS: u64 = 64;

/// Runs the command line `argv` to its end: 0 for success, 1 when pen could not start, 2 for a command line or a file that is wrong.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    if let Err(error) = inherited::reset() {
        say(&error.to_string());
        return ExitCode::FAILURE;
    }
    let services = load::services();
    let options = match pen::parse(argv, &services) {
        Ok(options) => options,
        Err(stop) => return stop.report("pen"),
    };
    if options.check
        && let Err(error) = become_user(&options)
    {
        return Stop::from(error).report("pen");
    }
    let loaded = match load::load(&options, &services) {
        Ok(loaded) => loaded,
        Err(errors) => return Stop::from(errors).report("pen"),
    };
    for notice in &loaded.notices {
        say(notice);
    }
    if options.check {
        return check(&loaded, &options, &services);
    }
    match start(loaded, options.file, services) {
        Ok(status) => status,
        Err(reason) => {
            say(&reason.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Pen's own words before it serves.
fn say(line: &str) {
    // With nobody to read it there is nobody to tell.
    _ = writeln!(std::io::stderr(), "pen: {}", one_line(line.to_owned()));
}

/// Of `--check` with `-u`: becomes that user before any file is read.
///
/// Errors show words of the files. Where somebody other than root says which files those are, as the properties of a
/// service may, root would show what only root may read.
fn become_user(options: &pen::PenOptions) -> Result<(), Error> {
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
fn check(loaded: &LoadedConfig, options: &pen::PenOptions, services: &Services) -> ExitCode {
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

/// What is bound before the fork and served after it.
struct Bound {
    account: Option<Account>,
    listener: listeners::BoundListener,
    control: Option<Control>,
    tls: Option<tls::Server>,
    descriptors: usize,
}

fn start(loaded: LoadedConfig, file: Option<String>, services: Services) -> Result<ExitCode, Error> {
    let bound = bind_all(&loaded)?;
    let ready = if loaded.config.settings.foreground {
        Ready::foreground()
    } else {
        match daemon::detach()? {
            Fork::Parent(status) => return Ok(status),
            Fork::Child(ready) => ready,
        }
    };
    match serve(loaded, bound, file, services) {
        Ok(running) => match ready.release() {
            Ok(()) => Ok(running.serve()),
            Err(error) => Err(error.into()),
        },
        Err(reason) => Ok(ready.fail(reason.to_string())),
    }
}

fn bind_all(loaded: &LoadedConfig) -> Result<Bound, Error> {
    let config = &loaded.config;
    let account = config.settings.user.as_deref().map(Account::lookup).transpose();
    let account = account.map_err(|e| Error::from(e).of("user"))?;
    let tls = tls_server(config)?.map(|(server, notices)| {
        notices.iter().for_each(|notice| say(notice));
        server
    });
    let descriptors = limits::raise_descriptors()?;
    let room = limits::connections(descriptors, FIXED_DESCRIPTORS);
    // A flow of UDP has one descriptor, towards its server.
    let room = if config.settings.udp { room.saturating_mul(2) } else { room };
    let Some(endpoint) = config.listening() else {
        return Err(Error::new("no listening address"));
    };
    // The control socket first, as in C pen.
    let control = match &config.settings.control {
        None => None,
        Some(_) if account.is_none() && privileges::running_as_root() => {
            say("won't open the control socket running as root; use -u to run as a different user");
            None
        }
        Some(address) => {
            let control = listeners::control(&address.endpoint, &config.settings);
            Some(control.map_err(|e| e.of("control"))?)
        }
    };
    let listener = listeners::listener(endpoint, &config.settings, &[])?;
    Ok(Bound {
        account,
        listener,
        control,
        tls,
        descriptors: usize::try_from(room).unwrap_or(usize::MAX).max(1),
    })
}

/// Reads certificates and keys, while pen may read what only root can. Also gives what is odd about them.
fn tls_server(config: &Config) -> Result<Option<(tls::Server, Vec<String>)>, Error> {
    let Some(settings) = tls::TlsSettings::of(&config.settings) else { return Ok(None) };
    tls::Server::new(&settings, run::worker_count(config)).map(Some)
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

fn serve(
    loaded: LoadedConfig,
    bound: Bound,
    file: Option<String>,
    services: Services,
) -> Result<run::Running, Error> {
    let LoadedConfig { config, blacklists, file_servers, .. } = loaded;
    let Bound { account, listener, control, tls, descriptors } = bound;
    let foreground = config.settings.foreground;
    let resolved = dns::look_up_now(&config.names(), |name, error| {
        say(&format!("{name} cannot be resolved, its servers are left out until it can: {error}"));
    });
    log::connect();
    privileges::confine(config.settings.chroot.as_deref(), account.as_ref())?;
    crash::log_panics();
    let report = Box::new(|text: &str| log::warn(format_args!("{text}")));
    let requests = LogHandle::start(SinkOptions::default(), report)?;
    listeners::set_log(&requests, config.settings.log.as_ref())?;
    let events = run::Events::new()?;
    let pid_file = config.settings.pidfile.as_deref().map(PidFile::write).transpose()?;
    let tls_warnings = tls.as_ref().map(tls::Server::begin).transpose()?.unwrap_or_default();
    log::start(if foreground { log::Target::Stderr } else { log::Target::Syslog })?;
    tls_warnings.iter().for_each(|warning| log::warn(format_args!("{warning}")));
    let (clients_max, count) = (config.settings.clients_max, run::worker_count(&config));
    let dns = Dns::new(&resolved);
    let start = state::Start {
        config,
        blacklists,
        resolved,
        services,
        file,
        file_servers,
        descriptors,
        pid: std::process::id(),
        tls: tls.is_some(),
    };
    // The clock of what is shared starts now.
    let state = State::new(start, 1);
    let shared = Arc::new(Shared::new(Arc::clone(state.snapshot()), clients_max, requests, tls));
    let (workers, listening) = run::workers(count, &shared, listener)?;
    let documents = Arc::new(Documents::new(Arc::clone(&shared), state.config(), state.file()));
    let owner = Owner::new(state, shared, documents, listening, dns);
    Ok(run::Running { events, owner: Rc::new(owner), control, workers, pid_file })
}
