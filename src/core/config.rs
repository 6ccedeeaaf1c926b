//! The configuration: what commands change, what `write` saves and what a snapshot for the workers is made of.

use super::Error;
use super::acl::{Acl, LISTS};
use super::addr::Host;
use super::command::{Change, Command};
use super::settings::{Fastclose, Flag, Number, Text, When};
use std::collections::BTreeSet;

/// One server slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its host; a slot without one is unused.
    pub host: Option<Host>,
    /// Its port; 0 makes the slot unused.
    pub port: u16,
    /// Soft limit of connections, 0 for none.
    pub max: u32,
    /// Limit for clients that it had before, 0 for none beyond `max`.
    pub hard: u32,
    /// Weight.
    pub weight: u32,
    /// Priority.
    pub prio: u32,
    /// The list that judges its clients.
    pub acl: usize,
}

impl ServerConfig {
    /// Pen shows 1 as the port of a Unix socket, which has none, since 0 marks an unused slot.
    pub const UNIX_PORT: u16 = 1;

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Acl(n) => self.acl = *n,
            Change::Address(host) => {
                if matches!(host, Host::Unix(_)) {
                    self.port = Self::UNIX_PORT;
                }
                self.host = Some(host.clone());
            }
            Change::Port(port) => self.port = *port,
            Change::Max(n) => self.max = *n,
            Change::Hard(n) => self.hard = *n,
            Change::Weight(n) => self.weight = *n,
            Change::Prio(n) => self.prio = *n,
            // An event rather than a setting: the owner of the live state carries it out.
            Change::Blacklist(_) => {}
        }
    }

    fn changes(&self) -> Vec<Change> {
        let mut changes = vec![Change::Acl(self.acl)];
        changes.extend(self.host.clone().map(Change::Address));
        changes.extend([
            Change::Port(self.port),
            Change::Max(self.max),
            Change::Hard(self.hard),
            Change::Weight(self.weight),
            Change::Prio(self.prio),
        ]);
        changes
    }
}

/// Whether pen is starting or serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Everything may still be set.
    Start,
    /// Start-only settings are fixed.
    Running,
}

/// Why a command changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It asks for what cannot be while pen runs; the text names the command.
    Restart(Error),
    /// It is not a setting but a question or an action.
    NotASetting,
}

/// Every setting of pen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    flags: Vec<bool>,
    numbers: Vec<u64>,
    texts: Vec<Option<String>>,
    acls: Vec<Acl>,
    /// The server slots.
    pub servers: Vec<ServerConfig>,
    /// Which side's end of data ends both.
    pub fastclose: Fastclose,
    /// The words given to `ssl_option`.
    pub ssl_options: BTreeSet<&'static str>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            flags: vec![false; Flag::ALL.len()],
            numbers: Number::ALL.iter().map(|n| n.info().default).collect(),
            texts: vec![None; Text::ALL.len()],
            acls: vec![Acl::default(); LISTS],
            servers: Vec::new(),
            fastclose: Fastclose::default(),
            ssl_options: BTreeSet::new(),
        }
    }
}

impl Config {
    /// Whether a switch is on.
    pub fn flag(&self, flag: Flag) -> bool {
        self.flags[flag as usize]
    }

    /// A number.
    pub fn number(&self, number: Number) -> u64 {
        self.numbers[number as usize]
    }

    /// A text, when set.
    pub fn text(&self, text: Text) -> Option<&str> {
        self.texts[text as usize].as_deref()
    }

    /// An access list; `n` is below [`LISTS`].
    pub fn acl(&self, n: usize) -> &Acl {
        &self.acls[n]
    }

