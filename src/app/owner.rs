//! The one owner of the configuration: executes all commands, one at a time.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::control::protocol;
use crate::control::server::{Commander, ControlReply, Handler};
use crate::core::command::Command;
use crate::core::error::{Error, SystemReason};
use crate::core::settings::Value;
use crate::core::snapshot::Role;
use crate::core::state::{Answer, Effect, Outcome, State};
use crate::net::check::Checker;
use crate::net::held_clients;
use crate::net::lifecycle::LifeStage;
use crate::net::shared::Shared;
use crate::sys::{atomic_file, log, runtime};

use super::dns::{Dns, FoundName};
use super::documents::Documents;
use super::logs::Logs;
use super::own_address;
use super::perform::Performer;
use super::prepared::{FileWork, Missing, Prepared};
use super::summary::{Count, VERSION, summary};
use super::waiting;
use super::workers::{self, ListenerHandles};

/// The owner. Shared by the tasks of the main thread; none of them borrows it across an await.
#[derive(Debug)]
pub(super) struct Owner {
    state: RefCell<State>,
    performer: RefCell<Performer>,
    shared: Arc<Shared>,
    /// The source of the replies.
    documents: Arc<Documents>,
    /// The resolver.
    pub(super) dns: Rc<Dns>,
    /// The task that checks servers.
    pub(super) checker: Rc<Checker>,
    /// Tells pen to end.
    pub(super) stop: Rc<Notify>,
    /// The number of workers that were started.
    workers: usize,
    /// Locked by a command or reload that needs files, until it is carried out.
    files: tokio::sync::Mutex<()>,
    /// Locked while the status page or a file of commands is written.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Owner {
    /// The owner of a pen that is about to serve.
    pub(super) fn new(
        mut state: State,
        shared: Arc<Shared>,
        documents: Arc<Documents>,
        listening: ListenerHandles,
        dns: Dns,
    ) -> Self {
        let (dns, stop) = (Rc::new(dns), Rc::new(Notify::new()));
        let checker = Rc::new(Checker::new(Arc::clone(&shared), u64::from(std::process::id())));
        let workers = workers::count(state.config());
        let mut performer = Performer::new(
            Arc::clone(&shared),
            Arc::clone(&documents),
            listening,
            Rc::clone(&dns),
            Rc::clone(&checker),
            Rc::clone(&stop),
        );
        performer.perform(state.begin());
        Owner {
            state: RefCell::new(state),
            performer: RefCell::new(performer),
            shared,
            documents,
            dns,
            checker,
            stop,
            workers,
            files: tokio::sync::Mutex::default(),
            writing: Arc::default(),
        }
    }

    fn perform(&self, effects: Vec<Effect>) {
        self.performer.borrow_mut().perform(effects);
    }

    /// A summary of what pen serves, for the log.
    pub(super) fn summary(&self) -> String {
        let state = self.state.borrow();
        let file = state.file().map(|file| format!(", configuration {file}")).unwrap_or_default();
        summary(state.config()) + &file
    }

