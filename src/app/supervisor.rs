//! Pen while it serves: the tasks of the main thread, and the shutdown.

use std::process::ExitCode;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::control::server::{self, ControlListener};
use crate::core::Error;
use crate::core::error::SystemReason;
use crate::sys::listen::SocketFile;
use crate::sys::pidfile::PidFile;
use crate::sys::{crash, inherited, log, runtime};

use super::admin_thread::AdminThread;
use super::listeners::ControlSocket;
use super::owner::Owner;
use super::summary::VERSION;

/// How long the shutdown waits for logs to be written.
const PATIENCE: Duration = Duration::from_secs(5);

struct Signals {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    terminate: Signal,
    /// `None` if pen was started with SIGINT ignored, as a shell does for background jobs.
    interrupt: Option<Signal>,
}

/// The main thread's event port, and the signals that it handles.
pub(super) struct Events {
    runtime: Runtime,
    signals: Signals,
}

impl Events {
    /// Starts to handle signals: they may come as soon as the pid file is written.
    ///
    /// # Errors
    /// The system cannot create the event port or a signal handler.
    pub(super) fn new() -> Result<Self, Error> {
        let runtime = runtime::current_thread()?;
        let signals = {
            let _within = runtime.enter();
            Signals {
                hangup: signal(SignalKind::hangup())?,
                user1: signal(SignalKind::user_defined1())?,
                user2: signal(SignalKind::user_defined2())?,
                terminate: signal(SignalKind::terminate())?,
                interrupt: if inherited::is_interrupt_ignored() {
                    None
                } else {
                    Some(signal(SignalKind::interrupt())?)
                },
            }
        };
        Ok(Events { runtime, signals })
    }
}

/// A pen that is ready to serve.
pub(super) struct Running {
    pub(super) events: Events,
    pub(super) owner: Rc<Owner>,
    /// The control socket, and its number of concurrent clients.
    pub(super) control: Option<(ControlSocket, usize)>,
    pub(super) admin: Option<AdminThread>,
    pub(super) workers: Vec<JoinHandle<()>>,
    pub(super) pid_file: Option<PidFile>,
}

impl Running {
    /// Serves until a signal or the command `exit`, and after that as long as connections may continue; then closes
    /// everything, writes out the logs and removes the pid file.
    pub(super) fn serve(self) -> ExitCode {
        let Running { events: Events { runtime, mut signals }, owner, control, admin, workers, pid_file } =
            self;
        let logs = owner.logs();
        log::info(format_args!("pen {VERSION} started: {}", owner.summary()));
        let local = LocalSet::new();
        let socket_file = local.block_on(&runtime, async {
            let file = serve_control(control, &owner);
            let resolver = Rc::clone(&owner);
            tokio::task::spawn_local(async move {
                resolver.dns.run(|found| resolver.found(found)).await;
            });
            tokio::task::spawn_local(Rc::clone(&owner.checker).run());
            tokio::task::spawn_local(owner.hold_denied());
            let requests = SignalledWork::serve(&owner);
            let why = attend(&owner, &requests, &mut signals).await;
            log::info(format_args!("pen {VERSION} stopping on {why}: {}", owner.summary()));
            drain(&owner, &requests, &mut signals).await;
            _ = tokio::time::timeout(PATIENCE, owner.files_are_written()).await;
            file
        });
        owner.end();
        drop(local);
        drop(owner);
        if let Some(admin) = admin {
            admin.end();
        }
        for worker in workers {
            // The panic handler has reported a panic.
            _ = worker.join();
        }
        logs.close(PATIENCE);
        log::info(format_args!("pen {VERSION} stopped"));
        log::flush(PATIENCE);
        drop((socket_file, pid_file));
        // Dropping it would wait for the system's resolver, which may take minutes.
        runtime.shutdown_background();
        ExitCode::SUCCESS
    }
}

fn serve_control(control: Option<(ControlSocket, usize)>, owner: &Rc<Owner>) -> Option<SocketFile> {
    let (control, clients_max) = control?;
    let (listener, file) = match control {
        ControlSocket::Tcp(listener) => (TcpListener::from_std(listener).map(ControlListener::Tcp), None),
        ControlSocket::Unix(listener, file) => {
            (UnixListener::from_std(listener).map(ControlListener::Unix), Some(file))
        }
    };
    match listener {
        Ok(listener) => _ = tokio::task::spawn_local(server::serve(listener, Rc::clone(owner), clients_max)),
        Err(error) => log::error(format_args!("the control socket failed: {}", SystemReason(&error))),
    }
    file
}

/// Lets connections continue without new ones, until none is left, their time is over, or pen is told again to end.
async fn drain(owner: &Owner, requests: &SignalledWork, signals: &mut Signals) {
    let Some(time) = owner.begin_drain() else { return };
    tokio::select! {
        () = owner.drained() => log::info(format_args!("stopping: no connections are left")),
        () = tokio::time::sleep(time) => log::info(format_args!("stopping: the time of stop_timeout is over")),
        _ = attend(owner, requests, signals) => log::info(format_args!("stopping at once")),
    }
}

/// Waits for a signal; forever if pen does not handle it.
async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Slow work that signals request. Tasks of their own do it, so that signals are still handled meanwhile; several
/// requests during a run cause one more run.
struct SignalledWork {
    reload: Rc<Notify>,
    statistics: Rc<Notify>,
}

impl SignalledWork {
    /// Starts the tasks.
    fn serve(owner: &Rc<Owner>) -> Self {
        let requests = SignalledWork { reload: Rc::default(), statistics: Rc::default() };
        let (asked, reloading) = (Rc::clone(&requests.reload), Rc::clone(owner));
        tokio::task::spawn_local(async move {
            loop {
                asked.notified().await;
                // The result is in the log.
                _ = reloading.reload().await;
            }
        });
        let (asked, writing) = (Rc::clone(&requests.statistics), Rc::clone(owner));
        tokio::task::spawn_local(async move {
            loop {
                asked.notified().await;
                writing.statistics().await;
            }
        });
        requests
    }
}

/// Handles signals until pen is to end, and returns what ended it.
async fn attend(owner: &Owner, requests: &SignalledWork, signals: &mut Signals) -> &'static str {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => requests.reload.notify_one(),
            _ = signals.user1.recv() => requests.statistics.notify_one(),
            _ = signals.user2.recv() => {
                let file = if crash::leaves_core() { "with a core file" } else { "without a core file, see abort_on_error" };
                log::error(format_args!("aborting on SIGUSR2, {file}"));
                log::flush(PATIENCE);
                crash::abort();
            }
            _ = signals.terminate.recv() => return "SIGTERM",
            () = heard(&mut signals.interrupt) => return "SIGINT",
            () = owner.stop.notified() => return "the command exit",
        }
    }
}