    /// Carries out a command that is a setting.
    ///
    /// # Errors
    /// See [`Problem`]. Nothing has changed then.
    pub fn apply(&mut self, command: &Command, phase: Phase) -> Result<(), Problem> {
        let fixed = |when: When| phase == Phase::Running && when == When::Start;
        let restart = |word: &str| {
            Err(Problem::Restart(Error::new(format!("{word}: a change needs a restart of pen"))))
        };
        match command {
            Command::Flag(flag, on) => {
                if fixed(flag.info().when) && self.flag(*flag) != *on {
                    return restart(flag.info().word);
                }
                self.flags[*flag as usize] = *on;
            }
            Command::Set(number, n) => {
                let info = number.info();
                if fixed(info.when) && self.number(*number) != *n {
                    return restart(info.word);
                }
                let keep = info.grows && phase == Phase::Running && *n < self.number(*number);
                if !keep {
                    self.numbers[*number as usize] = *n;
                }
            }
            Command::Text(text, value) => self.set_text(*text, Some(value), fixed(text.info().when))?,
            // There is no pen without an address to listen on.
            Command::NoText(Text::Listen) if phase == Phase::Running => return restart("no listen"),
            Command::NoText(text) => self.set_text(*text, None, fixed(text.info().when))?,
            Command::Acl(n, entry) => self.acls[*n].push(*entry),
            Command::NoAcl(n) => self.acls[*n].clear(),
            Command::Server(n, changes) => self.server(*n, changes),
            Command::TcpFastclose(how) => self.fastclose = *how,
            Command::SslOption(option) => {
                self.ssl_options.insert(option);
            }
            Command::Obsolete(..) => {}
            _ => return Err(Problem::NotASetting),
        }
        Ok(())
    }

    fn set_text(&mut self, text: Text, value: Option<&String>, fixed: bool) -> Result<(), Problem> {
        if fixed && self.text(text) != value.map(String::as_str) {
            let error = format!("{}: a change needs a restart of pen", text.info().word);
            return Err(Problem::Restart(Error::new(error)));
        }
        self.texts[text as usize] = value.cloned();
        Ok(())
    }

    fn server(&mut self, n: usize, changes: &[Change]) {
        if changes.iter().all(|c| matches!(c, Change::Blacklist(_))) {
            return;
        }
        if self.servers.len() <= n {
            self.servers.resize(n + 1, ServerConfig::default());
        }
        changes.iter().for_each(|change| self.servers[n].apply(change));
    }

    /// The commands that make this configuration out of the default one: C pen's order, with what only we have where it fits.
    pub fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        let text = |t: Text| match self.text(t) {
            Some(value) => Some(Command::Text(t, value.to_owned())),
            None if t.info().when == When::Always && t != Text::Listen => Some(Command::NoText(t)),
            None => None,
        };
        commands.extend([Text::Listen, Text::Control].into_iter().filter_map(text));
        for (n, acl) in self.acls.iter().enumerate() {
            commands.push(Command::NoAcl(n));
            commands.extend(acl.entries().iter().map(|entry| Command::Acl(n, *entry)));
        }
        let mut rest: Vec<Command> = Vec::new();
        rest.extend(Flag::ALL.iter().map(|&f| Command::Flag(f, self.flag(f))));
        rest.extend(Number::ALL.iter().map(|&n| Command::Set(n, self.number(n))));
        rest.extend(
            Text::ALL.iter().filter(|t| !matches!(t, Text::Listen | Text::Control)).filter_map(|&t| text(t)),
        );
        rest.extend(self.ssl_options.iter().map(|o| Command::SslOption(o)));
        rest.push(Command::TcpFastclose(self.fastclose));
        rest.sort_by_key(|command| command.to_string().trim_start_matches("no ").to_owned());
        let slots = self.servers.iter().enumerate().filter(|(_, server)| **server != ServerConfig::default());
        let at = rest.partition_point(|c| c.to_string().trim_start_matches("no ") < "server");
        rest.splice(at..at, slots.map(|(n, server)| Command::Server(n, server.changes())));
        commands.extend(rest);
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::addr::Services;
    use proptest::prelude::*;

