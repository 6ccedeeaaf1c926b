//! The server slots: the slot that a command refers to, and its changes.

use super::{Config, SERVER_NAME};
use crate::core::command::server_keys::{ServerChange, ServerConfig};
use crate::core::command::{SERVERS_MAX, ServerRef};
use crate::core::error::Error;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

impl Config {
    /// The slot of an existing server; a slot given by its number may be unused.
    pub fn slot(&self, server: &ServerRef) -> Option<usize> {
        match server {
            ServerRef::Slot(n) => Some(*n),
            ServerRef::Name(name) => self.slot_named(name),
        }
    }

    /// The slot of the server with this name.
    pub(in crate::core) fn slot_named(&self, name: &str) -> Option<usize> {
        self.slots.named(name)
    }

    /// The slot that `changes` of a server apply to. An unknown name adds a server, in the lowest unused slot.
    ///
    /// # Errors
    /// An unknown name without an address (it is misspelt), or no unused slot.
    pub fn target(&self, server: &ServerRef, changes: &[ServerChange]) -> Result<usize, Error> {
        if let Some(n) = self.slot(server) {
            return Ok(n);
        }
        let subject = format!("server {server}");
        if !changes.iter().any(ServerChange::is_address) {
            let expected = format!("{SERVER_NAME}, or an address for a new one");
            return Err(Error::expected(expected, server.to_string()).of(&subject));
        }
        self.unused_slot(&BTreeSet::new()).ok_or_else(|| no_slot().of(&subject))
    }

    /// The lowest unused slot that is none of `numbered`.
    fn unused_slot(&self, numbered: &BTreeSet<usize>) -> Option<usize> {
        let mut slots = (self.slots.unused()..SERVERS_MAX).filter(|n| !numbered.contains(n));
        slots.find(|n| self.is_unused_slot(*n))
    }

    /// Adds a server of which nothing but its name is known, in the lowest unused slot that is none of `numbered`.
    ///
    /// # Errors
    /// There is no such slot.
    pub(in crate::core) fn add_server(
        &mut self,
        name: &str,
        numbered: &BTreeSet<usize>,
    ) -> Result<(), Error> {
        let n = self.unused_slot(numbered).ok_or_else(|| no_slot().of(&format!("server {name}")))?;
        self.name_slot(n, name);
        Ok(())
    }

    /// Whether slot `n` has no server, and nothing is known of one.
    pub(in crate::core) fn is_unused_slot(&self, n: usize) -> bool {
        // Few slots without an address have anything else.
        let is_unused =
            |slot: &Arc<ServerConfig>| slot.address.is_none() && **slot == ServerConfig::default();
        self.servers.get(n).is_none_or(is_unused)
    }

    /// Gives the server in slot `n` this name.
    pub(in crate::core) fn name_slot(&mut self, n: usize, name: &str) {
        self.change_slot(n, |slot| slot.name = Some(name.to_owned()));
    }

    /// Moves the server in slot `n` as [`Config::add_server`] does; returns its new slot. If there is none, it stays.
    pub(in crate::core) fn move_server(&mut self, n: usize, numbered: &BTreeSet<usize>) -> Option<usize> {
        let to = self.unused_slot(numbered)?;
        self.servers.get(n)?;
        let server = self.change_slot(n, std::mem::take);
        self.change_slot(to, |slot| *slot = server);
        Some(to)
    }

    /// Changes slot `n`, which need not be there yet.
    fn change_slot<R>(&mut self, n: usize, change: impl FnOnce(&mut ServerConfig) -> R) -> R {
        if self.servers.len() <= n {
            self.servers.resize(n + 1, Arc::default());
        }
        let slot = Arc::make_mut(&mut self.servers[n]);
        let before = slot.name.clone();
        let result = change(slot);
        if self.slots.concerns(n, before.as_deref(), &self.servers) {
            Arc::make_mut(&mut self.slots).changed(n, before, &self.servers);
        }
        result
    }

