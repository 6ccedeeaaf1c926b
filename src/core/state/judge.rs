//! Whether a plan can be carried out: what its configuration requires of the system, and all that speaks against it.

use super::effect::{Log, Need};
use super::plan::Plan;
use super::running::{State, World};
use crate::core::addr::Host;
use crate::core::config::Config;
use crate::core::error::{Error, Fault};
use crate::core::health::{CheckConfig, CheckType};
use crate::core::log_target::LogTarget;
use crate::core::settings::{Setting, Settings, ValueKind};

impl State {
    /// The needs of a plan, all of which could be met. Nothing changes.
    ///
    /// # Errors
    /// All that speaks against the plan.
    pub(super) fn judge(&self, plan: &Plan, world: &mut dyn World) -> Result<Vec<Need>, Vec<Error>> {
        let config = &plan.config;
        let mut errors = config.errors();
        errors.extend(self.unstartable(config));
        // Without any server, settings may still be changed; with one, no change may silently leave all clients without
        // a server.
        if self.config.nobody().is_none() {
            errors.extend(config.nobody());
        }
        let mut needs = self.file_needs(plan, &mut errors);
        // Last: clients connect to a socket as soon as it is bound, and would be reset if it had to wait for a file.
        match self.listener_need(config) {
            Ok(listener) => needs.extend(listener),
            Err(error) => errors.push(error),
        }
        let mut can_listen = true;
        for need in &needs {
            if let Err(wrong) = world.check(need) {
                can_listen &= !matches!(need, Need::Listener(..));
                errors.extend(wrong.into_iter().map(|error| need.of(error)));
            }
        }
        // If another program has the address, that is the error.
        if can_listen {
            errors.extend(self.own_servers(config, world));
        }
        if errors.is_empty() { Ok(needs) } else { Err(errors) }
    }

    /// Why the programs of checks cannot be started.
    fn unstartable(&self, config: &Config) -> Option<Error> {
        if self.programs || !config.runs_programs() {
            return None;
        }
        let error = Error::from(Fault::NeedsRestart)
            .of("a check of the type exec in a pen that was started without one");
        let mut used = config.servers.iter().filter_map(|server| config.check_of(server));
        Some(match used.find(|(_, check)| check.kind == CheckType::Exec) {
            Some((name, _)) => error.about(&format!("check {name} {}", CheckConfig::kind().word())),
            None => error,
        })
    }

    /// The files that are read or opened.
    fn file_needs(&self, plan: &Plan, errors: &mut Vec<Error>) -> Vec<Need> {
        let (new, old) = (&plan.config.settings, &self.config.settings);
        let mut needs = Vec::new();
        if self.tls && (plan.rereads || tls_differs(new, old)) {
            needs.push(Need::Tls(Box::new(new.clone())));
        }
        if let Some(upstream) = plan.config.upstream_tls()
            && (plan.rereads || self.config.upstream_tls().as_ref() != Some(&upstream))
        {
            needs.push(Need::UpstreamTls(Box::new(upstream)));
        }
        for (log, target, before) in [
            (Log::Requests, &new.log, &old.log),
            (Log::Connections, &new.connection_log, &old.connection_log),
        ] {
            if target == before {
                continue;
            }
            if target.as_ref().is_some_and(LogTarget::is_stdout) && !new.foreground {
                let others = match log {
                    Log::Requests => "a file or host:port",
                    Log::Connections => "a file or a system log",
                };
                let expected = format!("{others} (a pen in the background has no standard output)");
                errors.push(Error::expected(expected, LogTarget::STDOUT).of(log.setting().word()));
                continue;
            }
            needs.push(Need::Log(log, target.clone()));
        }
        needs
    }

    /// The socket that is bound, unless pen listens there already.
    fn listener_need(&self, config: &Config) -> Result<Option<Need>, Error> {
        let (new, old) = (&config.settings, &self.config.settings);
        match &new.listen {
            None => Err(Error::missing(ValueKind::Listen.expected()).of("listen")),
            // A different spelling of the same address keeps the socket.
            Some(_) if new.listen == old.listen => Ok(None),
            Some(_) if self.stopping => {
                Err(Error::new("pen is stopping and takes no new clients").of("listen"))
            }
            Some(address) => Ok(Some(Need::Listener(address.endpoint.clone(), Box::new(new.clone())))),
        }
    }

    /// Servers that are pen itself, unless the plan changes nothing about that.
    fn own_servers(&self, config: &Config, world: &dyn World) -> Vec<Error> {
        let parts = |config: &Config| {
            let settings = &config.settings;
            (settings.listen.clone(), settings.emergency.clone(), settings.abuse.clone())
        };
        if parts(config) == parts(&self.config) && config.servers == self.config.servers {
            return Vec::new();
        }
        config.own_servers(&|socket, host, port| match host {
            // What names mean changes: only a connection to the listening address would come back for ever.
            Host::Name(_) if Some(socket) != config.listening() => false,
            Host::Name(name) => {
                let mut known = self.resolved.get(name).into_iter().flatten();
                known.any(|ip| world.is_own(socket, &Host::Ip(*ip), port))
            }
            host => world.is_own(socket, host, port),
        })
    }
}

/// Whether settings that TLS contexts depend on differ.
fn tls_differs(a: &Settings, b: &Settings) -> bool {
    let mut parts = Setting::all().filter(|setting| setting.spec().tls);
    parts.any(|setting| setting.get(a) != setting.get(b))
}
