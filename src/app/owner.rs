//! The one owner of the configuration: carries out commands, from wherever they come, one at a time.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::control::server::{Handler, Reply};
use crate::core::addr::{Host, Services};
use crate::core::affinity::{Client, Record};
use crate::core::command::Command;
use crate::core::command::server_keys::Change;
use crate::core::config::{Config, Phase};
use crate::core::config_file::{self, AppliedLines};
use crate::core::error::{Error, Fault};
use crate::core::report::{self, StatusReport};
use crate::core::settings::{Kind, Setting, Value};
use crate::core::snapshot::{Resolved, Snapshot, StatsTable};
use crate::net::clients::ClientWalk;
use crate::net::lifecycle::LifeStage;
use crate::net::shared::Shared;
use crate::net::tls;
use crate::sys::{crash, log};
use crate::weblog::LogHandle;

use super::documents::Documents;
use super::load::{self, read};
use super::run::ListenerHandles;
use super::{clock, listeners, save};

/// What [`Owner::new`] needs.
#[derive(Debug)]
pub(super) struct Parts {
    /// The configuration in force.
    pub(super) config: Config,
    /// The counters behind it.
    pub(super) live: StatsTable,
    /// The addresses found so far.
    pub(super) resolved: Resolved,
    /// Port names.
    pub(super) services: Services,
    /// What the workers read.
    pub(super) shared: Arc<Shared>,
    /// What `json` shows.
    pub(super) documents: Arc<Documents>,
    /// Where clients reach them.
    pub(super) listening: ListenerHandles,
    /// `-F`.
    pub(super) file: Option<String>,
    /// The slots that it named.
    pub(super) file_servers: BTreeSet<usize>,
    /// The most connections that there are descriptors for.
    pub(super) descriptors: usize,
}

/// The owner. Shared by the tasks of the main thread, none of which holds it across a wait.
#[derive(Debug)]
pub(super) struct Owner {
    parts: RefCell<Parts>,
    names: RefCell<Names>,
    /// There are names to look up.
    pub(super) wanted: Notify,
    /// Pen is to end.
    pub(super) stop: Notify,
}

#[derive(Debug, Default)]
struct Names {
    /// To be looked up although an address is known, or a lookup is on its way that began too early.
    stale: HashSet<String>,
    /// Reported as not found.
    reported: HashSet<String>,
}

impl Owner {
    /// The owner of a pen that is about to serve.
    pub(super) fn new(parts: Parts) -> Self {
        Owner {
            parts: RefCell::new(parts),
            names: RefCell::default(),
            wanted: Notify::new(),
            stop: Notify::new(),
        }
    }

    /// What is left of the start: servers that are left out at first, and a look at the limits.
    pub(super) fn begin(&self, blacklists: &[(usize, Duration)]) {
        let mut parts = self.parts.borrow_mut();
        blacklists.iter().for_each(|(n, time)| parts.blacklist(*n, *time));
        parts.publish();
    }

    /// Pen is told to end: it takes no new clients. Returns how long those that it has may go on; `None` if pen ends at once.
    pub(super) fn begin_drain(&self) -> Option<Duration> {
        let parts = self.parts.borrow();
        let time = parts.config.settings.stop_timeout;
        if time.is_zero() {
            return None;
        }
        parts.shared.lifecycle.enter(LifeStage::Drain);
        let count = parts.shared.connections.count();
        let seconds = Value::Seconds(time);
        log::info(format_args!(
            "stopping: no new clients, {count} connections may go on for {seconds} seconds"
        ));
        Some(time)
    }

    /// Waits until there are no connections.
    pub(super) async fn drained(&self) {
        let shared = Arc::clone(&self.parts.borrow().shared);
        shared.connections.until(|| shared.connections.count() == 0).await;
    }

    /// Has workers and connections end.
    pub(super) fn end(&self) {
        let shared = &self.parts.borrow().shared;
        shared.lifecycle.enter(LifeStage::End);
        shared.connections.close_all();
    }

    /// The request log.
    pub(super) fn request_log(&self) -> LogHandle {
        self.parts.borrow().shared.log.clone()
    }

    /// Opens the log anew and reads the file of `-F` again, all of it or nothing.
    pub(super) fn reload(&self) {
        let mut parts = self.parts.borrow_mut();
        parts.shared.log.reopen();
        if let Some(file) = parts.file.clone() {
            parts.reload(&file);
        } else if parts.shared.tls.is_some()
            && let Err(error) = parts.reload_tls()
        {
            log::error(format_args!("{error}"));
        }
        // An administrator who changed DNS says so with HUP.
        self.names.borrow_mut().stale = parts.config.names();
        self.wanted.notify_one();
    }