    /// Applies `changes` to the slot `n`, which `server` refers to.
    pub(super) fn change_server(&mut self, n: usize, server: &ServerRef, changes: &[ServerChange]) {
        if changes.iter().all(ServerChange::is_event) {
            return;
        }
        self.change_slot(n, |slot| {
            if let ServerRef::Name(name) = server {
                slot.name = Some(name.clone());
            }
            changes.iter().for_each(|change| slot.apply(change));
        });
    }

    /// Empties the slot of a server. If there is no such server, there is nothing to do.
    pub(super) fn remove_server(&mut self, server: &ServerRef) {
        if let Some(n) = self.slot(server).filter(|n| *n < self.servers.len()) {
            self.change_slot(n, |slot| *slot = ServerConfig::default());
        }
        while self.servers.last().is_some_and(|slot| **slot == ServerConfig::default()) {
            self.servers.pop();
        }
    }

    /// Whether the server has no settings at all.
    pub fn is_unused(&self, server: &ServerRef) -> bool {
        self.slot(server).is_none_or(|n| self.is_unused_slot(n))
    }

    /// Servers with the name of another one. Found after all commands of a file are applied, since they may exchange
    /// names.
    pub(super) fn name_errors(&self) -> Vec<Error> {
        if self.slots.has_unique_names() {
            return Vec::new();
        }
        let (mut names, mut errors) = (HashMap::new(), Vec::new());
        for (n, slot) in self.servers.iter().enumerate() {
            let Some(name) = &slot.name else { continue };
            let first = *names.entry(name).or_insert(n);
            if first != n {
                let expected = format!("a name that no other server has, as server {first} has");
                errors.push(Error::expected(expected, name).of(&format!("server {n} name")));
            }
        }
        errors
    }
}

fn no_slot() -> Error {
    Error::new(format!("there are {SERVERS_MAX} servers, and no slot is unused"))
}

#[cfg(test)]
mod tests {
    use crate::core::addr::Services;
    use crate::core::command::Command;
    use crate::core::config::{Config, Phase};

    fn apply(config: &mut Config, line: &str) -> Result<(), String> {
        let command = Command::parse(line, &Services::parse("")).unwrap().unwrap();
        config.apply(&command, Phase::Running).map_err(|error| error.to_string())
    }

    fn names(config: &Config) -> Vec<&str> {
        config.servers.iter().map(|slot| slot.name.as_deref().unwrap_or("-")).collect()
    }

    #[test]
    fn a_name_stands_for_its_server_and_a_new_one_adds_a_server() {
        let mut config = Config::default();
        for line in [
            "server 1 address 10.0.0.1 port 80",
            "server a address 10.0.0.2 port 80",
            "server b address 10.0.0.3 port 80 weight 2",
            "server b weight 3",
            "server 1 name c",
        ] {
            apply(&mut config, line).unwrap();
        }
        assert_eq!(names(&config), ["a", "c", "b"]);
        assert_eq!(config.servers[2].weight, 3);
        apply(&mut config, "server b name d port 81").unwrap();
        assert_eq!((names(&config), config.servers[2].port), (vec!["a", "c", "d"], 81));
        // An unknown name is misspelt, unless it has an address.
        let before = config.clone();
        for line in ["server b weight 1", "server b blacklist 5", "server b"] {
            let error = apply(&mut config, line).unwrap_err();
            let expected = "expected the name of a server, or an address for a new one, got 'b'";
            assert_eq!(error, format!("server b: {expected}"));
        }
        assert_eq!(config, before);
    }

    #[test]
    fn names_are_unique_once_all_is_said() {
        let mut config = Config::default();
        apply(&mut config, "server a address 10.0.0.1").unwrap();
        apply(&mut config, "server b address 10.0.0.2").unwrap();
        apply(&mut config, "server 0 name b").unwrap();
        let errors: Vec<_> = config.errors().iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            ["server 1 name: expected a name that no other server has, as server 0 has, got 'b'"]
        );
        apply(&mut config, "server 1 name a").unwrap();
        assert_eq!((config.errors(), names(&config)), (vec![], vec!["b", "a"]));
    }
}
