//! Meets the needs of the state and performs its effects.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::core::Millis;
use crate::core::addr::{Endpoint, Host};
use crate::core::end_reason::EndReason;
use crate::core::error::Error;
use crate::core::snapshot::Role;
use crate::core::state::{Effect, Log, Need, World};
use crate::net::check::Checker;
use crate::net::shared::Shared;
use crate::net::tls::{self, TlsSettings};
use crate::net::upstream_tls::LoadedUpstream;
use crate::sys::{atomic_file, crash, log};
use crate::weblog::SinkOutput;

use super::clock;
use super::dns::Dns;
use super::documents::Documents;
use super::listeners::{self, BoundListener};
use super::load;
use super::logs::{self, Logs};
use super::own_address;
use super::workers::ListenerHandles;

/// The system that commands take effect on.
#[derive(Debug)]
pub(super) struct Performer {
    /// The data that the workers share.
    shared: Arc<Shared>,
    /// The source of the JSON documents.
    documents: Arc<Documents>,
    /// The workers, to hand new listeners to.
    listening: ListenerHandles,
    dns: Rc<Dns>,
    /// The task that checks servers.
    checker: Rc<Checker>,
    /// Tells pen to end.
    stop: Rc<Notify>,
    /// The number of workers.
    workers: usize,
    prepared: Prepared,
    /// The names of listening addresses in the command or reload in progress.
    pub(super) names: ListenNames,
}

/// The needs that were met for a plan that is not yet in force.
#[derive(Debug, Default)]
struct Prepared {
    listener: Option<BoundListener>,
    tls: Option<tls::Loaded>,
    upstream_tls: Option<LoadedUpstream>,
    logs: HashMap<Log, Option<SinkOutput>>,
}

/// The names of listening addresses that were looked up for one command or reload.
#[derive(Debug, Default)]
pub(super) struct ListenNames {
    /// The answers of the resolver.
    found: HashMap<String, io::Result<Vec<IpAddr>>>,
    /// A name that is needed and has not been looked up.
    missing: Option<String>,
}

impl ListenNames {
    /// The name that must be looked up before the command can be carried out.
    pub(super) fn take_missing(&mut self) -> Option<String> {
        self.missing.take()
    }

    /// Records the resolver's answer.
    pub(super) fn found(&mut self, name: String, addresses: io::Result<Vec<IpAddr>>) {
        self.found.insert(name, addresses);
    }

    /// The address of a name that was looked up for this command.
    fn address(&self, name: &str) -> Option<IpAddr> {
        self.found.get(name)?.as_ref().ok()?.first().copied()
    }

    /// The endpoint with an address in place of its name.
    ///
    /// # Errors
    /// The name has no address, or has not been looked up.
    fn resolve(&mut self, endpoint: &Endpoint) -> Result<Endpoint, Error> {
        let Host::Name(name) = &endpoint.host else { return Ok(endpoint.clone()) };
        match self.found.get(name) {
            Some(Ok(addresses)) => match addresses.first() {
                Some(ip) => Ok(Endpoint { host: Host::Ip(*ip), port: endpoint.port }),
                None => Err(Error::new(format!("{name} has no address"))),
            },
            Some(Err(error)) => Err(Error::failed(name, io::Error::new(error.kind(), error.to_string()))),
            None => {
                self.missing = Some(name.clone());
                Err(Error::new(format!("{name} is not looked up yet")))
            }
        }
    }
}

impl Performer {
    /// A performer for this pen.
    pub(super) fn new(
        shared: Arc<Shared>,
        documents: Arc<Documents>,
        listening: ListenerHandles,
        dns: Rc<Dns>,
        checker: Rc<Checker>,
        stop: Rc<Notify>,
        workers: usize,
    ) -> Self {
        Performer {
            shared,
            documents,
            listening,
            dns,
            checker,
            stop,
            workers,
            prepared: Prepared::default(),
            names: ListenNames::default(),
        }
    }

    /// Stops accepting clients.
    pub(super) fn retire_listener(&self) {
        self.listening.retire();
    }

    /// The address of the listening name: the one that was looked up for the command in progress, or the one that pen is bound
    /// to.
    pub(super) fn bound_address(&self, name: &str) -> Option<IpAddr> {
        self.names.address(name).or_else(|| self.listening.used().address())
    }

