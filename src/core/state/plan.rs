//! Turns a command into a plan, and a plan into a new state.

use super::effect::{Answer, Effect, Need};
use super::running::{State, World};
use crate::core::Millis;
use crate::core::addr::Host;
use crate::core::backend::Standing;
use crate::core::command::server_keys::{ServerChange, ServerConfig};
use crate::core::command::{Command, ServerRef};
use crate::core::config::warnings::NOBODY;
use crate::core::config::{Config, Phase};
use crate::core::config_file::{self, AppliedLines, ErrorReport, FileLines, LineIndex};
use crate::core::error::Error;
use crate::core::report::replies;
use crate::core::settings::{Settings, Value};
use crate::core::snapshot::{Backend, Role};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The reply of a command and its effects, or all its errors.
pub type Outcome<T> = Result<(T, Vec<Effect>), Vec<Error>>;

fn all(errors: Vec<Error>, place: impl Fn(Error) -> Error) -> Vec<Error> {
    errors.into_iter().map(place).collect()
}

/// A new configuration, and what must succeed before it is in force.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) config: Arc<Config>,
    /// Whether TLS files are read again although their names are unchanged.
    pub(super) rereads: bool,
    /// Servers to blacklist, and for how long from now.
    pub(super) blacklists: Vec<(usize, Duration)>,
    /// Names to look up although they have an address.
    pub(super) again: BTreeSet<String>,
    /// Slots that have another server from now on.
    pub(super) replaced: BTreeSet<usize>,
}

impl State {
    /// Carries out a command.
    ///
    /// # Errors
    /// All that is wrong. Nothing has changed then, and there are no effects.
    pub fn apply(&mut self, command: &Command, world: &mut dyn World) -> Outcome<Answer> {
        let conn_max = self.snapshot().conn_max;
        let text = |text: String| Ok((Answer::Text(text), Vec::new()));
        match command {
            Command::Show(setting) => text(self.answer(*setting, &self.config)),
            Command::Servers => Ok((Answer::Servers, Vec::new())),
            // There may be as many as there are servers.
            Command::ShowSetting(setting) if *setting == Settings::sni_server() => {
                Ok((Answer::Routes, Vec::new()))
            }
            Command::ShowSetting(setting) => {
                text(self.config.commands_of(*setting).iter().map(|command| format!("{command}\n")).collect())
            }
            Command::Json(document) => Ok((Answer::Json(*document), Vec::new())),
            Command::Why(client) => Ok((Answer::Why(*client), Vec::new())),
            Command::JsonWhy(client) => Ok((Answer::JsonWhy(*client), Vec::new())),
            Command::Mode => text(replies::mode(&self.config.settings)),
            Command::Pid => text(format!("{}\n", self.pid)),
            Command::Close(n) if *n < conn_max => {
                let reply = Answer::Text(format!("Forcibly closing connection {n}\n"));
                Ok((reply, vec![Effect::Close(*n)]))
            }
            Command::CloseServer(server) => {
                let n = self.used(server).map_err(|e| vec![e.of("close server")])?;
                Ok((Answer::Text(String::new()), vec![Effect::CloseServer(n)]))
            }
            Command::Wait(server, state, time) => {
                let n = self.used(server).map_err(|e| vec![e.of("wait")])?;
                Ok((Answer::Wait(n, *state, *time), Vec::new()))
            }
            Command::Connection(n) if *n < conn_max => Ok((Answer::Connection(*n), Vec::new())),
            Command::Close(n) | Command::Connection(n) => text(format!("Connection {n} out of range\n")),
            Command::Socket(fd) => Ok((Answer::Socket(*fd), Vec::new())),
            Command::Recent(seconds) => Ok((Answer::Recent(*seconds), Vec::new())),
            Command::Status => Ok((Answer::Status, Vec::new())),
            Command::Exit if self.config.settings.enable_exit => {
                Ok((Answer::Text(String::new()), vec![Effect::Stop]))
            }
            Command::Exit => text("Exit is not enabled; restart with -X flag\n".into()),
            Command::Write(file) => self.write(file.as_deref(), world),
            Command::Include(file) => {
                let (applied, effects) = self.run_file(file, world)?;
                let notices = applied.notices.iter().map(|notice| format!("{notice}\n")).collect();
                Ok((Answer::Text(notices), effects))
            }
            Command::Reload => {
                let (reload, effects) = self.reload(world)?;
                Ok((Answer::Text(reload.to_string()), effects))
            }
            Command::Diff(file) => Ok((Answer::Diff(self.diff(file.as_deref(), world)?), Vec::new())),
            Command::SslReload => {
                let of = |error: Error| error.of("ssl_reload");
                let effects =
                    self.reload_tls(world).map_err(|e| e.into_iter().map(of).collect::<Vec<_>>())?;
                Ok((Answer::Text(String::new()), effects))
            }
            Command::NoServer(server) if self.config.is_unused(server) => {
                Err(vec![Error::expected("an existing server", server.to_string()).of("no server")])
            }
            setting => self.set(setting, world),
        }
    }