    /// Lines of every kind of setting.
    fn line() -> impl Strategy<Value = String> {
        let flag = (prop::sample::select(Flag::ALL), any::<bool>())
            .prop_map(|(f, on)| format!("{}{}", if on { "" } else { "no " }, f.info().word));
        let number = (prop::sample::select(Number::ALL), any::<prop::sample::Index>()).prop_map(|(n, at)| {
            let info = n.info();
            format!("{} {}", info.word, info.min + at.index((info.max - info.min + 1) as usize) as u64)
        });
        let texts = prop::sample::select(vec![
            "listen 80",
            "listen ::1:99",
            "log /var/log/pen.log",
            "log \"/a b\"",
            "log h:514",
            "no log",
            "source ::1",
            "no source",
            "emergency 10.0.0.1:80",
            "abuse /run/x",
            "user nobody",
            "web_stats \"/a \\\"b\\\\\"",
            "ssl_option no_tlsv1",
            "tcp_fastclose both",
            "tcp_fastclose off",
            "chroot /x",
            "no acl 3",
            "ssl_ciphers HIGH:!aNULL",
            "no emergency",
        ])
        .prop_map(str::to_owned);
        let acl = (0usize..10, any::<bool>(), any::<u32>(), 0u8..=32).prop_map(|(n, permit, ip, len)| {
            format!(
                "acl {n} {} {}/{len}",
                if permit { "permit" } else { "deny" },
                std::net::Ipv4Addr::from(ip)
            )
        });
        let server = (0usize..6, 0usize..8, 0u32..70_000).prop_map(|(n, key, value)| {
            let value = value % if key == 0 { 10 } else { 65_536 };
            match key {
                6 => format!("server {n} address 10.0.0.{}", value % 256),
                7 => format!("server {n} address /run/s{value}"),
                key => {
                    format!("server {n} {} {value}", ["acl", "port", "max", "hard", "weight", "prio"][key])
                }
            }
        });
        prop_oneof![flag, number, texts, acl, server]
    }

    fn apply(config: &mut Config, line: &str) {
        let command = Command::parse(line, &Services::parse("")).unwrap().unwrap();
        config.apply(&command, Phase::Start).unwrap();
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(lines in prop::collection::vec(line(), 0..40)) {
            let mut config = Config::default();
            lines.iter().for_each(|line| apply(&mut config, line));
            let mut again = Config::default();
            config.commands().iter().for_each(|command| apply(&mut again, &command.to_string()));
            while config.servers.last() == Some(&ServerConfig::default()) {
                config.servers.pop();
            }
            prop_assert_eq!(config, again);
        }

        #[test]
        fn a_command_prints_as_it_parses(line in line()) {
            let services = Services::parse("");
            let parsed = Command::parse(&line, &services).unwrap().unwrap();
            let printed = parsed.to_string();
            prop_assert_eq!(Command::parse(&printed, &services).unwrap().unwrap(), parsed);
        }

        #[test]
        fn any_line_is_survived(line in "(no |server 1 |acl 1 )?[a-z_]{0,12}( [ -~]{0,9}){0,4}") {
            if let Ok(Some(command)) = Command::parse(&line, &Services::parse("")) {
                prop_assert_eq!(Command::parse(&command.to_string(), &Services::parse("")), Ok(Some(command)));
            }
        }
    }

    #[test]
    fn a_running_pen_keeps_its_start_only_settings() {
        let mut config = Config::default();
        apply(&mut config, "user nobody");
        apply(&mut config, "conn_max 700");
        let before = config.clone();
        let mut running = |line: &str| {
            let command = Command::parse(line, &Services::parse("")).unwrap().unwrap();
            config.apply(&command, Phase::Running)
        };
        assert_eq!(running("user nobody"), Ok(()));
        assert!(matches!(running("user root"), Err(Problem::Restart(_))));
        assert!(matches!(running("no user"), Err(Problem::Restart(_))));
        assert_eq!(running("conn_max 10"), Ok(()));
        assert_eq!(config, before);
    }
}
