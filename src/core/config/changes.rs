//! The difference of two configurations, as commands in an order in which each can be given.

use super::Config;
use crate::core::acl::AclLine;
use crate::core::addr::Host;
use crate::core::command::server_keys::{ServerChange, ServerConfig, ServerKey};
use crate::core::command::{Command, ServerRef};
use crate::core::health::{CheckConfig, CheckKey};
use crate::core::settings::{Setting, Settings, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The changes, by when they can be made.
#[derive(Debug, Default)]
struct OrderedChanges {
    /// Settings.
    first: Vec<Command>,
    /// What leaves more servers to choose from than before.
    servers: Vec<Command>,
    /// What leaves fewer.
    fewer: Vec<Command>,
    /// Names that another server had or has still: the slots, and the names.
    names: Vec<(usize, String)>,
    /// Settings that name checks or servers, or demand something of them.
    last: Vec<Command>,
}

impl Config {
    /// The commands that turn `old` into this configuration. In this order each of them can be given to a pen: what is
    /// named is there, and some server remains. What two settings demand of each other has no such order, and goes by a reload
    /// alone: servers and `listen` that exchange their addresses, a certificate and its key, `http` and an `ssl_alpn`
    /// without its protocol.
    pub fn changes_from(&self, old: &Config) -> Vec<Command> {
        let mut changes = OrderedChanges::default();
        for setting in Setting::all() {
            self.setting_changes(setting, old, &mut changes);
        }
        let checks = self.checks.iter();
        changes
            .first
            .extend(checks.filter_map(|(name, check)| check_change(name, check, old.checks.get(name))));
        changes.first.extend(self.acl_changes(old));
        self.server_changes(old, &mut changes);
        let mut commands = changes.first;
        commands.extend(changes.servers);
        commands.extend(changes.fewer);
        commands.extend(name_changes(changes.names, old));
        commands.extend(changes.last);
        // Checks are removed after the last server that uses them has changed.
        let gone = old.checks.keys().filter(|name| !self.checks.contains_key(*name));
        commands.extend(gone.map(|name| Command::NoCheck(name.clone())));
        commands
    }

    fn acl_changes(&self, old: &Config) -> Vec<Command> {
        let mut changes = Vec::new();
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
        changes
    }

    fn setting_changes(&self, setting: Setting, old: &Config, changes: &mut OrderedChanges) {
        let set = |value| Command::Set(setting, value);
        let (first, last) = (&mut changes.first, &mut changes.last);
        match (setting.get(&self.settings), setting.get(&old.settings)) {
            (Value::SniRoutes(new), Value::SniRoutes(old_routes)) => {
                let added = new.strip_prefix(&old_routes[..]).filter(|_| self.keeps_routed_names(old));
                if added.is_none() && !old_routes.is_empty() {
                    first.push(set(Value::None));
                }
                let added = added.unwrap_or(&new).iter();
                last.extend(added.map(|route| set(Value::SniRoutes(vec![route.clone()]))));
            }
            (new, old) if new == old => {}
            (Value::Words(new), Value::Words(old)) => {
                let goes = old.iter().any(|word| !new.contains(word));
                let added = new.iter().filter(|word| goes || !old.contains(word));
                first.extend(goes.then(|| set(Value::None)));
                first.extend(added.map(|word| set(Value::Words(vec![word]))));
            }
            (Value::Paths(new), Value::Paths(old)) => {
                let added = new.strip_prefix(&old[..]);
                first.extend(added.is_none().then(|| set(Value::None)));
                let added = added.unwrap_or(&new).iter().map(|path| set(Value::Paths(vec![path.clone()])));
                first.extend(added);
            }
            (new, _) if self.comes_last(setting, &new, old) => last.push(set(new)),
            (new, _) => first.push(set(new)),
        }
    }

    /// Whether a setting can only be changed after the servers and the checks.
    fn comes_last(&self, setting: Setting, new: &Value, old: &Config) -> bool {
        let word = setting.word();
        let turns = |of: Setting, to: bool| of.word() == word && *new == Value::Switch(to);
        // With weights, a server needs one, unless there are priorities.
        turns(Settings::weight(), true)
            || turns(Settings::prio(), false)
            || (word == Settings::emergency().word() && *new == Value::None)
            || word == Settings::check_default().word()
            // A server that pen had as its own address, or has from now on.
            || (word == Settings::listen().word()
                && self.listening().is_some_and(|listen| old.servers.iter().any(|server| server.port == listen.port)))
    }

    /// Whether each server that a route names keeps its name all the time.
    fn keeps_routed_names(&self, old: &Config) -> bool {
        let mut names = old.settings.sni_server.iter().flat_map(|route| &route.servers);
        names.all(|name| match ServerRef::parse(name) {
            Ok(name @ ServerRef::Name(_)) => self.slot(&name) == old.slot(&name),
            _ => true,
        })
    }

    fn server_changes(&self, old: &Config, changes: &mut OrderedChanges) {
        let unused = Arc::<ServerConfig>::default();
        let owner = |name: &String| old.slot_named(name);
        let weighted = self.settings.weight && !self.settings.prio;
        for n in 0..self.servers.len().max(old.servers.len()) {
            let (new, old) = (self.servers.get(n).unwrap_or(&unused), old.servers.get(n).unwrap_or(&unused));
            // Most are the same one.
            if new == old {
                continue;
            }
            if *new == unused {
                changes.fewer.push(Command::NoServer(ServerRef::Slot(n)));
                continue;
            }
            let taken = new.name.as_ref().filter(|name| owner(name).is_some_and(|m| m != n));
            changes.names.extend(taken.map(|name| (n, name.clone())));
            let keys = server_change(new, old, |key| taken.is_none() || *key != ServerConfig::name());
            if keys.is_empty() {
                continue;
            }
            let serves = new.address.is_some() && new.port != 0 && (!weighted || new.weight > 0);
            let list = if serves { &mut changes.servers } else { &mut changes.fewer };
            list.push(Command::Server(ServerRef::Slot(n), keys));
        }
        // Servers that remain before those that are removed.
        changes.fewer.sort_by_key(|command| matches!(command, Command::NoServer(_)));
    }
}

/// Gives servers names that others had. Where servers exchange their names, one of them has none for a moment.
fn name_changes(names: Vec<(usize, String)>, old: &Config) -> Vec<Command> {
    let rename = |n: usize, value: Value| {
        Command::Server(ServerRef::Slot(n), vec![ServerChange::Set(ServerConfig::name(), value)])
    };
    let name_before = |n: usize| old.servers.get(n)?.name.as_deref();
    // The slots that have yet to change, by the names that they have until then.
    let mut held: HashMap<&str, usize> =
        names.iter().filter_map(|(n, _)| Some((name_before(*n)?, *n))).collect();
    // Those that can change now, and those that wait for a name, each by its place.
    let mut ready = VecDeque::new();
    let mut waiting: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, (_, name)) in names.iter().enumerate() {
        match held.contains_key(&**name) {
            true => waiting.entry(name).or_default().push(at),
            false => ready.push_back(at),
        }
    }
    let mut commands = Vec::with_capacity(names.len());
    // Where the next cycle is looked for.
    let mut rest = names.iter();
    loop {
        while let Some((n, name)) = ready.pop_front().and_then(|at| names.get(at)) {
            commands.push(rename(*n, Value::Text(name.clone())));
            if let Some(before) = name_before(*n)
                && held.get(before) == Some(n)
            {
                held.remove(before);
                ready.extend(waiting.remove(before).unwrap_or_default());
            }
        }
        let Some((_, name)) = rest.next() else { return commands };
        if waiting.contains_key(&**name)
            && let Some(n) = held.remove(&**name)
        {
            commands.push(rename(n, Value::None));
            ready.extend(waiting.remove(&**name).unwrap_or_default());
        }
    }
}

