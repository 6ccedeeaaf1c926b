//! What a command requires and may have to wait for: files that are read or written, and names that are looked up.
//!
//! A command that lacks something of that is refused at first, which changes nothing. What it lacks is prepared, file work
//! on a thread of its own, while signals and other commands are served; then the command is carried out again.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::core::addr::{Endpoint, Host, Services};
use crate::core::config::Config;
use crate::core::config_file::{self, FileLines};
use crate::core::error::Error;
use crate::core::log_target::LogTarget;
use crate::core::state::Log;
use crate::core::upstream_tls::UpstreamTlsSettings;
use crate::net::shared::Shared;
use crate::net::tls::{self, TlsSettings};
use crate::net::upstream_tls::LoadedUpstream;
use crate::sys::{atomic_file, log};
use crate::weblog::SinkOutput;

use super::clock;
use super::listeners::BoundListener;
use super::load;
use super::logs;

/// What was read, and warnings about it.
type WithNotices<T> = Result<(T, Vec<String>), Vec<Error>>;
/// The target of a log, if it has one.
type OpenedLog = Result<Option<SinkOutput>, Error>;

/// What was prepared for one command or reload.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// The listening name, and its address.
    name: Option<(String, Result<IpAddr, Error>)>,
    lines: Option<(String, Arc<FileLines>)>,
    written: Option<(String, Result<(), Error>)>,
    tls: Option<Box<(TlsSettings, WithNotices<tls::Loaded>)>>,
    upstream_tls: Option<(UpstreamTlsSettings, WithNotices<LoadedUpstream>)>,
    checked_logs: HashMap<Log, (LogTarget, Result<(), Error>)>,
    logs: HashMap<Log, (Option<LogTarget>, OpenedLog)>,
    /// The socket that was bound.
    pub(super) listener: Option<BoundListener>,
    missing: Option<Missing>,
}

/// What a command lacks.
#[derive(Debug)]
pub(super) enum Missing {
    /// The address of a name.
    Address(String),
    /// Files.
    Files(FileWork),
}

/// Work on files.
#[derive(Debug)]
pub(super) enum FileWork {
    /// A file of commands is read.
    Load(String, Services),
    /// A file is written.
    Write(String, Arc<Config>),
    /// The certificates and keys for clients are read.
    Tls(TlsSettings),
    /// The TLS files for servers are read.
    UpstreamTls(UpstreamTlsSettings),
    /// Whether a log could be opened is checked.
    CheckLog(Log, LogTarget),
    /// A log is opened.
    Open(Log, Option<LogTarget>),
}

/// What was read and comes into use, so that warnings about it are logged.
fn used<T>(loaded: WithNotices<T>) -> Option<T> {
    let (loaded, notices) = loaded.ok()?;
    notices.iter().for_each(|notice| log::warn(format_args!("{notice}")));
    Some(loaded)
}

impl Prepared {
    /// What must be prepared before the command can be carried out.
    pub(super) fn take_missing(&mut self) -> Option<Missing> {
        self.missing.take()
    }

    /// Keeps only what the effects of a plan use.
    pub(super) fn keep_for_effects(&mut self) {
        self.name = None;
        self.lines = None;
        self.written = None;
    }

    /// Records the resolver's answer for a name: its addresses, at least one.
    pub(super) fn found(&mut self, name: String, addresses: io::Result<Vec<IpAddr>>) {
        let address = match addresses.map(|addresses| addresses.first().copied()) {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err(Error::new(format!("{name} has no address"))),
            Err(error) => Err(Error::failed(&name, error)),
        };
        self.name = Some((name, address));
    }

    /// Works on files, as long as the disk takes. `workers` is the number of workers.
    pub(super) fn prepare(&mut self, work: FileWork, shared: &Shared, workers: usize) {
        match work {
            FileWork::Load(file, services) => {
                let lines = config_file::load(&file, &services, &load::read);
                self.lines = Some((file, Arc::new(lines)));
            }
            FileWork::Write(file, config) => {
                let (version, time) = (env!("CARGO_PKG_VERSION"), clock::local_time());
                let text = format!("# Written by pen {version} at {time}\n{}", config.file_text(&file));
                let written = atomic_file::replace(file.as_ref(), text.as_bytes()).map_err(Error::from);
                self.written = Some((file, written));
            }
            FileWork::Tls(settings) => {
                let loaded = match &shared.tls {
                    Some(server) => server.load(&settings),
                    None => Err(vec![Error::new("there is no TLS")]),
                };
                self.tls = Some(Box::new((settings, loaded)));
            }
            FileWork::UpstreamTls(settings) => {
                let loaded = shared.upstream_tls.load(&settings, workers);
                self.upstream_tls = Some((settings, loaded));
            }
            FileWork::CheckLog(log, target) => {
                let checked = logs::check(&target);
                self.checked_logs.insert(log, (target, checked));
            }
            FileWork::Open(log, target) => {
                let opened = logs::open(target.as_ref());
                self.logs.insert(log, (target, opened));
            }
        }
    }