    /// Discards what was prepared for a plan that has failed: a socket would stay bound, and clients would wait in its queue.
    pub(super) fn discard(&mut self) {
        self.prepared = Prepared::default();
    }

    /// Performs the effects of a plan that is in force.
    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        effects.into_iter().for_each(|effect| self.perform_one(effect));
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::UseTls => {
                if let (Some(server), Some(loaded)) = (&self.shared.tls, self.prepared.tls.take()) {
                    server.install(loaded);
                }
            }
            Effect::UseUpstreamTls => {
                if let Some(loaded) = self.prepared.upstream_tls.take() {
                    self.shared.upstream_tls.install(loaded);
                }
            }
            Effect::UseListener => {
                if let Some(listener) = self.prepared.listener.take() {
                    self.listening.move_to(listener);
                }
            }
            Effect::UseLog(log) => {
                if let Some(target) = self.prepared.logs.remove(&log) {
                    Logs::of(&self.shared).get(log).put(target);
                }
            }
            Effect::Publish(snapshot, config) => {
                self.documents.show(config);
                snapshot.wakeup.changes(|| self.shared.snapshot.store(Arc::clone(&snapshot)));
                self.checker.configure(&snapshot);
                self.shared.connections.look_again();
            }
            Effect::ShortOfDescriptors(count) => {
                static SHORT: log::Condition = log::Condition::new();
                SHORT.begin(format_args!("there are descriptors for {count} connections only"));
            }
            Effect::Diagnostics { debug, abort_on_error, core_file, keys } => {
                log::set_debug_level(debug);
                crash::abort_on_panic(abort_on_error);
                crash::allow_core(core_file);
                if keys && !core_file {
                    crash::hide_memory();
                }
            }
            Effect::GrowClients(count) => self.shared.clients.grow(count),
            Effect::WakeConnections => self.shared.connections.settings_changed(),
            Effect::Forget(n, backend) => {
                // In this order, since only then no client can remember it any more.
                backend.stats.remove();
                self.shared.clients.forget(n);
            }
            Effect::Close(n) => _ = self.shared.connections.close(n),
            Effect::CloseServer(n) => {
                self.shared.connections.close_server(Role::Regular(n), EndReason::ClosedByCommand)
            }
            Effect::LookUp(lookups) => self.dns.look_up(lookups),
            Effect::Stop => self.stop.notify_one(),
        }
    }
}

impl World for Performer {
    fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        load::read(file)
    }

    fn meet(&mut self, need: &Need) -> Result<(), Error> {
        match need {
            Need::Tls(settings) => {
                let (Some(server), Some(settings)) = (&self.shared.tls, TlsSettings::of(settings)) else {
                    return Ok(());
                };
                let (loaded, notices) = server.load(&settings)?;
                notices.iter().for_each(|notice| log::warn(format_args!("{notice}")));
                self.prepared.tls = Some(loaded);
            }
            Need::UpstreamTls(settings) => {
                let (loaded, notices) = self.shared.upstream_tls.load(settings, self.workers)?;
                notices.iter().for_each(|notice| log::warn(format_args!("{notice}")));
                self.prepared.upstream_tls = Some(loaded);
            }
            Need::Listener(endpoint, settings) => {
                let endpoint = self.names.resolve(endpoint)?;
                let bound = listeners::listener(&endpoint, settings, self.listening.used())?;
                self.prepared.listener = Some(bound);
            }
            Need::Write(file, lines) => {
                let header =
                    format!("# Written by pen {} at {}\n", env!("CARGO_PKG_VERSION"), clock::local_time());
                atomic_file::replace(file, (header + lines).as_bytes())?;
            }
            Need::Log(log, target) => {
                let opened = logs::open(target.as_ref())?;
                self.prepared.logs.insert(*log, opened);
            }
        }
        Ok(())
    }

    fn is_own(&self, listening: &Endpoint, host: &Host, port: u16) -> bool {
        own_address::is_own(listening, |name| self.bound_address(name), host, port)
    }

    fn now(&self) -> Millis {
        self.shared.now()
    }
}
