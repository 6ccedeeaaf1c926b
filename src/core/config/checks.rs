//! The checks in a configuration: commands that change them, the check of each server, and their completeness.

use super::{CHECK_NAME, Config};
use crate::core::command::server_keys::ServerConfig;
use crate::core::error::Error;
use crate::core::health::{CheckChoice, CheckConfig, CheckKey, CheckType};
use crate::core::settings::{AdminState, Value};
use std::sync::Arc;

impl Config {
    /// Changes a check, or adds a new one.
    pub(super) fn change_check(&mut self, name: &str, changes: &[(CheckKey, Value)]) {
        let check = self.checks.entry(name.to_owned()).or_default();
        changes.iter().for_each(|(key, value)| key.set(check, value));
    }

    /// Removes a check.
    ///
    /// # Errors
    /// There is no check of that name, or a server uses it.
    pub(super) fn remove_check(&mut self, name: &str) -> Result<(), Error> {
        let of = |error: Error| Err(error.of(&format!("no check {name}")));
        if !self.checks.contains_key(name) {
            return of(Error::expected(CHECK_NAME, name));
        }
        let named =
            |server: &Arc<ServerConfig>| matches!(&server.check, CheckChoice::Named(other) if other == name);
        if let Some(n) = self.servers.iter().position(named) {
            return of(Error::new(format!("server {n} uses it")));
        }
        if self.settings.check_default.as_deref() == Some(name) {
            return of(Error::new("it is check_default"));
        }
        self.checks.remove(name);
        Ok(())
    }

    /// The check of a server, with its name; `None` for a server that is not checked, for example in maintenance.
    pub fn check_of(&self, server: &ServerConfig) -> Option<(&str, &CheckConfig)> {
        self.chosen_check(server).filter(|_| server.state != AdminState::Maint)
    }

    /// Whether a server has a check that is not made, since it is in maintenance.
    pub fn check_pauses(&self, server: &ServerConfig) -> bool {
        server.state == AdminState::Maint && self.chosen_check(server).is_some()
    }

    /// The check that a server has while it is not in maintenance.
    fn chosen_check(&self, server: &ServerConfig) -> Option<(&str, &CheckConfig)> {
        let name = match &server.check {
            CheckChoice::Default => self.settings.check_default.as_deref()?,
            CheckChoice::None => return None,
            CheckChoice::Named(name) => name,
        };
        self.checks.get_key_value(name).map(|(name, check)| (name.as_str(), check))
    }

    /// Whether some server has a check that runs a program.
    pub fn runs_programs(&self) -> bool {
        let used = |server: &Arc<ServerConfig>| {
            self.check_of(server).is_some_and(|(_, check)| check.kind == CheckType::Exec)
        };
        self.servers.iter().any(used)
    }

    /// Checks that are not complete, and those that are named and do not exist.
    pub(super) fn check_errors(&self) -> Vec<Error> {
        let mut errors: Vec<_> =
            self.checks.iter().filter_map(|(name, check)| check.judge(name).err()).collect();
        let missing =
            |name: &str| (!self.checks.contains_key(name)).then(|| Error::expected(CHECK_NAME, name));
        let default = self.settings.check_default.as_deref().and_then(missing);
        errors.extend(default.map(|error| error.of("check_default")));
        for (n, server) in self.servers.iter().enumerate() {
            if let CheckChoice::Named(name) = &server.check {
                errors.extend(missing(name).map(|error| error.of(&format!("server {n} check"))));
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use crate::core::addr::Services;
    use crate::core::command::Command;
    use crate::core::config::{Config, Phase};

    fn apply(config: &mut Config, line: &str) -> Result<(), String> {
        let command = Command::parse(line, &Services::parse("")).map_err(|e| e.to_string())?.unwrap();
        config.apply(&command, Phase::Running).map_err(|e| e.to_string())?;
        config.errors().first().map_or(Ok(()), |e| Err(e.to_string()))
    }

    #[test]
    fn a_check_that_is_used_is_there() {
        let mut config = Config::default();
        for line in [
            "check web type http",
            "server 0 address 10.0.0.1 port 80 check web",
            "check a",
            "check_default a",
        ] {
            assert_eq!(apply(&mut config, line), Ok(()), "{line}");
        }
        let name =
            |config: &Config, n: usize| config.check_of(&config.servers[n]).map(|(name, _)| name.to_owned());
        apply(&mut config, "server 1 address 10.0.0.2 port 80").unwrap();
        apply(&mut config, "server 2 address 10.0.0.3 port 80 check none").unwrap();
        assert_eq!([0, 1, 2].map(|n| name(&config, n)), [Some("web".into()), Some("a".into()), None]);
        for (line, error) in [
            ("no check web", "no check web: server 0 uses it"),
            ("no check a", "no check a: it is check_default"),
            ("no check b", "no check b: expected the name of a check, got 'b'"),
            ("check none", "check: expected another name than none and default, got 'none'"),
        ] {
            assert_eq!(apply(&mut config, line), Err(error.into()), "{line}");
        }
        // A plan that names a missing check is refused as a whole.
        let error = apply(&mut config.clone(), "server 1 check b").unwrap_err();
        assert_eq!(error, "server 1 check: expected the name of a check, got 'b'");
        let error = apply(&mut config.clone(), "check_default b").unwrap_err();
        assert_eq!(error, "check_default: expected the name of a check, got 'b'");
        apply(&mut config, "server 0 check default").unwrap();
        assert_eq!(apply(&mut config, "no check web"), Ok(()));
        apply(&mut config, "server 0 state maint").unwrap();
        assert_eq!(name(&config, 0), None, "nobody checks a server in maintenance");
    }
}