    /// The slot of an existing server.
    fn used(&self, server: &ServerRef) -> Result<usize, Error> {
        let snapshot = self.snapshot();
        let used = |n: &usize| snapshot.backend(Role::Regular(*n)).is_some();
        let expected = || Error::expected("the number or the name of an existing server", server.to_string());
        self.config.slot(server).filter(used).ok_or_else(expected)
    }

    /// Changes a setting.
    fn set(&mut self, command: &Command, world: &mut dyn World) -> Outcome<Answer> {
        let mut plan = Plan { config: Arc::clone(&self.config), ..Plan::default() };
        if !command.is_only_events() {
            Arc::make_mut(&mut plan.config).apply(command, Phase::Running).map_err(|e| vec![e])?;
        }
        let mut reply = String::new();
        match command {
            Command::Set(setting, value) => {
                // C pen's users repeat the command to make pen read the file again.
                plan.rereads = setting.spec().rereads && *value != Value::None;
                if let Value::Endpoint(endpoint) = value {
                    plan.again.extend(endpoint.host.name().map(str::to_owned));
                }
                if self.config.listening() != plan.config.listening() {
                    // Addresses that were pen's own may be others' now, and the other way round.
                    for config in [&self.config, &plan.config] {
                        let names = config.listening().map(|own| config.names_with_port(own.port));
                        plan.again.extend(names.into_iter().flatten().map(str::to_owned));
                    }
                }
                reply = self.answer(*setting, &plan.config);
            }
            Command::Acl(n, _) => {
                reply = plan.config.open_family(*n).map(|warning| format!("{warning}\n")).unwrap_or_default();
            }
            Command::Check(name, _) => {
                let warning = plan.config.keys_without_effect(name);
                reply = warning.map(|warning| format!("{warning}\n")).unwrap_or_default();
            }
            Command::Server(server, changes) => {
                // Taken before the changes, which may rename the server.
                let n = self.config.target(server, changes).map_err(|e| vec![e])?;
                for change in changes {
                    match change {
                        ServerChange::Blacklist(time) => plan.blacklists.push((n, *time)),
                        // Setting a name asks for the address that it has now, as in C pen. The last one counts.
                        ServerChange::Set(key, Value::Host(host)) if *key == ServerConfig::address() => {
                            plan.again = named(host);
                        }
                        ServerChange::Set(..) => {}
                    }
                }
                let port = |config: &Config| config.servers.get(n).map(|server| server.port);
                let ports = [port(&self.config), port(&plan.config)];
                let own = plan.config.listening().map(|own| own.port);
                if ports[0] != ports[1] && own.is_some() && ports.contains(&own) {
                    // Likewise.
                    let host = plan.config.servers.get(n).and_then(|server| server.address.as_ref());
                    plan.again.extend(host.map(named).unwrap_or_default());
                }
            }
            _ => {}
        }
        let before = self.takes_nobody(world.now());
        let of = |error: Error| match command {
            Command::Set(setting, value) if *value != Value::None => error.of(setting.word()),
            Command::Server(n, _) => error.of(&format!("server {n}")),
            command => error.of(&command.to_string()),
        };
        let effects = self.run(plan, world).map_err(|errors| all(errors, of))?;
        // The reply to `blacklist` is C pen's; the log tells when a client finds no server.
        let may_tell = match command {
            Command::Server(..) => !command.is_only_events(),
            Command::NoServer(_) | Command::Acl(..) | Command::Set(..) => true,
            _ => false,
        };
        if may_tell && !before && self.takes_nobody(world.now()) {
            reply += &format!("{NOBODY}\n");
        }
        Ok((Answer::Text(reply), effects))
    }

    /// Whether no new client is served, because of the configuration or of commands that have blacklisted servers.
    fn takes_nobody(&self, now: Millis) -> bool {
        let standing = |n| Some(self.snapshot.backend(Role::Regular(n))?.stats.standing(now));
        self.config.takes_nobody(|n| matches!(standing(n), Some(Standing::Ordered(_))))
    }

    /// Applies the commands of a file, all or none.
    fn run_file(&mut self, file: &str, world: &mut dyn World) -> Outcome<AppliedLines> {
        let file_lines = world.load(file, &self.services).map_err(|error| vec![error])?;
        let mut report = ErrorReport::default();
        report.read(&file_lines, 0);
        let mut config = Config::clone(&self.config);
        let applied = config_file::apply_once(&mut config, &file_lines.lines, &mut report);
        let again = config.names();
        let config = Arc::new(config);
        let plan = Plan { config, blacklists: applied.blacklists.clone(), again, ..Plan::default() };
        let effects = self.run_lines(plan, file, &file_lines, report, world)?;
        Ok((applied, effects))
    }

