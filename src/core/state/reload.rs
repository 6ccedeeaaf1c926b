//! Reload of the file of `-F`: what it changes, and what is kept although the file no longer names it.

use super::plan::{Outcome, Plan};
use super::running::{State, World};
use crate::core::command::server_keys::{ServerChange, ServerConfig};
use crate::core::command::{Command, ServerRef};
use crate::core::config::{Config, Phase};
use crate::core::config_file::{self, AppliedLines, ErrorReport, FileLines, LineIndex, Subject, part_about};
use crate::core::error::Error;
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

/// The configuration that a file asks for, and all that is wrong with the file so far.
struct Proposal {
    config: Config,
    file_lines: Arc<FileLines>,
    applied: AppliedLines,
    report: ErrorReport,
    reload: Reload,
    /// See [`Plan::replaced`].
    replaced: BTreeSet<usize>,
}

impl State {
    /// Reads the file of `-F` again, all of it or nothing; without such a file, the TLS files.
    ///
    /// # Errors
    /// All that is wrong. Nothing has changed then.
    pub fn reload(&mut self, world: &mut dyn World) -> Outcome<Reload> {
        let Some(file) = self.file.clone() else {
            let effects = if self.has_tls() { self.reload_tls(world)? } else { Vec::new() };
            return Ok((Reload::default(), effects));
        };
        let Proposal { config, file_lines, applied, report, reload, replaced } =
            self.propose(&file, world)?;
        let again = config.names();
        let config = Arc::new(config);
        let plan = Plan { config, rereads: true, blacklists: applied.blacklists, again, replaced };
        let effects = self.run_lines(plan, &file, &file_lines, report, world)?;
        self.file_named = applied.named;
        Ok((reload, effects))
    }

    /// The changes that [`State::reload`] would make if `file` were that of `-F`.
    ///
    /// # Errors
    /// All that is wrong with the file.
    pub(super) fn diff(&self, file: Option<&str>, world: &mut dyn World) -> Result<Reload, Vec<Error>> {
        let Some(file) = file.or(self.file.as_deref()) else {
            return Err(vec![Error::new("no file; name one, or start pen with -F").of("diff")]);
        };
        let Proposal { config, file_lines, report, reload, .. } = self.propose(file, world)?;
        let plan = Plan { config: Arc::new(config), rereads: true, ..Plan::default() };
        self.judge_lines(&plan, file, &file_lines, report, world).map(|_| reload)
    }

    fn propose(&self, file: &str, world: &mut dyn World) -> Result<Proposal, Vec<Error>> {
        let file_lines = world.load(file, &self.services).map_err(|error| vec![error])?;
        let lines = &file_lines.lines[..];
        let (mut report, mut exact_report) = (ErrorReport::default(), ErrorReport::default());
        report.read(&file_lines, 0);
        exact_report.read(&file_lines, 0);
        let mut kept = Config::clone(&self.config);
        let mut applied = config_file::apply(&mut kept, lines, 0, Phase::Running, &mut report);
        let mut exact = self.command_line.clone();
        let exactly = config_file::apply_in_place_of(&self.config, &mut exact, lines, &mut exact_report);
        report.merge(exact_report);
        let fixed = self.keep_what_is_fixed(&mut exact);
        let mut notices: Vec<String> = applied.notices.iter().map(ToString::to_string).collect();
        let config = match kept.settings.reload_mode {
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
        Ok(Proposal { config, file_lines, applied, report, reload: Reload { changes, notices }, replaced })
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
