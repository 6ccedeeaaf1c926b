//! The state itself, and the world that it depends on.

use super::effect::{Effect, Lookups, Need};
use super::proposal::{ReloadProposal, ReloadSource};
use crate::core::addr::{Endpoint, Host, Services};
use crate::core::config::Config;
use crate::core::config_file::{FileLines, Subject};
use crate::core::error::Error;
use crate::core::settings::Setting;
use crate::core::snapshot::{Resolved, Snapshot, StatsTable};
use crate::core::{Millis, millis};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The environment that the state depends on, which can refuse operations.
pub trait World {
    /// The lines of a file of commands and of those that it includes.
    ///
    /// # Errors
    /// They are not read yet.
    fn load(&mut self, file: &str, services: &Services) -> Result<Arc<FileLines>, Error>;

    /// What a file would change.
    ///
    /// # Errors
    /// It is not worked out yet.
    fn propose(&mut self, source: &ReloadSource) -> Result<Arc<ReloadProposal>, Error>;

    /// Whether a need could be met. Nothing is created, and no client can connect.
    ///
    /// # Errors
    /// All reasons why it could not be met.
    fn check(&mut self, need: &Need) -> Result<(), Vec<Error>>;

    /// Meets a need. The result is discarded if the plan fails later.
    ///
    /// # Errors
    /// All reasons why the need cannot be met.
    fn meet(&mut self, need: &Need) -> Result<(), Vec<Error>>;

    /// Whether a connection to `host`, which is not a name, and `port` reaches a pen that listens on `listening`.
    fn is_own(&self, listening: &Endpoint, host: &Host, port: u16) -> bool;

    /// The current time, on a clock that never goes back.
    fn now(&self) -> Millis;
}

/// The initial data of a pen.
#[derive(Debug, Default)]
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// Servers that are blacklisted at first, and for how long.
    pub blacklists: Vec<(usize, Duration)>,
    /// The addresses found so far.
    pub resolved: Resolved,
    /// Port names.
    pub services: Services,
    /// The file of `-F`.
    pub file: Option<String>,
    /// The settings that it names.
    pub file_named: BTreeSet<Subject>,
    /// The configuration without that file: that of the command line alone.
    pub command_line: Config,
    /// The number of connections that the descriptors suffice for.
    pub descriptors: usize,
    /// The process id.
    pub pid: u32,
    /// Whether clients are served with TLS.
    pub tls: bool,
    /// Whether programs can be started, as exec checks require.
    pub programs: bool,
}

/// Connections that `tarpit_acl` holds at most: to look who of them has gone is to take no more than some milliseconds.
const TARPIT_MAX: usize = 16_384;

/// The state of a running pen.
#[derive(Debug)]
pub struct State {
    pub(super) config: Arc<Config>,
    pub(super) stats: StatsTable,
    pub(super) resolved: Resolved,
    /// The host names in the configuration.
    pub(super) names: Arc<BTreeSet<String>>,
    pub(super) services: Services,
    pub(super) file: Option<String>,
    pub(super) file_named: Arc<BTreeSet<Subject>>,
    pub(super) command_line: Arc<Config>,
    pub(super) descriptors: usize,
    pub(super) pid: u32,
    pub(super) tls: bool,
    pub(super) programs: bool,
    pub(super) stopping: bool,
    pub(super) snapshot: Arc<Snapshot>,
}

impl State {
    /// The state of a pen that starts to serve at `now`.
    pub fn new(start: Start, now: Millis) -> Self {
        let mut stats = StatsTable::default();
        let snapshot = Arc::new(Snapshot::new(&start.config, &mut stats, &start.resolved));
        let mut state = State {
            names: Arc::new(start.config.names()),
            config: Arc::new(start.config),
            stats,
            resolved: start.resolved,
            services: start.services,
            file: start.file,
            file_named: Arc::new(start.file_named),
            command_line: Arc::new(start.command_line),
            descriptors: start.descriptors,
            pid: start.pid,
            tls: start.tls,
            programs: start.programs,
            stopping: false,
            snapshot,
        };
        state.blacklist(&start.blacklists, now);
        state.publish();
        state
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether pen uses TLS with clients or servers.
    pub fn has_tls(&self) -> bool {
        self.tls || self.config.upstream_tls().is_some()
    }

    /// Port names.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The file of `-F`.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// What workers read.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Whether a client may give commands.
    pub fn permits(&self, client: IpAddr) -> bool {
        self.config.acl(self.config.settings.control_acl).permits(Some(client))
    }

    /// The effects to perform at the start of service.
    pub fn begin(&mut self) -> Vec<Effect> {
        let mut effects = self.publish();
        effects.push(self.look_up(BTreeSet::new()));
        effects
    }

    /// Stops accepting clients, since pen is to end. Returns how long the present connections may continue; `None` ends
    /// them at once.
    pub fn stop(&mut self) -> Option<Duration> {
        let time = Some(self.config.settings.stop_timeout).filter(|time| !time.is_zero());
        self.stopping = time.is_some();
        time
    }

    /// Records the addresses of names, all in one snapshot.
    pub fn found(&mut self, found: Resolved) -> Vec<Effect> {
        let news = found.into_iter().filter(|(name, addresses)| self.resolved.get(name) != Some(addresses));
        let news: Vec<_> = news.collect();
        if news.is_empty() {
            return Vec::new();
        }
        self.resolved.extend(news);
        self.publish()
    }

    /// An administrator reports that DNS may have changed: every name is looked up again.
    pub fn look_up_all(&self) -> Effect {
        self.look_up(BTreeSet::clone(&self.names))
    }

    pub(super) fn look_up(&self, again: BTreeSet<String>) -> Effect {
        Effect::LookUp(Lookups { names: Arc::clone(&self.names), again })
    }

    pub(super) fn blacklist(&mut self, servers: &[(usize, Duration)], now: Millis) {
        for (n, time) in servers {
            let time = millis(*time);
            let until = if time == 0 { 0 } else { now.saturating_add(time) };
            self.stats.server(*n).blacklist_until(until);
        }
    }

    /// Makes the snapshot of the configuration in force, and publishes it.
    pub(super) fn publish(&mut self) -> Vec<Effect> {
        let settings = &self.config.settings;
        let keys = self.tls || settings.server_certfile.is_some();
        let mut effects = vec![
            Effect::Diagnostics {
                debug: settings.debug,
                abort_on_error: settings.abort_on_error,
                // With keys in memory, only if it is explicitly requested.
                core_file: settings.abort_on_error || (settings.debug > 0 && !keys),
                keys,
            },
            Effect::GrowClients(settings.clients_max),
        ];
        let mut snapshot = Snapshot::new(&self.config, &mut self.stats, &self.resolved);
        if snapshot.conn_max > self.descriptors {
            effects.push(Effect::ShortOfDescriptors(self.descriptors));
            snapshot.conn_max = self.descriptors;
        }
        // Of two descriptors a connection, those that `conn_max` leaves.
        let left = (self.descriptors - snapshot.conn_max.min(self.descriptors)).saturating_mul(2);
        snapshot.tarpit_max = left.min(TARPIT_MAX);
        self.snapshot = Arc::new(snapshot);
        effects.push(Effect::Publish(Arc::clone(&self.snapshot), Arc::clone(&self.config)));
        effects
    }

    /// The reply of a setting under `config`.
    pub(super) fn answer(&self, setting: Setting, config: &Config) -> String {
        let mut settings = config.settings.clone();
        settings.conn_max = settings.conn_max.min(self.descriptors);
        setting.reply(&settings)
    }
}