    /// Writes the statistics: the page to the file of web_stats, else text to pen's own log.
    pub(super) fn statistics(&self) {
        let parts = self.parts.borrow();
        match &parts.config.settings.web_stats {
            Some(file) => {
                if let Err(error) = save::replace(file, &parts.status(|s| s.html())) {
                    log::error(format_args!("{error}"));
                }
            }
            None => parts.status(|s| s.text()).lines().for_each(|line| log::info(format_args!("{line}"))),
        }
    }

    /// The names to look up now.
    pub(super) fn wanted_names(&self) -> Vec<String> {
        let parts = self.parts.borrow();
        let stale = &self.names.borrow().stale;
        let names = parts.config.names();
        names.into_iter().filter(|n| stale.contains(n) || !parts.resolved.contains_key(n)).collect()
    }

    /// The resolver is asked for a name: what makes it stale from now on asks again.
    pub(super) fn asked(&self, name: &str) {
        self.names.borrow_mut().stale.remove(name);
    }

    /// What the resolver says of a name.
    pub(super) fn found(&self, name: &str, result: std::io::Result<Vec<IpAddr>>) {
        let mut names = self.names.borrow_mut();
        match result {
            Ok(addresses) => {
                if names.reported.remove(name) {
                    log::info(format_args!("{name} has an address now"));
                }
                let mut parts = self.parts.borrow_mut();
                if parts.resolved.insert(name.to_owned(), addresses.clone()) != Some(addresses) {
                    parts.publish();
                }
            }
            Err(error) => {
                names.stale.insert(name.to_owned());
                if names.reported.insert(name.to_owned()) {
                    let meanwhile = if self.parts.borrow().resolved.contains_key(name) {
                        "its servers keep the address they have"
                    } else {
                        "its servers are left out"
                    };
                    log::warn(format_args!("{name} cannot be resolved, {meanwhile} until it can: {error}"));
                }
            }
        }
    }
}

impl Handler for Owner {
    fn permits(&self, client: IpAddr) -> bool {
        let parts = self.parts.borrow();
        parts.config.acl(parts.config.settings.control_acl).permits(Some(client))
    }

    fn execute(&self, line: &str) -> Reply {
        let mut parts = self.parts.borrow_mut();
        let command = match Command::parse(line, &parts.services) {
            Ok(Some(command)) => command,
            Ok(None) => return Reply::Text(String::new()),
            Err(error) => {
                return Reply::Text(match error.fault() {
                    Fault::UnknownCommand(word) => {
                        format!("do_cmd: ignoring command starting with '{word}'\n")
                    }
                    _ => format!("error: {error}\n"),
                });
            }
        };
        let reply = match &command {
            Command::Json(document) => return Reply::Pieces(parts.documents.pieces(*document)),
            Command::JsonWhy(client) => return Reply::Pieces(parts.documents.why(*client)),
            Command::Exit if parts.config.settings.enable_exit => {
                self.stop.notify_one();
                Ok(String::new())
            }
            command => parts.execute(command),
        };
        // Who gives a name, or a file of them, asks for the addresses that they have now, as in C pen.
        self.names.borrow_mut().stale.extend(match &command {
            Command::Include(_) => parts.config.names(),
            command => named(command).into_iter().collect(),
        });
        self.wanted.notify_one();
        Reply::Text(reply.unwrap_or_else(|errors| errors.iter().map(|e| format!("error: {e}\n")).collect()))
    }
}

/// The name that a command gives a server.
fn named(command: &Command) -> Option<String> {
    let host = match command {
        // The last address is the one that counts.
        Command::Server(_, changes) => changes.iter().rev().find_map(|change| match change {
            Change::Set(_, Value::Host(host)) => Some(host),
            _ => None,
        }),
        Command::Set(_, Value::Endpoint(endpoint)) => Some(&endpoint.host),
        _ => None,
    };
    host.and_then(Host::name).map(str::to_owned)
}

/// Whether a change reads certificates and keys again although their names are as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    Again,
    Kept,
}

/// All clients of a walk.
fn all(mut walk: ClientWalk) -> Vec<(Client, Record)> {
    let mut clients = Vec::new();
    while walk.next(&mut clients) {}
    clients
}

