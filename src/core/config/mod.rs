//! The configuration: what commands change, what `write` saves and what a snapshot for the workers is made of.

mod changes;
mod check;
mod checks;
mod command_line;
mod servers;
mod serving;
mod slot_index;
mod sockets;
pub mod warnings;

use super::acl::{Acl, LISTS};
use super::addr::Host;
use super::command::server_keys::ServerConfig;
use super::command::{Command, ServerRef};
use super::error::{Error, Fault};
use super::health::CheckConfig;
use super::settings::{Setting, Settings, Value, When};
use super::sni_route::SniRoute;
use slot_index::SlotIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The beginning of what is expected where a check is named, for errors.
pub const CHECK_NAME: &str = "the name of a check";
/// The same for a server.
pub const SERVER_NAME: &str = "the name of a server";

/// Whether pen is starting or serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Everything may still be set.
    Start,
    /// Start-only settings are fixed.
    Running,
}

/// Every setting of pen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The settings that have a table.
    pub settings: Settings,
    acls: Vec<Acl>,
    /// The checks, by their names.
    pub checks: BTreeMap<String, CheckConfig>,
    /// The server slots, which copies of a configuration share. Only [`Config::apply`] may change their names, or which are used.
    pub servers: Vec<Arc<ServerConfig>>,
    slots: Arc<SlotIndex>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            settings: Settings::default(),
            acls: vec![Acl::default(); LISTS],
            checks: BTreeMap::new(),
            servers: Vec::new(),
            slots: Arc::default(),
        }
    }
}

impl Config {
    /// An access list; `n` is below [`LISTS`].
    pub fn acl(&self, n: usize) -> &Acl {
        &self.acls[n]
    }

    /// The access lists, by their numbers.
    pub fn acls(&self) -> &[Acl] {
        &self.acls
    }

    /// The host names among the servers' addresses, including those of `emergency` and `abuse`.
    pub fn names(&self) -> BTreeSet<String> {
        let servers = self.servers.iter().filter_map(|server| server.address.as_ref());
        let special = [&self.settings.emergency, &self.settings.abuse].into_iter().flatten();
        let hosts = servers.chain(special.map(|endpoint| &endpoint.host));
        hosts.filter_map(Host::name).map(str::to_owned).collect()
    }

    /// Shares with `other` the servers that are the same: they take no memory of their own, and are compared at once.
    pub(in crate::core) fn share_servers_of(&mut self, other: &Config) {
        for (server, others) in self.servers.iter_mut().zip(&other.servers) {
            if server == others {
                *server = Arc::clone(others);
            }
        }
    }

    /// Whether each server has the host that it has in `other`.
    pub(in crate::core) fn has_hosts_of(&self, other: &Config) -> bool {
        let is_same =
            |(a, b): (&Arc<ServerConfig>, &Arc<ServerConfig>)| Arc::ptr_eq(a, b) || a.address == b.address;
        let special = |config: &Config| (config.settings.emergency.clone(), config.settings.abuse.clone());
        self.servers.len() == other.servers.len()
            && self.servers.iter().zip(&other.servers).all(is_same)
            && special(self) == special(other)
    }

    /// Those of the host names whose server has this port.
    pub fn names_with_port(&self, port: u16) -> BTreeSet<&str> {
        let slots = self.servers.iter().filter_map(|server| Some((server.address.as_ref()?, server.port)));
        let special = [&self.settings.emergency, &self.settings.abuse].into_iter().flatten();
        let all = slots.chain(special.map(|endpoint| (&endpoint.host, endpoint.port)));
        all.filter(|(_, its)| *its == port).filter_map(|(host, _)| host.name()).collect()
    }

    /// Applies a command that is a setting.
    ///
    /// # Errors
    /// [`Fault::NeedsRestart`] for a change that is not possible while pen runs; [`Fault::NotASetting`] for a query or
    /// an action. The configuration is unchanged then.
    pub fn apply(&mut self, command: &Command, phase: Phase) -> Result<(), Error> {
        match command {
            Command::Set(setting, value) => self.set(*setting, value, phase)?,
            Command::Acl(n, line) => self.acls[*n].add(*line),
            Command::NoAcl(n) => self.acls[*n].clear(),
            Command::Server(server, changes) => {
                let n = self.target(server, changes)?;
                self.change_server(n, server, changes);
            }
            Command::NoServer(server) => self.remove_server(server),
            Command::Check(name, changes) => self.change_check(name, changes),
            Command::NoCheck(name) => self.remove_check(name)?,
            Command::Obsolete(..) => {}
            other => return Err(Fault::NotASetting(other.to_string()).into()),
        }
        Ok(())
    }

