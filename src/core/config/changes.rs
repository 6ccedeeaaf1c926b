//! The difference of two configurations, as commands.

use super::Config;
use crate::core::acl::AclLine;
use crate::core::addr::Host;
use crate::core::command::server_keys::{ServerChange, ServerConfig, ServerKey};
use crate::core::command::{Command, ServerRef};
use crate::core::health::{CheckConfig, CheckKey};
use crate::core::settings::{Setting, Value};

impl Config {
    /// The commands that turn `old` into this configuration.
    pub fn changes_from(&self, old: &Config) -> Vec<Command> {
        let mut changes: Vec<Command> =
            Setting::all().flat_map(|setting| self.setting_changes(setting, old)).collect();
        changes.extend(
            self.checks.iter().flat_map(|(name, check)| check_changes(name, check, old.checks.get(name))),
        );
        for (n, (new, old)) in self.acls.iter().zip(&old.acls).enumerate() {
            let lost = old.default_line().is_some() && new.default_line().is_none();
            let added = new.entries().strip_prefix(old.entries()).filter(|_| !lost);
            if added.is_none() {
                changes.push(Command::NoAcl(n));
            }
            let entries = added.unwrap_or(new.entries()).iter().copied().map(AclLine::Entry);
            let default =
                new.default_line().filter(|_| added.is_none() || new.default_line() != old.default_line());
            changes.extend(entries.chain(default).map(|line| Command::Acl(n, line)));
        }
        let unused = ServerConfig::default();
        for n in 0..self.servers.len().max(old.servers.len()) {
            let slot = |config: &Config| config.servers.get(n).cloned();
            let new = slot(self).unwrap_or_else(|| unused.clone());
            changes.extend(server_changes(n, &new, &slot(old).unwrap_or_else(|| unused.clone())));
        }
        // Checks are removed after the last server that uses them has changed.
        let gone = old.checks.keys().filter(|name| !self.checks.contains_key(*name));
        changes.extend(gone.map(|name| Command::NoCheck(name.clone())));
        changes
    }

    fn setting_changes(&self, setting: Setting, old: &Config) -> Vec<Command> {
        let (new, old) = (setting.get(&self.settings), setting.get(&old.settings));
        let set = |value| Command::Set(setting, value);
        match (new, old) {
            (new, old) if new == old => Vec::new(),
            (Value::Words(new), Value::Words(old)) => {
                let goes = old.iter().any(|word| !new.contains(word));
                let added = new.iter().filter(|word| goes || !old.contains(word));
                let first = goes.then(|| set(Value::None));
                first.into_iter().chain(added.map(|word| set(Value::Words(vec![word])))).collect()
            }
            (Value::Paths(new), Value::Paths(old)) => {
                let added = new.strip_prefix(&old[..]);
                let first = added.is_none().then(|| set(Value::None));
                let added = added.unwrap_or(&new).iter().map(|path| set(Value::Paths(vec![path.clone()])));
                first.into_iter().chain(added).collect()
            }
            (Value::SniRoutes(new), Value::SniRoutes(old)) => {
                let added = new.strip_prefix(&old[..]);
                let first = added.is_none().then(|| set(Value::None));
                let added =
                    added.unwrap_or(&new).iter().map(|route| set(Value::SniRoutes(vec![route.clone()])));
                first.into_iter().chain(added).collect()
            }
            (new, _) => vec![set(new)],
        }
    }
}

fn check_changes(name: &str, new: &CheckConfig, old: Option<&CheckConfig>) -> Vec<Command> {
    let Some(old) = old else { return vec![Command::Check(name.to_owned(), new.changes())] };
    let unset = CheckKey::all().any(|key| key.get(new) == Value::None && key.get(old) != Value::None);
    if unset {
        return vec![Command::NoCheck(name.to_owned()), Command::Check(name.to_owned(), new.changes())];
    }
    let differs = |key: &CheckKey| key.get(new) != key.get(old);
    let changes: Vec<_> = CheckKey::all().filter(differs).map(|key| (key, key.get(new))).collect();
    if changes.is_empty() { Vec::new() } else { vec![Command::Check(name.to_owned(), changes)] }
}