fn check_change(name: &str, new: &CheckConfig, old: Option<&CheckConfig>) -> Option<Command> {
    let Some(old) = old else { return Some(Command::Check(name.to_owned(), new.changes())) };
    let differs = |key: &CheckKey| key.get(new) != key.get(old);
    let changes: Vec<_> = CheckKey::all().filter(differs).map(|key| (key, key.get(new))).collect();
    (!changes.is_empty()).then(|| Command::Check(name.to_owned(), changes))
}

fn server_change(
    new: &ServerConfig,
    old: &ServerConfig,
    wanted: impl Fn(&ServerKey) -> bool,
) -> Vec<ServerChange> {
    // A path sets the port too.
    let at_path = new.address.as_ref().is_some_and(Host::is_path) && new.address != old.address;
    let differs = |key: &ServerKey| key.get(new) != key.get(old) || (at_path && *key == ServerConfig::port());
    let keys = ServerKey::all().filter(|key| differs(key) && wanted(key));
    keys.map(|key| ServerChange::Set(key, key.get(new))).collect()
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
        while config.servers.last().is_some_and(|slot| **slot == ServerConfig::default()) {
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
            while changed.servers.last().is_some_and(|slot| **slot == ServerConfig::default()) {
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
    fn names_are_exchanged_and_passed_on_without_two_servers_that_have_the_same() {
        let server = |n: usize, name: &str| format!("server {n} address 10.0.0.{n} port 1 name {name}");
        let named = |names: &[&str]| {
            config(&names.iter().enumerate().map(|(n, name)| server(n, name)).collect::<Vec<_>>())
        };
        let told = |new: &[&str], old: &[&str]| {
            let changes = named(new).changes_from(&named(old));
            changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&["b", "c"], &["a", "b"]), ["server 1 name c", "server 0 name b"]);
        let cycle = ["server 1 name \"\"", "server 0 name b", "server 1 name a"];
        assert_eq!(told(&["b", "a"], &["a", "b"]), cycle);
        // The name of one that is removed.
        assert_eq!(told(&["b"], &["a", "b"]), ["no server 1", "server 0 name b"]);
    }

    /// In each direction, and in one cycle: a search for each of them takes minutes.
    #[test]
    fn every_server_may_get_the_name_of_another_one() {
        const COUNT: usize = 60_000;
        let named = |shift: usize, turn: usize| {
            let mut config = Config::default();
            (0..COUNT).for_each(|n| config.name_slot(n, &format!("s{}", (n + shift) % turn)));
            config
        };
        let turned = |new: &Config, old: &Config| {
            let changes = new.changes_from(old);
            let mut changed = old.clone();
            changes.iter().for_each(|command| changed.apply(command, Phase::Start).unwrap());
            assert_eq!(changed, *new);
            changes.len()
        };
        let row = |shift| named(shift, usize::MAX);
        assert_eq!([turned(&row(0), &row(1)), turned(&row(2), &row(1))], [COUNT; 2]);
        // In a cycle, one of them has no name for a moment.
        assert_eq!(turned(&named(1, COUNT), &named(0, COUNT)), COUNT + 1);
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