    fn lacks(&mut self, work: FileWork) -> Error {
        self.missing = Some(Missing::Files(work));
        Error::new("files are not read yet")
    }

    /// The lines of a file.
    ///
    /// # Errors
    /// It is not read yet.
    pub(super) fn lines(&mut self, file: &str, services: &Services) -> Result<Arc<FileLines>, Error> {
        match &self.lines {
            Some((of, lines)) if of == file => Ok(Arc::clone(lines)),
            _ => Err(self.lacks(FileWork::Load(file.to_owned(), services.clone()))),
        }
    }

    /// Whether a file is written.
    ///
    /// # Errors
    /// It could not be written, or is not written yet.
    pub(super) fn written(&mut self, file: &str, config: &Arc<Config>) -> Result<(), Error> {
        match &self.written {
            Some((name, written)) if name == file => written.clone(),
            _ => Err(self.lacks(FileWork::Write(file.to_owned(), Arc::clone(config)))),
        }
    }

    /// Whether the certificates and keys of these settings are read. They may have changed since the files were read.
    ///
    /// # Errors
    /// All that is wrong with the files, or they are not read yet.
    pub(super) fn tls(&mut self, settings: TlsSettings) -> Result<(), Vec<Error>> {
        match self.tls.as_deref() {
            Some((of, loaded)) if *of == settings => outcome(loaded),
            _ => Err(vec![self.lacks(FileWork::Tls(settings))]),
        }
    }

    /// The same for TLS towards servers.
    ///
    /// # Errors
    /// See [`Prepared::tls`].
    pub(super) fn upstream_tls(&mut self, settings: &UpstreamTlsSettings) -> Result<(), Vec<Error>> {
        match &self.upstream_tls {
            Some((of, loaded)) if of == settings => outcome(loaded),
            _ => Err(vec![self.lacks(FileWork::UpstreamTls(settings.clone()))]),
        }
    }

    /// Whether a log could be opened.
    ///
    /// # Errors
    /// It could not be opened, or that is not checked yet.
    pub(super) fn checked_log(&mut self, log: Log, target: &LogTarget) -> Result<(), Error> {
        match self.checked_logs.get(&log) {
            Some((of, checked)) if of == target => checked.clone(),
            _ => Err(self.lacks(FileWork::CheckLog(log, target.clone()))),
        }
    }

    /// Whether a log is open for this target.
    ///
    /// # Errors
    /// It cannot be opened, or is not opened yet.
    pub(super) fn log(&mut self, log: Log, target: Option<&LogTarget>) -> Result<(), Error> {
        match self.logs.get(&log) {
            Some((of, opened)) if of.as_ref() == target => outcome(opened),
            _ => Err(self.lacks(FileWork::Open(log, target.cloned()))),
        }
    }

    /// What was read for clients' connections.
    pub(super) fn take_tls(&mut self) -> Option<tls::Loaded> {
        let (_, loaded) = *self.tls.take()?;
        used(loaded)
    }

    /// What was read for connections to servers.
    pub(super) fn take_upstream_tls(&mut self) -> Option<LoadedUpstream> {
        used(self.upstream_tls.take()?.1)
    }

    /// The target of a log that was opened.
    pub(super) fn take_log(&mut self, log: Log) -> Option<Option<SinkOutput>> {
        self.logs.remove(&log)?.1.ok()
    }

    /// The address of the listening name, if it was looked up.
    pub(super) fn address(&self, name: &str) -> Option<IpAddr> {
        let (_, address) = self.name.as_ref().filter(|(of, _)| of == name)?;
        address.as_ref().ok().copied()
    }

    /// The endpoint with an address in place of its name.
    ///
    /// # Errors
    /// The name has no address, or has not been looked up.
    pub(super) fn resolve(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let Host::Name(name) = &endpoint.host else { return Ok(endpoint.clone()) };
        match &self.name {
            Some((of, address)) if of == name => {
                Ok(Endpoint { host: Host::Ip(address.clone()?), port: endpoint.port })
            }
            _ => {
                self.missing = Some(Missing::Address(name.clone()));
                Err(Error::new(format!("{name} is not looked up yet")))
            }
        }
    }
}

fn outcome<T, E: Clone>(result: &Result<T, E>) -> Result<(), E> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => Err(error.clone()),
    }
}