fn server_changes(n: usize, new: &ServerConfig, old: &ServerConfig) -> Vec<Command> {
    let unused = ServerConfig::default();
    // A key without a value cannot be unset by itself: the whole server is removed and added again.
    let unset = ServerKey::all().any(|key| key.get(new) == Value::None && key.get(old) != Value::None);
    let mut commands = Vec::new();
    if unset {
        commands.push(Command::NoServer(ServerRef::Slot(n)));
    }
    let old = if unset { &unused } else { old };
    // A path sets the port too.
    let at_path = new.address.as_ref().is_some_and(Host::is_path) && new.address != old.address;
    let differs = |key: &ServerKey| key.get(new) != key.get(old) || (at_path && *key == ServerConfig::port());
    let changes: Vec<ServerChange> =
        ServerKey::all().filter(differs).map(|key| ServerChange::Set(key, key.get(new))).collect();
    if !changes.is_empty() {
        commands.push(Command::Server(ServerRef::Slot(n), changes));
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::addr::Services;
    use crate::core::config::Phase;
    use crate::core::config::tests::line;
    use proptest::prelude::*;

    fn apply(config: &mut Config, line: &str) {
        let command = Command::parse(line, &Services::default()).unwrap().unwrap();
        config.apply(&command, Phase::Start).unwrap();
    }

    fn config(lines: &[String]) -> Config {
        let mut config = Config::default();
        lines.iter().for_each(|line| apply(&mut config, line));
        while config.servers.last() == Some(&ServerConfig::default()) {
            config.servers.pop();
        }
        config
    }

    proptest! {
        #[test]
        fn they_turn_the_one_into_the_other(
            both in prop::collection::vec(line(), 0..20),
            old in prop::collection::vec(line(), 0..20),
            new in prop::collection::vec(line(), 0..20),
        ) {
            let old = config(&[&both[..], &old[..]].concat());
            let new = config(&[&both[..], &new[..]].concat());
            let mut changed = old.clone();
            new.changes_from(&old).iter().for_each(|command| apply(&mut changed, &command.to_string()));
            while changed.servers.last() == Some(&ServerConfig::default()) {
                changed.servers.pop();
            }
            prop_assert_eq!(&changed, &new);
            prop_assert_eq!(new.changes_from(&changed), []);
        }
    }

    #[test]
    fn the_port_of_a_path_is_kept() {
        let [old, new] = ["server 4 address 127.0.0.1 port 2", "server 4 address /run/s0"].map(str::to_owned);
        let old = config(&[old]);
        let new = config(&[new, "server 4 port 2".to_owned()]);
        let mut changed = old.clone();
        new.changes_from(&old).iter().for_each(|command| apply(&mut changed, &command.to_string()));
        assert_eq!(changed, new);
    }

    #[test]
    fn only_what_differs_is_told() {
        let old = ["ssl_option no_tlsv1", "ssl_option no_tlsv1.1", "acl 1 permit 10.0.0.1", "server 1 max 3"];
        let new =
            ["ssl_option no_tlsv1", "acl 1 permit 10.0.0.1", "acl 1 deny 10.0.0.2", "server 1 max 4 port 7"];
        let [old, new] = [old, new].map(|lines| config(&lines.map(str::to_owned)));
        let told: Vec<String> = new.changes_from(&old).iter().map(ToString::to_string).collect();
        let expected = [
            "no ssl_option",
            "ssl_option no_tlsv1",
            "acl 1 deny 10.0.0.2 255.255.255.255",
            "server 1 port 7 max 4",
        ];
        assert_eq!(told, expected);
        assert_eq!(old.changes_from(&new)[1].to_string(), "no acl 1");
    }
}