    /// Holds the clients that `tarpit_acl` denies.
    pub(super) fn hold_denied(&self) -> impl Future<Output = ()> + 'static {
        held_clients::watch(Arc::clone(&self.shared))
    }

    /// Stops accepting clients, since pen is to end. Returns how long the present connections may continue; `None` if
    /// pen ends at once.
    pub(super) fn begin_drain(&self) -> Option<Duration> {
        let time = self.state.borrow_mut().stop()?;
        self.performer.borrow().retire_listener();
        self.shared.lifecycle.enter(LifeStage::Drain);
        let count = Count(self.shared.connections.count(), "connection");
        let seconds = Value::Seconds(time);
        log::info(format_args!("stopping: no new clients, {count} may continue for {seconds} seconds"));
        Some(time)
    }

    /// Waits until no connections are left.
    pub(super) async fn drained(&self) {
        self.shared.connections.until(|| self.shared.connections.count() == 0).await;
    }

    /// Ends workers and connections.
    pub(super) fn end(&self) {
        self.shared.lifecycle.enter(LifeStage::End);
        held_clients::end(&self.shared);
        self.shared.connections.close_all();
    }

    /// The logs.
    pub(super) fn logs(&self) -> Logs {
        Logs::of(&self.shared)
    }

    /// Carries out a command or a reload. If it needs files or the address of a name it fails at first, which changes
    /// nothing; it is carried out again once that is prepared. Other commands are served meanwhile, except those that need
    /// files too: what was read last must not be put in force first.
    async fn attempt<T>(&self, run: impl Fn(&mut State, &mut Performer) -> Outcome<T>) -> Outcome<T> {
        let mut prepared = Prepared::default();
        let mut turn = None;
        loop {
            let outcome = {
                let mut performer = self.performer.borrow_mut();
                performer.prepared = prepared;
                let outcome = run(&mut self.state.borrow_mut(), &mut performer);
                if outcome.is_ok() {
                    performer.prepared.keep_for_effects();
                    return outcome;
                }
                prepared = std::mem::take(&mut performer.prepared);
                outcome
            };
            // Clients would wait in the queue of a socket that stays bound.
            prepared.listener = None;
            match prepared.take_missing() {
                None => return outcome,
                Some(Missing::Address(name)) => {
                    let addresses = Dns::look_up_once(&name).await;
                    prepared.found(name, addresses);
                }
                // What it needs may be different when its turn has come.
                Some(Missing::Files(_)) if turn.is_none() => turn = Some(self.files.lock().await),
                Some(Missing::Files(work)) => {
                    let worked = self.work(work, prepared).await;
                    prepared = worked.map_err(|error| vec![Error::failed("files", error)])?;
                }
            }
        }
    }

    /// Works on files on a thread that may block on the disk, and adds what that has made to `prepared`.
    async fn work(&self, work: FileWork, mut prepared: Prepared) -> io::Result<Prepared> {
        let writing = match work {
            FileWork::Write(..) => Some(Arc::clone(&self.writing).lock_owned().await),
            _ => None,
        };
        let (shared, workers) = (Arc::clone(&self.shared), self.workers);
        let run = move || {
            let _writing = writing;
            prepared.prepare(work, &shared, workers);
            prepared
        };
        runtime::blocking(run).await
    }

    /// Reopens the logs and reads the file of `-F` again, completely or not at all. Returns the changes as text, or all errors.
    pub(super) async fn reload(&self) -> Result<String, Vec<Error>> {
        self.logs().reopen();
        let file = self.state.borrow().file().map(str::to_owned);
        match self.attempt(|state, performer| state.reload(performer)).await {
            Ok((reload, effects)) => {
                self.perform(effects);
                self.is_reloaded(true);
                let what = match file {
                    Some(file) => format!("{file} read again"),
                    None if self.state.borrow().has_tls() => "certificates and keys read again".to_owned(),
                    None => "log reopened".to_owned(),
                };
                let summary = summary(self.state.borrow().config());
                // Up to so many lines, the log has the order in which changes were made.
                let is_long = reload.changes.len() + reload.notices.len() > LOGGED_AT_ONCE;
                let tell = move || {
                    reload.notices.iter().for_each(|notice| log::warn(format_args!("{notice}")));
                    reload.changes.iter().for_each(|command| log::info(format_args!("changed: {command}")));
                    log::info(format_args!("{what} by pen {VERSION}: {summary}"));
                    reload.to_string()
                };
                Ok(if is_long { long_text(tell).await } else { tell() })
            }
            Err(errors) => {
                errors.iter().for_each(|error| log::error(format_args!("{error}")));
                if let Some(file) = file {
                    log::error(format_args!("{file}: it is not applied"));
                }
                self.is_reloaded(false);
                Err(errors)
            }
        }
    }

    /// Counts a reload, and looks up all names again, once, with those that it may have added.
    fn is_reloaded(&self, is_applied: bool) {
        self.documents.reloaded(is_applied);
        let effect = self.state.borrow().look_up_all();
        self.perform(vec![effect]);
    }

    /// Writes the statistics: the status page to the file of web_stats, or else text to pen's own log.
    pub(super) async fn statistics(&self) {
        let file = self.state.borrow().config().settings.web_stats.clone();
        if let Some(file) = file {
            if let Err(error) = self.write_page(file).await {
                log::error(format_args!("{}", SystemReason(&error)));
            }
            return;
        }
        for piece in self.documents.statistics() {
            piece.lines().for_each(|line| log::info(format_args!("{line}")));
            tokio::task::yield_now().await;
        }
    }

    /// Waits until no file is being written.
    pub(super) async fn files_are_written(&self) {
        drop(self.writing.lock().await);
    }

    /// Takes over the addresses that the resolver found for names.
    pub(super) fn found(&self, mut found: Vec<FoundName>) {
        let bound = |name: &str| self.performer.borrow().bound_address(name);
        let own = own_address::take_out(self.state.borrow().config(), bound, &mut found);
        own.iter().for_each(|(name, ip)| log::error(format_args!("{}", own_address::notice(name, *ip))));
        let effects = self.state.borrow_mut().found(found.into_iter().collect());
        self.perform(effects);
    }

    async fn reply(&self, answer: Answer) -> ControlReply {
        let connections = &self.shared.connections;
        ControlReply::Text(match answer {
            Answer::Text(text) => text,
            Answer::Diff(reload) => long_text(move || reload.to_string()).await,
            Answer::Json(document) => return ControlReply::Pieces(self.documents.pieces(document)),
            Answer::JsonWhy(client) => return ControlReply::Pieces(self.documents.why(client)),
            Answer::Why(client) => return ControlReply::Pieces(self.documents.why_lines(client)),
            Answer::Servers => return ControlReply::Pieces(self.documents.server_lines()),
            Answer::Routes => return ControlReply::Pieces(self.documents.route_lines()),
            Answer::Connection(n) => self.documents.connection(n),
            Answer::Wait(n, state, time) => {
                let server = self.shared.snapshot.load().backend(Role::Regular(n)).cloned();
                // The state has just found this server.
                let Some(server) = server else { return ControlReply::Text(String::new()) };
                return ControlReply::Later(Box::pin(waiting::wait(
                    Arc::clone(&self.shared),
                    server,
                    state,
                    time,
                )));
            }
            Answer::Socket(fd) => {
                let owner = connections.by_descriptor(fd).map_or("-1".into(), |n| n.to_string());
                format!("Socket {fd} belongs to connection {owner}\n")
            }
            Answer::Recent(seconds) => return ControlReply::Pieces(self.documents.recent_lines(seconds)),
            Answer::Status => return self.web_page().await,
        })
    }

    /// Writes the status page to the file of web_stats and replies with it.
    async fn web_page(&self) -> ControlReply {
        const FAILED: &str = "Unable to create webstats\n";
        let file = self.state.borrow().config().settings.web_stats.clone();
        let Some(file) = file else {
            log::warn(format_args!("status: web_stats names no file"));
            return ControlReply::Text(FAILED.into());
        };
        match self.write_page(file).await {
            Ok(Some(file)) => ControlReply::File(file),
            Ok(None) => ControlReply::Pieces(self.documents.page()),
            Err(error) => {
                log::error(format_args!("{}", SystemReason(&error)));
                ControlReply::Text(FAILED.into())
            }
        }
    }

    /// Writes the status page, one at a time, on a thread that may block on the disk. Returns the new file; `None` for
    /// a device.
    async fn write_page(&self, path: PathBuf) -> io::Result<Option<File>> {
        let one_at_a_time = Arc::clone(&self.writing).lock_owned().await;
        let mut page = self.documents.page();
        let write = move || {
            let _one_at_a_time = one_at_a_time;
            atomic_file::replace_with(&path, |file| {
                page.try_for_each(|piece| file.write_all(piece.as_bytes()))
            })
        };
        runtime::blocking(write).await?
    }
}