    /// Puts a plan in force that the lines of `file` have made, unless they, as `report` has it, or the plan have errors.
    pub(super) fn run_lines(
        &mut self,
        plan: Plan,
        file: &str,
        file_lines: &FileLines,
        report: ErrorReport,
        world: &mut dyn World,
    ) -> Result<Vec<Effect>, Vec<Error>> {
        let needs = self.judge_lines(&plan, file, file_lines, report, world)?;
        let config = Arc::clone(&plan.config);
        self.carry_out(plan, needs, world).map_err(|errors| {
            let mut report = ErrorReport::default();
            report.whole(errors, &LineIndex::new(&file_lines.lines, &config), Some(file));
            report.into_errors()
        })
    }

    /// The needs of a plan that the lines of `file` have made.
    ///
    /// # Errors
    /// All that is wrong with the lines, as `report` has it, and with the plan, each with its line.
    pub(super) fn judge_lines(
        &self,
        plan: &Plan,
        file: &str,
        file_lines: &FileLines,
        mut report: ErrorReport,
        world: &mut dyn World,
    ) -> Result<Vec<Need>, Vec<Error>> {
        let judged = self.judge(plan, world);
        let (needs, errors) = match judged {
            Ok(needs) => (needs, Vec::new()),
            Err(errors) => (Vec::new(), errors),
        };
        if !errors.is_empty() {
            report.whole(errors, &LineIndex::new(&file_lines.lines, &plan.config), Some(file));
        }
        if report.is_empty() { Ok(needs) } else { Err(report.into_errors()) }
    }

    /// Reads certificates, keys and OCSP responses again, all or none.
    pub(super) fn reload_tls(&mut self, world: &mut dyn World) -> Result<Vec<Effect>, Vec<Error>> {
        if !self.has_tls() {
            let why = "there is no TLS: pen was started without ssl_certfile, and no server has it";
            return Err(vec![Error::new(why)]);
        }
        let plan = Plan { config: Arc::clone(&self.config), rereads: true, ..Plan::default() };
        let kept = |error: &Error| Error::new(format!("{error}; the old files stay in use"));
        self.run(plan, world).map_err(|errors| errors.iter().map(kept).collect())
    }

    fn write(&self, file: Option<&str>, world: &mut dyn World) -> Outcome<Answer> {
        let Some(file) = file.or(self.file.as_deref()) else {
            return Err(vec![Error::new("no file; name one, or start pen with -F").of("write")]);
        };
        let need = Need::Write(file.into(), Arc::clone(&self.config));
        world.meet(&need).map_err(|errors| all(errors, |error| error.of("write")))?;
        Ok((Answer::Text(String::new()), Vec::new()))
    }

    /// Meets the needs of a plan, then puts it in force.
    pub(super) fn run(&mut self, plan: Plan, world: &mut dyn World) -> Result<Vec<Effect>, Vec<Error>> {
        let needs = self.judge(&plan, world)?;
        self.carry_out(plan, needs, world)
    }

    /// The same with needs that could be met a moment ago.
    fn carry_out(
        &mut self,
        plan: Plan,
        needs: Vec<Need>,
        world: &mut dyn World,
    ) -> Result<Vec<Effect>, Vec<Error>> {
        let mut effects = Vec::new();
        for need in needs {
            world.meet(&need).map_err(|errors| all(errors, |error| need.of(error)))?;
            effects.extend(need.effect());
        }
        let (new, old) = (&plan.config.settings, &self.config.settings);
        let felt = new.log != old.log
            || new.idle_timeout != old.idle_timeout
            || new.tcp_fastclose != old.tcp_fastclose;
        self.forgive_moved(&plan.config);
        let removed = self.remove_gone(&plan.config, &plan.replaced);
        if !plan.config.has_hosts_of(&self.config) {
            self.names = Arc::new(plan.config.names());
        }
        self.config = plan.config;
        self.blacklist(&plan.blacklists, world.now());
        effects.extend(self.publish());
        effects.extend(removed.into_iter().map(|(n, backend)| Effect::Forget(n, backend)));
        if felt {
            effects.push(Effect::WakeConnections);
        }
        effects.push(self.look_up(plan.again));
        Ok(effects)
    }

    /// Moves the servers whose slots are empty in `config`, or `replaced`, to the removed ones. Returns them with their slots.
    fn remove_gone(&mut self, config: &Config, replaced: &BTreeSet<usize>) -> Vec<(usize, Arc<Backend>)> {
        let mut gone = Vec::new();
        for (n, backend) in self.snapshot.backends.iter().enumerate() {
            if let Some(backend) = backend
                && (replaced.contains(&n) || config.servers.get(n).is_none_or(|slot| slot.address.is_none()))
            {
                self.stats.remove(n, Arc::clone(backend));
                gone.push((n, Arc::clone(backend)));
            }
        }
        gone
    }

    /// Takes servers that move to another address off the blacklist: they are not the ones that failed.
    fn forgive_moved(&mut self, config: &Config) {
        for (n, (old, new)) in self.config.servers.iter().zip(&config.servers).enumerate() {
            if !Arc::ptr_eq(old, new) && (&old.address, old.port) != (&new.address, new.port) {
                self.stats.server(n).blacklist_until(0);
            }
        }
    }
}

fn named(host: &Host) -> BTreeSet<String> {
    host.name().map(str::to_owned).into_iter().collect()
}
