//! What a command requires and may have to wait for: files that are read or written, what a reload would change, and names that are
//! looked up.
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
use crate::core::state::{Log, ReloadProposal, ReloadSource};
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

/// How often what a file would change is worked out while other commands are carried out.
const PROPOSALS_MAX: usize = 3;

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
    proposal: Option<(ReloadSource, Arc<ReloadProposal>)>,
    /// How often a proposal was asked for that was not there.
    proposals: usize,
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
    /// It is worked out what a file would change.
    Propose(ReloadSource),
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
        self.proposal = None;
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
            FileWork::Propose(source) => _ = self.propose(source),
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

    fn propose(&mut self, source: ReloadSource) -> Arc<ReloadProposal> {
        let proposal = Arc::new(source.propose());
        self.proposal = Some((source, Arc::clone(&proposal)));
        proposal
    }

    /// What a file would change.
    ///
    /// # Errors
    /// It is not worked out yet. Other commands are carried out meanwhile; if they change the configuration again and again, it is
    /// worked out at once in the end.
    pub(super) fn proposal(&mut self, source: &ReloadSource) -> Result<Arc<ReloadProposal>, Error> {
        match &self.proposal {
            Some((of, proposal)) if of == source => Ok(Arc::clone(proposal)),
            _ if self.proposals < PROPOSALS_MAX => {
                self.proposals += 1;
                Err(self.lacks(FileWork::Propose(source.clone())))
            }
            _ => Ok(self.propose(source.clone())),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Millis;
    use crate::core::command::Command;
    use crate::core::config::Phase;
    use crate::core::state::{Need, Start, State, World};

    /// A world in which only proposals have to be waited for.
    struct Proposing {
        prepared: Prepared,
        lines: Arc<FileLines>,
    }

    impl World for Proposing {
        fn load(&mut self, _: &str, _: &Services) -> Result<Arc<FileLines>, Error> {
            Ok(Arc::clone(&self.lines))
        }

        fn propose(&mut self, source: &ReloadSource) -> Result<Arc<ReloadProposal>, Error> {
            self.prepared.proposal(source)
        }

        fn check(&mut self, _: &Need) -> Result<(), Vec<Error>> {
            Ok(())
        }

        fn meet(&mut self, _: &Need) -> Result<(), Vec<Error>> {
            Ok(())
        }

        fn is_own(&self, _: &Endpoint, _: &Host, _: u16) -> bool {
            false
        }

        fn now(&self) -> Millis {
            1
        }
    }

    /// Whether a reload must wait until its changes are worked out, which is done.
    fn waits(state: &mut State, world: &mut Proposing) -> bool {
        let reloaded = state.reload(world).is_ok();
        match world.prepared.take_missing() {
            Some(Missing::Files(FileWork::Propose(source))) => {
                world.prepared.propose(source);
                assert!(!reloaded);
                true
            }
            other => {
                assert!(reloaded, "{other:?}");
                false
            }
        }
    }

    #[test]
    fn a_reload_is_worked_out_before_it_is_carried_out_but_not_for_ever() {
        let parsed = |line: &str| Command::parse(line, &Services::default()).unwrap().unwrap();
        let read = |_: &str| Ok("listen 80\nserver 0 address 10.0.0.1 port 1 weight 7\n".into());
        let lines = Arc::new(config_file::load("f", &Services::default(), &read));
        let new = || {
            let mut config = Config::default();
            config.apply(&parsed("listen 80"), Phase::Start).unwrap();
            let start = Start { config, file: Some("f".into()), descriptors: 1000, ..Start::default() };
            let world = Proposing { prepared: Prepared::default(), lines: Arc::clone(&lines) };
            (State::new(start, 1), world)
        };
        let (mut state, mut world) = new();
        assert!(waits(&mut state, &mut world) && !waits(&mut state, &mut world));
        // Each change of the configuration makes another proposal necessary.
        let (mut state, mut world) = new();
        let mut times = 0;
        while waits(&mut state, &mut world) {
            times += 1;
            let command = parsed(&format!("server 0 address 10.0.0.1 port 1 max {times}"));
            state.apply(&command, &mut world).unwrap();
        }
        assert_eq!(times, PROPOSALS_MAX);
        let server = &state.config().servers[0];
        assert_eq!((server.weight, server.max), (7, u32::try_from(times).unwrap()));
    }
}
