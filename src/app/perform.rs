//! Meets the needs of the state and performs its effects.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::core::Millis;
use crate::core::addr::{Endpoint, Host, Services};
use crate::core::config_file::FileLines;
use crate::core::end_reason::EndReason;
use crate::core::error::Error;
use crate::core::snapshot::Role;
use crate::core::state::{Effect, Need, ReloadProposal, ReloadSource, World};
use crate::net::check::Checker;
use crate::net::shared::Shared;
use crate::net::tls::TlsSettings;
use crate::sys::{crash, log};

use super::dns::Dns;
use super::documents::Documents;
use super::listeners;
use super::logs::Logs;
use super::own_address;
use super::prepared::Prepared;
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
    /// What was prepared for the command or reload in progress.
    pub(super) prepared: Prepared,
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
    ) -> Self {
        Performer { shared, documents, listening, dns, checker, stop, prepared: Prepared::default() }
    }

    /// Stops accepting clients.
    pub(super) fn retire_listener(&self) {
        self.listening.retire();
    }

    /// The address of the listening name: the one that was looked up for the command in progress, or the one that pen is bound
    /// to.
    pub(super) fn bound_address(&self, name: &str) -> Option<IpAddr> {
        self.prepared.address(name).or_else(|| self.listening.used().address())
    }

    /// Performs the effects of a plan that is in force.
    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        effects.into_iter().for_each(|effect| self.perform_one(effect));
        // Keys that were only checked, for example.
        self.prepared = Prepared::default();
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::UseTls => {
                if let (Some(server), Some(loaded)) = (&self.shared.tls, self.prepared.take_tls()) {
                    server.install(loaded);
                }
            }
            Effect::UseUpstreamTls => {
                if let Some(loaded) = self.prepared.take_upstream_tls() {
                    self.shared.upstream_tls.install(loaded);
                }
            }
            Effect::UseListener => {
                if let Some(listener) = self.prepared.listener.take() {
                    self.listening.move_to(listener);
                }
            }
            Effect::UseLog(log) => {
                if let Some(target) = self.prepared.take_log(log) {
                    Logs::of(&self.shared).get(log).put(target);
                }
            }
            Effect::Publish(snapshot, config) => {
                self.documents.show(config);
                snapshot.replaces(&self.shared.snapshot.load(), self.shared.now());
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
                if let Some(server) = self.shared.snapshot.load().backend(Role::Regular(n)) {
                    self.shared.connections.close_server(server, EndReason::ClosedByCommand);
                }
            }
            Effect::LookUp(lookups) => self.dns.look_up(lookups),
            Effect::Stop => self.stop.notify_one(),
        }
    }
}

impl World for Performer {
    fn load(&mut self, file: &str, services: &Services) -> Result<Arc<FileLines>, Error> {
        self.prepared.lines(file, services)
    }

    fn propose(&mut self, source: &ReloadSource) -> Result<Arc<ReloadProposal>, Error> {
        self.prepared.proposal(source)
    }

    fn check(&mut self, need: &Need) -> Result<(), Vec<Error>> {
        let checked = match need {
            Need::Tls(_) | Need::UpstreamTls(_) => return self.meet(need),
            Need::Listener(endpoint, settings) => {
                let endpoint = self.prepared.resolve(endpoint);
                endpoint.and_then(|endpoint| listeners::check(&endpoint, settings, self.listening.used()))
            }
            Need::Log(log, Some(target)) => self.prepared.checked_log(*log, target),
            Need::Log(_, None) | Need::Write(..) => Ok(()),
        };
        checked.map_err(|error| vec![error])
    }

    fn meet(&mut self, need: &Need) -> Result<(), Vec<Error>> {
        let met = match need {
            Need::Tls(settings) => match (&self.shared.tls, TlsSettings::of(settings)) {
                (Some(_), Some(settings)) => return self.prepared.tls(settings),
                _ => Ok(()),
            },
            Need::UpstreamTls(settings) => return self.prepared.upstream_tls(settings),
            Need::Listener(endpoint, settings) => {
                let endpoint = self.prepared.resolve(endpoint);
                let bound = endpoint
                    .and_then(|endpoint| listeners::listener(&endpoint, settings, self.listening.used()));
                bound.map(|bound| self.prepared.listener = Some(bound))
            }
            Need::Write(file, config) => self.prepared.written(file, config),
            Need::Log(log, target) => self.prepared.log(*log, target.as_ref()),
        };
        met.map_err(|error| vec![error])
    }

    fn is_own(&self, listening: &Endpoint, host: &Host, port: u16) -> bool {
        own_address::is_own(listening, |name| self.bound_address(name), host, port)
    }

    fn now(&self) -> Millis {
        self.shared.now()
    }
}