impl Parts {
    /// Carries out one command from the control socket.
    fn execute(&mut self, command: &Command) -> Result<String, Vec<Error>> {
        let shared = Arc::clone(&self.shared);
        let snapshot = shared.snapshot.load();
        Ok(match command {
            Command::Show(setting) => self.answer(*setting),
            Command::Servers => report::server_lines(&snapshot),
            Command::ShowSetting(setting) => {
                self.config.commands_of(*setting).iter().map(|command| format!("{command}\n")).collect()
            }
            Command::Why(client) => self.documents.explain(*client).to_string(),
            Command::Mode => report::mode_line(&self.config.settings),
            Command::Pid => format!("{}\n", std::process::id()),
            Command::Recent(seconds) => {
                let since = shared.now().saturating_sub(seconds.saturating_mul(1000));
                report::recent_lines(&all(shared.clients_since(since)))
            }
            Command::Close(n) if *n < snapshot.conn_max => {
                shared.connections.close(*n);
                format!("Forcibly closing connection {n}\n")
            }
            Command::Connection(n) if *n < snapshot.conn_max => {
                shared.connections.report(*n).unwrap_or_else(|| report::ConnectionReport::unused(*n)).reply()
            }
            Command::Close(n) | Command::Connection(n) => format!("Connection {n} out of range\n"),
            Command::Socket(fd) => {
                let owner = shared.connections.by_descriptor(*fd).map_or("-1".into(), |n| n.to_string());
                format!("Socket {fd} belongs to connection {owner}\n")
            }
            Command::Status => self.web_page(),
            Command::Exit => "Exit is not enabled; restart with -X flag\n".into(),
            Command::Write(file) => {
                self.write(file.as_deref()).map_err(|e| vec![e])?;
                String::new()
            }
            Command::Include(file) => {
                let notices = self.include(file, Files::Kept)?.notices;
                notices.iter().map(|notice| format!("{notice}\n")).collect()
            }
            Command::SslReload => {
                self.reload_tls().map_err(|e| vec![e.of("ssl_reload")])?;
                String::new()
            }
            setting => {
                self.set(setting).map_err(|e| vec![e])?;
                self.echo(setting)
            }
        })
    }

    /// What a setting answers.
    fn answer(&self, setting: Setting) -> String {
        let mut settings = self.config.settings.clone();
        settings.conn_max = settings.conn_max.min(self.descriptors);
        setting.reply(&settings)
    }

    /// What a setting answers once it is made.
    fn echo(&self, command: &Command) -> String {
        match command {
            Command::Set(setting, _) => self.answer(*setting),
            _ => String::new(),
        }
    }

    fn set(&mut self, setting: &Command) -> Result<(), Error> {
        let mut config = self.config.clone();
        config.apply(setting, Phase::Running)?;
        // C pen's users repeat the command to have the file read again.
        let files = match setting {
            Command::Set(setting, value) if setting.spec().rereads && *value != Value::None => Files::Again,
            _ => Files::Kept,
        };
        self.change(config, files)?;
        if let Command::Server(n, changes) = setting {
            for change in changes {
                if let Change::Blacklist(time) = change {
                    self.blacklist(*n, *time);
                }
            }
        }
        Ok(())
    }

    fn blacklist(&mut self, n: usize, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let until = if time == 0 { 0 } else { self.shared.now().saturating_add(time) };
        self.live.server(n).blacklist_until(until);
    }

    /// Carries out the commands of a file, all or none.
    fn include(&mut self, file: &str, files: Files) -> Result<AppliedLines, Vec<Error>> {
        let lines = config_file::load(file, &self.services, &read)?;
        let mut config = self.config.clone();
        let applied = config_file::apply(&mut config, &lines, Phase::Running)?;
        self.change(config, files).map_err(|e| vec![config_file::locate(e, &lines, file)])?;
        for (n, time) in &applied.blacklists {
            self.blacklist(*n, *time);
        }
        Ok(applied)
    }

    fn reload(&mut self, file: &str) {
        match self.include(file, Files::Again) {
            Ok(applied) => {
                applied.notices.iter().for_each(|notice| log::warn(format_args!("{notice}")));
                let gone: Vec<String> =
                    self.file_servers.difference(&applied.servers).map(usize::to_string).collect();
                if !gone.is_empty() {
                    log::warn(format_args!(
                        "{file} names no longer, and pen keeps: server {}",
                        gone.join(", ")
                    ));
                }
                self.file_servers = applied.servers;
                log::info(format_args!("{file} read again"));
            }
            Err(errors) => {
                errors.iter().for_each(|error| log::error(format_args!("{error}")));
                log::error(format_args!("{file}: nothing of it is applied"));
            }
        }
    }

    /// Reads certificates, keys and OCSP responses again, all or none.
    fn reload_tls(&mut self) -> Result<(), Error> {
        if self.shared.tls.is_none() {
            return Err(Error::new("there is no TLS: pen was started without ssl_certfile"));
        }
        let config = self.config.clone();
        self.change(config, Files::Again)
            .map_err(|e| Error::new(format!("{e}; what is in use stays")).of("ssl_reload"))?;
        log::info(format_args!("certificates and keys read again"));
        Ok(())
    }