    fn set(&mut self, setting: Setting, value: &Value, phase: Phase) -> Result<(), Error> {
        let restart = |subject: &str| Err(Error::from(Fault::NeedsRestart).of(subject));
        if phase == Phase::Running {
            let spec = setting.spec();
            if spec.required && *value == Value::None {
                return restart(&format!("no {}", setting.word()));
            }
            if spec.when == When::Start && self.changes(setting, value) {
                return restart(setting.word());
            }
            if spec.grows
                && let (Value::Number(old), Value::Number(new)) = (setting.get(&self.settings), value)
                && *new < old
            {
                return Ok(());
            }
        }
        setting.set(&mut self.settings, value);
        Ok(())
    }

    /// Whether a value would make the setting another one.
    fn changes(&self, setting: Setting, value: &Value) -> bool {
        let old = setting.get(&self.settings);
        // Not a copy of all settings, some of which are long lists: a file may have a line of this one for each of theirs.
        let mut settings = Settings::default();
        // What is a list would only grow.
        [&Value::None, &old, value].into_iter().for_each(|value| setting.set(&mut settings, value));
        setting.get(&settings) != old
    }

    /// The commands that give a setting its value: one, or one for each word of a list.
    pub fn commands_of(&self, setting: Setting) -> Vec<Command> {
        match setting.get(&self.settings) {
            Value::Words(words) => {
                words.iter().map(|word| Command::Set(setting, Value::Words(vec![word]))).collect()
            }
            Value::Paths(paths) => {
                paths.into_iter().map(|path| Command::Set(setting, Value::Paths(vec![path]))).collect()
            }
            Value::SniRoutes(_) => self.route_commands(0, usize::MAX),
            value => vec![Command::Set(setting, value)],
        }
    }

    /// The commands that add the routes of `sni_server`, at most `most` from the one with number `begin` on.
    pub fn route_commands(&self, begin: usize, most: usize) -> Vec<Command> {
        let routes = self.settings.sni_server.get(begin..).unwrap_or_default().iter().take(most);
        let command =
            |route: &SniRoute| Command::Set(Settings::sni_server(), Value::SniRoutes(vec![route.clone()]));
        routes.map(command).collect()
    }

