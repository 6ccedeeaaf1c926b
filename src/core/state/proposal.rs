//! What a reload would change, worked out from the state and the lines of a file alone: any thread can do it.

use crate::core::command::server_keys::{ServerChange, ServerConfig};
use crate::core::command::{Command, ServerRef};
use crate::core::config::{Config, Phase};
use crate::core::config_file::{self, AppliedLines, ErrorReport, FileLines, LineIndex, Subject, part_about};
use crate::core::settings::{AdminState, ReloadMode, Setting, Value, When};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The changes that a reload has made, or would make.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// The changes, as equivalent commands.
    pub changes: Vec<Command>,
    /// Further messages for the administrator.
    pub notices: Vec<String>,
}

impl fmt::Display for Reload {
    /// Lines of a file of commands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|command| writeln!(f, "{command}"))?;
        self.notices.iter().try_for_each(|notice| writeln!(f, "# {notice}"))?;
        if self.changes.is_empty() { writeln!(f, "# no setting changes") } else { Ok(()) }
    }
}

/// What a proposal is made from: the present state, and the lines of a file.
#[derive(Debug, Clone)]
pub struct ReloadSource {
    pub(super) config: Arc<Config>,
    pub(super) command_line: Arc<Config>,
    pub(super) file_named: Arc<BTreeSet<Subject>>,
    pub(super) file: String,
    pub(super) file_lines: Arc<FileLines>,
}

/// The same state and the same lines, which are not looked into.
impl PartialEq for ReloadSource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
            && Arc::ptr_eq(&self.command_line, &other.command_line)
            && Arc::ptr_eq(&self.file_named, &other.file_named)
            && Arc::ptr_eq(&self.file_lines, &other.file_lines)
            && self.file == other.file
    }
}

/// The configuration that a file asks for, and all that is wrong with the file so far.
#[derive(Debug)]
pub struct ReloadProposal {
    pub(super) config: Arc<Config>,
    pub(super) named: Arc<BTreeSet<Subject>>,
    pub(super) blacklists: Vec<(usize, Duration)>,
    pub(super) report: ErrorReport,
    pub(super) reload: Arc<Reload>,
    /// Slots that have another server from now on.
    pub(super) replaced: BTreeSet<usize>,
}