    /// What TLS is to be under `config`, when that is to be read.
    fn load_tls(&self, config: &Config, files: Files) -> Result<Option<tls::Loaded>, Error> {
        let (Some(server), Some(settings)) = (&self.shared.tls, tls::TlsSettings::of(&config.settings))
        else {
            return Ok(None);
        };
        if files == Files::Kept && tls::TlsSettings::of(&self.config.settings).as_ref() == Some(&settings) {
            return Ok(None);
        }
        let (loaded, notices) = server.load(&settings)?;
        notices.iter().for_each(|notice| log::warn(format_args!("{notice}")));
        Ok(Some(loaded))
    }

    /// Makes `config` the one in force: first all that can fail, then all that cannot.
    fn change(&mut self, config: Config, files: Files) -> Result<(), Error> {
        load::validate(&config)?;
        let tls = self.load_tls(&config, files)?;
        let (new, old) = (&config.settings, &self.config.settings);
        let listening = match load::listening(&config) {
            None => return Err(Error::missing(Kind::Listen.expected()).of("listen")),
            // Another way to write the same address keeps the socket.
            Some(_) if new.listen == old.listen => None,
            Some(_) if self.shared.lifecycle.stage() != LifeStage::Serve => {
                return Err(Error::new("pen is stopping and takes no new clients").of("listen"));
            }
            Some(address) => {
                let listener = listeners::listener(address, &config, self.listening.used());
                Some(listener.map_err(|e| e.of("listen"))?)
            }
        };
        let felt = new.log != old.log
            || new.idle_timeout != old.idle_timeout
            || new.tcp_fastclose != old.tcp_fastclose;
        if new.log != old.log {
            listeners::set_log(&self.shared.log, &config)?;
        }
        if let Some(listener) = listening {
            self.listening.move_to(listener);
        }
        if let (Some(server), Some(loaded)) = (&self.shared.tls, tls) {
            server.install(loaded);
        }
        self.forgive_moved(&config);
        self.config = config;
        self.publish();
        if felt {
            self.shared.connections.settings_changed();
        }
        Ok(())
    }

    /// A server that moves to another address is not the one that was blacklisted.
    fn forgive_moved(&mut self, config: &Config) {
        for (n, (old, new)) in self.config.servers.iter().zip(&config.servers).enumerate() {
            if (&old.address, old.port) != (&new.address, new.port) {
                self.live.server(n).blacklist_until(0);
            }
        }
    }

    /// Lets the workers and everyone else see the configuration.
    fn publish(&mut self) {
        let settings = &self.config.settings;
        log::set_debug_level(settings.debug);
        crash::abort_on_panic(settings.abort_on_error);
        self.shared.clients.grow(settings.clients_max);
        let mut snapshot = Snapshot::new(&self.config, &mut self.live, &self.resolved);
        if snapshot.conn_max > self.descriptors {
            static SHORT: log::Condition = log::Condition::new();
            SHORT.begin(format_args!("there are descriptors for {} connections only", self.descriptors));
            snapshot.conn_max = self.descriptors;
        }
        self.shared.snapshot.store(Arc::new(snapshot));
        self.documents.show(&self.config);
        self.shared.connections.look_again();
    }

    fn status(&self, show: impl Fn(&StatusReport<'_>) -> String) -> String {
        let snapshot = self.shared.snapshot.load();
        show(&StatusReport {
            time: &clock::local_time(),
            now: self.shared.now(),
            snapshot: &snapshot,
            clients: &all(self.shared.clients_since(0)),
            clients_max: self.shared.clients.max(),
            connections: &self.shared.connections.walk().map(|(id, c)| c.report(id)).collect::<Vec<_>>(),
            dropped: self.config.settings.udp.then(|| self.shared.drops.count()),
        })
    }

    /// Writes the status page to the file of web_stats and answers it.
    fn web_page(&self) -> String {
        const FAILED: &str = "Unable to create webstats\n";
        let Some(file) = &self.config.settings.web_stats else {
            log::warn(format_args!("status: web_stats names no file"));
            return FAILED.into();
        };
        let page = self.status(|s| s.html());
        match save::replace(file, &page) {
            Ok(()) => page,
            Err(error) => {
                log::error(format_args!("{error}"));
                FAILED.into()
            }
        }
    }

    fn write(&self, file: Option<&str>) -> Result<(), Error> {
        let Some(file) = file.or(self.file.as_deref()).map(Path::new) else {
            return Err(Error::new("no file; name one, or start pen with -F").of("write"));
        };
        let mut text = format!("# Written by pen {} at {}\n", env!("CARGO_PKG_VERSION"), clock::local_time());
        for command in self.config.commands() {
            text.push_str(&command.to_string());
            text.push('\n');
        }
        save::replace(file, &text).map_err(|e| Error::from(e).of("write"))
    }
}
