//! The servers that lines give by number and by name: different ones, whatever the configuration had before.

use super::line::ConfigLine;
use crate::core::command::server_keys::{ServerChange, ServerConfig};
use crate::core::command::{Command, ServerRef};
use crate::core::config::Config;
use crate::core::error::Error;
use crate::core::settings::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The slots to which lines give an address by number. No server that these lines add by name gets one of them: a later line would
/// make another server of it, or it of the other.
pub(super) struct NumberedSlots(BTreeSet<usize>);

impl NumberedSlots {
    /// Those of `lines`.
    pub(super) fn new(lines: &[ConfigLine]) -> Self {
        let numbered = lines.iter().filter_map(|line| match &line.command {
            Command::Server(ServerRef::Slot(n), changes) => {
                changes.iter().any(ServerChange::is_address).then_some(*n)
            }
            _ => None,
        });
        NumberedSlots(numbered.collect())
    }

    /// Moves the servers away that have one of these slots in `config` and that `lines` add by name, unless the lines give
    /// the name to the slot. Returns the old and the new slot of each.
    pub(super) fn clear(&self, config: &mut Config, lines: &[ConfigLine]) -> Vec<(usize, usize)> {
        let name_of = |n: &usize| Some((config.servers.get(*n)?.name.clone()?, *n));
        let mut held: HashMap<String, usize> = self.0.iter().filter_map(name_of).collect();
        let added: HashSet<&str> = lines.iter().filter_map(added_name).collect();
        held.retain(|name, _| added.contains(name.as_str()));
        let mut moving = Vec::new();
        for line in lines {
            match &line.command {
                _ if held.is_empty() => break,
                Command::Server(ServerRef::Slot(n), changes) => {
                    held.retain(|name, slot| slot != n || !changes.iter().any(|change| gives(change, name)));
                }
                Command::NoServer(ServerRef::Slot(n)) => held.retain(|_, slot| slot != n),
                Command::Server(ServerRef::Name(name), _) | Command::NoServer(ServerRef::Name(name)) => {
                    moving.extend(held.remove(name));
                }
                _ => {}
            }
        }
        let move_away = |n| Some((n, config.move_server(n, &self.0)?));
        moving.into_iter().filter_map(move_away).collect()
    }

    /// Makes a server that the command adds by name have a slot that is none of these.
    ///
    /// # Errors
    /// No other slot is unused.
    pub(super) fn spare(&self, config: &mut Config, command: &Command) -> Result<(), Error> {
        match command {
            Command::Server(server @ ServerRef::Name(name), changes)
                if !self.0.is_empty()
                    && changes.iter().any(ServerChange::is_address)
                    && config.slot(server).is_none() =>
            {
                config.add_server(name, &self.0)
            }
            _ => Ok(()),
        }
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

/// Whether a change gives a server this name.
fn gives(change: &ServerChange, name: &str) -> bool {
    matches!(change, ServerChange::Set(key, Value::Text(text)) if *key == ServerConfig::name() && text == name)
}
