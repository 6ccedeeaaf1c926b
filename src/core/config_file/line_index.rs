//! Which line of a file an error is about.

use super::line::ConfigLine;
use crate::core::command::server_keys::{ServerChange, ServerConfig};
use crate::core::command::{Command, ServerRef};
use crate::core::config::Config;
use crate::core::error::Error;
use crate::core::settings::Value;
use std::collections::HashMap;

/// The last line about each setting, server, key, access list, check and route. Built once, since a file may have a
/// million lines and hundreds of errors.
#[derive(Debug)]
pub struct LineIndex<'a> {
    lines: &'a [ConfigLine],
    last: HashMap<String, usize>,
}

impl<'a> LineIndex<'a> {
    /// The index of the lines that have made `config`.
    pub fn new(lines: &'a [ConfigLine], config: &Config) -> Self {
        let mut last = HashMap::new();
        for (n, line) in lines.iter().enumerate() {
            last.extend(topics(&line.command, config).into_iter().map(|topic| (topic, n)));
        }
        LineIndex { lines, last }
    }

    /// The number of the last line that sets what the error is about. If none sets the key of a server or of a check, the
    /// last one about the server or the check. An error in a file that a setting names may have no subject; then the
    /// line is the one with the name of that file.
    pub(super) fn position(&self, error: &Error) -> Option<usize> {
        if let Some(topic) = error.topic() {
            let whole = || topic.rsplit_once(' ').map(|(whole, _)| whole);
            let found = self.last.get(topic).or_else(|| self.last.get(whole()?));
            if let Some(n) = found {
                return Some(*n);
            }
        }
        let text = error.to_string();
        self.lines.iter().rposition(|line| match &line.command {
            Command::Set(setting, value) => setting.spec().tls && text.starts_with(&format!("{value}: ")),
            _ => false,
        })
    }

    /// The same error with the place of that line, if there is one.
    pub fn place(&self, error: Error) -> Error {
        match self.position(&error).and_then(|n| self.lines.get(n)) {
            Some(line) => error.at(&line.at),
            None => error,
        }
    }
}

/// What a command is about, in the words of errors.
fn topics(command: &Command, config: &Config) -> Vec<String> {
    match command {
        Command::Set(setting, value) => {
            let mut topics = vec![setting.word().to_owned()];
            if let Value::SniRoutes(routes) = value {
                topics.extend(routes.iter().map(|route| format!("{} {}", setting.word(), route.pattern)));
            }
            topics
        }
        Command::Server(server, changes) => {
            let slot = match server {
                ServerRef::Slot(_) => None,
                ServerRef::Name(name) => config.slot_named(name).map(ServerRef::Slot),
            };
            let name = matches!(server, ServerRef::Name(_)).then(ServerConfig::name);
            let keys = || changes.iter().filter_map(ServerChange::key).chain(name);
            let names = [Some(server), slot.as_ref()].into_iter().flatten();
            names
                .flat_map(|name| {
                    let whole = format!("server {name}");
                    let parts: Vec<_> = keys().map(|key| format!("{whole} {}", key.word())).collect();
                    parts.into_iter().chain([whole])
                })
                .collect()
        }
        Command::Acl(n, _) => vec![format!("acl {n}")],
        Command::Check(name, changes) => {
            let whole = format!("check {name}");
            let parts = changes.iter().map(|(key, _)| format!("{whole} {}", key.word()));
            parts.chain([whole.clone()]).collect()
        }
        _ => Vec::new(),
    }
}