impl ReloadSource {
    /// Makes the proposal. This takes a while with thousands of servers.
    pub fn propose(&self) -> ReloadProposal {
        let (file, file_lines) = (&self.file, &self.file_lines);
        let lines = &file_lines.lines[..];
        let (mut report, mut exact_report) = (ErrorReport::default(), ErrorReport::default());
        report.read(file_lines, 0);
        exact_report.read(file_lines, 0);
        let mut kept = Config::clone(&self.config);
        let mut applied = config_file::apply(&mut kept, lines, 0, Phase::Running, &mut report);
        let mut exact = Config::clone(&self.command_line);
        let exactly = config_file::apply_in_place_of(&self.config, &mut exact, lines, &mut exact_report);
        report.merge(exact_report);
        let fixed = self.keep_what_is_fixed(&mut exact);
        let mut notices: Vec<String> = applied.notices.iter().map(ToString::to_string).collect();
        let mut config = match kept.settings.reload_mode {
            ReloadMode::Exact => {
                // The state of a server is the one that an administrator set last, by whatever means.
                for (n, state) in self.states_kept(&exact) {
                    if !exactly.named.contains(&Subject::Server(n, ServerConfig::state().word())) {
                        Arc::make_mut(&mut exact.servers[n]).state = state;
                    }
                }
                // The slots are those of this configuration.
                AppliedLines { named: applied.named, blacklists: applied.blacklists, .. } = exactly;
                let unnamed = |setting: &Setting| !applied.named.contains(&Subject::Setting(setting.word()));
                let stays = fixed.into_iter().filter(unnamed).flat_map(|setting| exact.commands_of(setting));
                notices
                    .extend(stays.map(|command| format!("not in {file}, kept until a restart: {command}")));
                exact
            }
            ReloadMode::Keep => {
                let before = |subject| match subject {
                    Subject::Server(n, key) => {
                        let moved = applied.moved.iter().find(|(_, to)| *to == n);
                        Subject::Server(moved.map_or(n, |(from, _)| *from), key)
                    }
                    subject => subject,
                };
                let gone =
                    |subject| self.file_named.contains(&before(subject)) && !applied.named.contains(&subject);
                let stays =
                    kept.changes_from(&exact).into_iter().filter_map(|command| part_about(command, gone));
                notices.extend(stays.map(|command| format!("no longer in {file}, kept: {command}")));
                kept
            }
        };
        config.share_servers_of(&self.config);
        let name = |config: &Config, n: usize| config.servers.get(n)?.name.clone();
        let told = |n: &usize| {
            let (old, new) = (name(&self.config, *n)?, name(&config, *n)?);
            Some(format!("server {n}: {new} has the place of {old}"))
        };
        let replaced: BTreeSet<usize> =
            (0..config.servers.len()).filter(|n| self.is_replaced(&config, *n)).collect();
        notices.extend(replaced.iter().filter_map(told));
        let (odd, known) = (config.warnings(), self.config.warnings());
        let index = LineIndex::new(lines, &config);
        let news = odd.into_iter().filter(|warning| !known.contains(warning));
        notices.extend(news.map(|warning| index.place(warning).to_string()));
        let mut changes = config.changes_from(&self.config);
        let blacklist = |(n, time): &(usize, Duration)| {
            Command::Server(ServerRef::Slot(*n), vec![ServerChange::Blacklist(*time)])
        };
        // Blacklisting starts anew with each reload.
        changes.extend(applied.blacklists.iter().map(blacklist));
        ReloadProposal {
            config: Arc::new(config),
            named: Arc::new(applied.named),
            blacklists: applied.blacklists,
            report,
            reload: Arc::new(Reload { changes, notices }),
            replaced,
        }
    }

    /// Whether slot `n` has another server in `config`: both the name and the address are others.
    fn is_replaced(&self, config: &Config, n: usize) -> bool {
        let (Some(before), Some(after)) = (self.config.servers.get(n), config.servers.get(n)) else {
            return false;
        };
        let has_moved = (&before.address, before.port) != (&after.address, after.port);
        let names = before.name.as_ref().zip(after.name.as_ref());
        let are_used = before.address.is_some() && after.address.is_some();
        are_used && has_moved && names.is_some_and(|(before, after)| before != after)
    }

    /// The states that servers of `config` have now: of the server with the same name, or else with the same number, unless
    /// that has become another one.
    fn states_kept(&self, config: &Config) -> Vec<(usize, AdminState)> {
        let used = config.servers.iter().enumerate().filter(|(_, server)| server.address.is_some());
        let state = |(n, server): (usize, &Arc<ServerConfig>)| {
            let by_name = server.name.as_deref().and_then(|name| self.config.slot_named(name));
            let by_number = || {
                let name = self.config.servers.get(n)?.name.as_deref();
                let is_gone = name.is_none_or(|name| config.slot_named(name).is_none());
                Some(n).filter(|_| is_gone && !self.is_replaced(config, n))
            };
            let before = by_name.or_else(by_number)?;
            Some((n, self.config.servers.get(before)?.state))
        };
        used.filter_map(state).collect()
    }

    /// Keeps in `config` the settings in force that cannot change while pen runs. Returns them.
    fn keep_what_is_fixed(&self, config: &mut Config) -> Vec<Setting> {
        let mut fixed = Vec::new();
        for setting in Setting::all() {
            let (spec, old, new) =
                (setting.spec(), setting.get(&self.config.settings), setting.get(&config.settings));
            let shrinks = match (&old, &new) {
                (Value::Number(old), Value::Number(new)) => spec.grows && new < old,
                _ => false,
            };
            let starts = spec.when == When::Start && new != old;
            if starts || shrinks || (spec.required && new == Value::None) {
                // What is a list would only grow.
                setting.set(&mut config.settings, &Value::None);
                setting.set(&mut config.settings, &old);
                fixed.push(setting);
            }
        }
        fixed
    }
}