/// How many lines a reload logs before anything else is done: a millisecond's work.
const LOGGED_AT_ONCE: usize = 500;

/// Makes a text of perhaps thousands of lines on a thread of its own, or here if the system has none.
async fn long_text(make: impl Fn() -> String + Send + Sync + 'static) -> String {
    let make = Arc::new(make);
    let there = Arc::clone(&make);
    match runtime::blocking(move || there()).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::Other => {
            protocol::refusal(&[Error::failed("the reply", error)])
        }
        Err(_) => make(),
    }
}

impl Handler for Owner {
    fn permits(&self, client: IpAddr) -> bool {
        self.state.borrow().permits(client)
    }

    async fn execute(&self, line: &str, commander: &Commander) -> ControlReply {
        let parsed = Command::parse(line, self.state.borrow().services());
        let command = match parsed {
            Ok(Some(command)) => command,
            Ok(None) => return ControlReply::Text(String::new()),
            Err(error) => return ControlReply::Text(protocol::refusal(&[error])),
        };
        if command == Command::Reload {
            return ControlReply::Text(match self.reload().await {
                Ok(changes) => changes,
                Err(errors) => protocol::refusal(&errors),
            });
        }
        match self.attempt(|state, performer| state.apply(&command, performer)).await {
            Ok((answer, effects)) => {
                self.perform(effects);
                if command == Command::SslReload {
                    log::info(format_args!("certificates and keys read again"));
                }
                let reply = self.reply(answer).await;
                if command.is_change()
                    && !matches!(&reply, ControlReply::Text(text) if protocol::did_nothing(line, text))
                {
                    log::info(format_args!("control: {commander}: {command}"));
                }
                reply
            }
            Err(errors) => {
                log::debug(1, format_args!("control: {commander}: {command}: refused"));
                ControlReply::Text(protocol::refusal(&errors))
            }
        }
    }
}