    /// The commands that turn the default configuration into this one: in C pen's order, with settings that C pen lacks
    /// placed beside related ones.
    pub fn commands(&self) -> Vec<Command> {
        let (mut commands, mut rest) = (Vec::new(), Vec::new());
        for setting in Setting::all() {
            let first = [Settings::listen(), Settings::control()].contains(&setting);
            let written = if first { &mut commands } else { &mut rest };
            match setting.get(&self.settings) {
                Value::None if setting.spec().when == When::Start || setting.spec().required => {}
                _ => written.extend(self.commands_of(setting)),
            }
        }
        for (n, acl) in self.acls.iter().enumerate() {
            commands.push(Command::NoAcl(n));
            commands.extend(acl.lines().map(|line| Command::Acl(n, line)));
        }
        rest.extend(self.checks.iter().map(|(name, check)| Command::Check(name.clone(), check.changes())));
        rest.sort_by_key(|command| match command {
            // Their order counts.
            Command::Set(setting, Value::Paths(_) | Value::SniRoutes(_)) => setting.word().to_owned(),
            command => command.to_string().trim_start_matches("no ").to_owned(),
        });
        let slots =
            self.servers.iter().enumerate().filter(|(_, server)| ***server != ServerConfig::default());
        let at = rest.partition_point(|c| c.to_string().trim_start_matches("no ") < "server");
        rest.splice(at..at, slots.map(|(n, server)| Command::Server(ServerRef::Slot(n), server.changes())));
        commands.extend(rest);
        commands
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::addr::Services;
    use crate::core::settings::ValueKind;
    use proptest::prelude::*;

    /// Lines of every kind of setting.
    pub(crate) fn line() -> impl Strategy<Value = String> {
        fn bounds(kind: ValueKind) -> Option<(u64, u64)> {
            match kind {
                ValueKind::Number { min, max, .. } => Some((min, max)),
                ValueKind::Seconds { min, max, .. } => Some((min.as_secs(), max.as_secs())),
                _ => None,
            }
        }
        let of = |wanted: fn(ValueKind) -> bool| {
            prop::sample::select(Setting::all().filter(|s| wanted(s.spec().kind)).collect::<Vec<_>>())
        };
        let flag = (of(|kind| kind == ValueKind::Switch), any::<bool>())
            .prop_map(|(s, on)| format!("{}{}", if on { "" } else { "no " }, s.word()));
        let number = (of(|kind| bounds(kind).is_some()), any::<prop::sample::Index>()).prop_map(|(s, at)| {
            let (min, max) = bounds(s.spec().kind).unwrap();
            format!("{} {}", s.word(), min + at.index((max - min + 1) as usize) as u64)
        });
        let texts = prop::sample::select(vec![
            "listen 80",
            "listen ::1:99",
            "log /var/log/pen.log",
            "log \"/a b\"",
            "log h:514",
            "no log",
            "source ::1",
            "no source",
            "emergency 10.0.0.1:80",
            "abuse /run/x",
            "user nobody",
            "web_stats \"/a \\\"b\\\\\"",
            "ssl_option no_tlsv1",
            "tcp_fastclose both",
            "tcp_fastclose off",
            "proxy_protocol require",
            "chroot /x",
            "no acl 3",
            "ssl_ciphers HIGH:!aNULL",
            "ssl_certfile /b",
            "ssl_certfile \"/a b\"",
            "no ssl_certfile",
            "sni_server *.example.com web1 2",
            "sni_server a.b 3",
            "no sni_server",
            "no emergency",
            "check web type http path /a expect 200",
            "check smtp type send expect \"220\\r\" every 0.5",
            "server 1 check default",
            "server 2 check none",
        ])
        .prop_map(str::to_owned);
        let acl = (0usize..10, any::<bool>(), any::<u32>(), 0u8..=32).prop_map(|(n, permit, ip, len)| {
            format!(
                "acl {n} {} {}/{len}",
                if permit { "permit" } else { "deny" },
                std::net::Ipv4Addr::from(ip)
            )
        });
        let server = (0usize..6, 0usize..11, 0u32..70_000).prop_map(|(n, key, value)| {
            let value = value % if key == 0 { 10 } else { 65_536 };
            match key {
                6 => format!("server {n} address 10.0.0.{}", value % 256),
                7 => format!("server {n} address /run/s{value}"),
                8 => format!("no server {n}"),
                9 => format!("server {n} name web{value}"),
                10 => format!("server {n} state {}", ["ready", "drain", "maint"][value as usize % 3]),
                key => {
                    format!("server {n} {} {value}", ["acl", "port", "max", "hard", "weight", "prio"][key])
                }
            }
        });
        prop_oneof![flag, number, texts, acl, server]
    }

    fn apply(config: &mut Config, line: &str) {
        let command = Command::parse(line, &Services::parse("")).unwrap().unwrap();
        config.apply(&command, Phase::Start).unwrap();
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(lines in prop::collection::vec(line(), 0..40)) {
            let mut config = Config::default();
            lines.iter().for_each(|line| apply(&mut config, line));
            let mut again = Config::default();
            config.commands().iter().for_each(|command| apply(&mut again, &command.to_string()));
            while config.servers.last().is_some_and(|slot| **slot == ServerConfig::default()) {
                config.servers.pop();
            }
            prop_assert_eq!(config, again);
        }

        #[test]
        fn servers_are_found_by_name_where_they_are(lines in prop::collection::vec(line(), 0..40)) {
            let mut config = Config::default();
            lines.iter().for_each(|line| apply(&mut config, line));
            for name in config.servers.iter().filter_map(|server| server.name.as_ref()) {
                let first = config.servers.iter().position(|server| server.name.as_ref() == Some(name));
                prop_assert_eq!(config.slot(&ServerRef::Name(name.clone())), first);
            }
            let default = ServerConfig::default();
            let unused = config.servers.iter().position(|server| **server == default);
            prop_assert_eq!(config.slots.unused(), unused.unwrap_or(config.servers.len()));
            prop_assert_eq!(config.slot(&ServerRef::Name("nobody".into())), None);
        }

        #[test]
        fn a_command_prints_as_it_parses(line in line()) {
            let services = Services::parse("");
            let parsed = Command::parse(&line, &services).unwrap().unwrap();
            let printed = parsed.to_string();
            prop_assert_eq!(Command::parse(&printed, &services).unwrap().unwrap(), parsed);
        }

        #[test]
        fn any_line_is_survived(line in "(no |server 1 |acl 1 )?[a-z_]{0,12}( [ -~]{0,9}){0,4}") {
            if let Ok(Some(command)) = Command::parse(&line, &Services::parse("")) {
                prop_assert_eq!(Command::parse(&command.to_string(), &Services::parse("")), Ok(Some(command)));
            }
        }
    }

    #[test]
    fn a_running_pen_keeps_its_start_only_settings() {
        let mut config = Config::default();
        apply(&mut config, "user nobody");
        apply(&mut config, "conn_max 700");
        let before = config.clone();
        let mut running = |line: &str| {
            let command = Command::parse(line, &Services::parse("")).unwrap().unwrap();
            config.apply(&command, Phase::Running)
        };
        let restart = |result: Result<(), Error>| *result.unwrap_err().fault() == Fault::NeedsRestart;
        assert_eq!(running("user nobody"), Ok(()));
        assert!(restart(running("user root")));
        assert!(restart(running("no user")));
        assert_eq!(running("conn_max 10"), Ok(()));
        assert_eq!(config, before);
    }
}
