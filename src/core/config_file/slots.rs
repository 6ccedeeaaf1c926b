//! The servers that lines give by number and by name: different ones, whatever the configuration had before.

use super::line::ConfigLine;
use crate::core::command::server_keys::{ServerChange, ServerConfig};
use crate::core::command::{Command, ServerRef};
use crate::core::config::Config;
use crate::core::error::Error;
use crate::core::settings::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The slots to which lines give an address by number. No server that these lines add by name gets one of them, unless they give its
/// name to the slot: a later line would make another server of it, or it of the other.
pub(super) struct NumberedSlots {
    slots: BTreeSet<usize>,
    /// The slots of the names that lines give by number, and those that servers are to keep.
    named: HashMap<String, usize>,
    /// The slots that no other server gets.
    taken: BTreeSet<usize>,
}

impl NumberedSlots {
    /// Those of `lines`.
    pub(super) fn new(lines: &[ConfigLine]) -> Self {
        let numbered = lines.iter().filter_map(|line| match &line.command {
            Command::Server(ServerRef::Slot(n), changes) => Some((*n, changes)),
            _ => None,
        });
        let slots = numbered.filter(|(_, changes)| changes.iter().any(ServerChange::is_address));
        let slots: BTreeSet<usize> = slots.map(|(n, _)| n).collect();
        let named = last_names(lines, &slots).into_iter().map(|(n, name)| (name.to_owned(), n)).collect();
        NumberedSlots { taken: slots.clone(), slots, named }
    }

    /// Also has the servers that `lines` add by name keep the slots that they have in `present`.
    pub(super) fn and_those_of(mut self, present: &Config, lines: &[ConfigLine]) -> Self {
        for name in lines.iter().filter_map(added_name) {
            if let Some(n) =
                present.slot_named(name).filter(|n| !self.slots.contains(n) && !self.named.contains_key(name))
            {
                self.named.insert(name.to_owned(), n);
                self.taken.insert(n);
            }
        }
        self
    }

    /// Moves the servers away that have one of these slots in `config` and that `lines` add by name, unless the lines give
    /// the name to the slot. Returns the old and the new slot of each.
    pub(super) fn clear(&self, config: &mut Config, lines: &[ConfigLine]) -> Vec<(usize, usize)> {
        let name_of = |n: &usize| Some((config.servers.get(*n)?.name.clone()?, *n));
        let mut held: HashMap<String, usize> = self.slots.iter().filter_map(name_of).collect();
        let added: HashSet<&str> = lines.iter().filter_map(added_name).collect();
        held.retain(|name, n| added.contains(name.as_str()) && self.named.get(name) != Some(n));
        let mut moving = Vec::new();
        for line in lines {
            match &line.command {
                _ if held.is_empty() => break,
                Command::NoServer(ServerRef::Slot(n)) => held.retain(|_, slot| slot != n),
                Command::Server(ServerRef::Name(name), _) | Command::NoServer(ServerRef::Name(name)) => {
                    moving.extend(held.remove(name));
                }
                _ => {}
            }
        }
        let move_away = |n| Some((n, config.move_server(n, &self.slots)?));
        moving.into_iter().filter_map(move_away).collect()
    }

    /// Makes a server that the command adds by name have the slot that lines give the name to, or one that is none of these.
    ///
    /// # Errors
    /// No other slot is unused.
    pub(super) fn spare(&self, config: &mut Config, command: &Command) -> Result<(), Error> {
        let has_no_name = |n: usize| config.servers.get(n).is_none_or(|server| server.name.is_none());
        match command {
            Command::Server(server @ ServerRef::Name(name), changes)
                if !self.taken.is_empty()
                    && changes.iter().any(ServerChange::is_address)
                    && config.slot(server).is_none() =>
            {
                match self.named.get(name) {
                    Some(n) if has_no_name(*n) => {
                        config.name_slot(*n, name);
                        Ok(())
                    }
                    _ => config.add_server(name, &self.taken),
                }
            }
            _ => Ok(()),
        }
    }
}

/// The last name that lines give to each of these slots, by its number or by the name before.
fn last_names<'a>(lines: &'a [ConfigLine], slots: &BTreeSet<usize>) -> HashMap<usize, &'a str> {
    let mut names: HashMap<usize, &str> = HashMap::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for line in lines {
        let Command::Server(server, changes) = &line.command else { continue };
        let n = match server {
            ServerRef::Slot(n) => Some(*n),
            ServerRef::Name(name) => by_name.get(name.as_str()).copied(),
        };
        let Some(n) = n.filter(|n| slots.contains(n)) else { continue };
        for name in changes.iter().filter_map(given) {
            if let Some(before) = names.remove(&n) {
                by_name.remove(before);
            }
            if let Some(name) = name {
                names.insert(n, name);
                by_name.insert(name, n);
            }
        }
    }
    names
}

/// The servers that the lines of a file have added by name so far, where they give none an address by number.
#[derive(Default)]
pub(super) struct AddedNames(HashMap<usize, String>);

impl AddedNames {
    /// Notes that a line changes the server in slot `n`.
    ///
    /// # Errors
    /// It gives another name to a server that was added by name. When the file is read again, the server would be there by this
    /// name, and the line that adds it would add another one.
    pub(super) fn note(
        &mut self,
        n: usize,
        server: &ServerRef,
        changes: &[ServerChange],
        numbered: &NumberedSlots,
    ) -> Result<(), Error> {
        if let ServerRef::Name(name) = server
            && changes.iter().any(ServerChange::is_address)
            && !numbered.slots.contains(&n)
        {
            self.0.entry(n).or_insert_with(|| name.clone());
        }
        let Some(added) = self.0.get(&n) else { return Ok(()) };
        match changes.iter().filter_map(given).find(|name| *name != Some(added)) {
            None => Ok(()),
            Some(name) => {
                let expected = format!("the name by which this file adds it, '{added}'");
                Err(Error::expected(expected, name.unwrap_or_default()).of(&format!("server {server} name")))
            }
        }
    }

    /// Notes that a line removes the server in slot `n`.
    pub(super) fn forget(&mut self, n: usize) {
        self.0.remove(&n);
    }
}

/// The name under which a line adds a server, if there is none with it.
fn added_name(line: &ConfigLine) -> Option<&str> {
    match &line.command {
        Command::Server(ServerRef::Name(name), changes) if changes.iter().any(ServerChange::is_address) => {
            Some(name)
        }
        _ => None,
    }
}

/// The name that a change gives to a server, or that it takes the name away; `None` for other changes.
fn given(change: &ServerChange) -> Option<Option<&str>> {
    match change {
        ServerChange::Set(key, value) if *key == ServerConfig::name() => match value {
            Value::Text(name) => Some(Some(name)),
            _ => Some(None),
        },
        _ => None,
    }
}
