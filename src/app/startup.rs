//! The start, up to the moment when pen serves.

use std::io::Write;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use crate::admin::{self, AdminListener};
use crate::core::addr::Services;
use crate::core::config::Config;
use crate::core::config_file::{ConfigLine, ErrorReport, LineIndex};
use crate::core::error::{Error, SystemReason, one_line};
use crate::core::settings::Keyword as _;
use crate::core::state::{self, State};
use crate::net::shared::Shared;
use crate::net::tls;
use crate::net::upstream_tls::{self, LoadedUpstream, UpstreamTls};
use crate::sys::daemon::{self, Fork, Ready};
use crate::sys::listen::SocketFile;
use crate::sys::privileges::{self, Account};
use crate::sys::{crash, limits, log, pidfile::PidFile};

use super::admin_thread::AdminThread;
use super::dns::{self, Dns, FoundName};
use super::documents::Documents;
use super::listeners::{self, ControlSocket};
use super::load::LoadedConfig;
use super::logs::Logs;
use super::own_address;
use super::owner::Owner;
use super::summary::Count;
use super::supervisor::{Events, Running};
use super::workers;

/// Descriptors that pen itself needs: standard streams, listeners, logs, one event port per worker and so on.
const FIXED_DESCRIPTORS: u64 = 32;

/// The number of concurrent clients of the control socket, each of which has a descriptor: many, so that idle ones lock nobody out,
/// and few enough to leave descriptors to connections.
fn control_clients(descriptors: u64) -> u32 {
    let most = if descriptors < 4096 { 32 } else { 128 };
    clients(descriptors / 8, 4..=most)
}

/// The same of the admin listener, if there is one.
fn admin_clients(config: &Config, descriptors: u64) -> u32 {
    match config.settings.admin {
        Some(_) => clients(descriptors / 16, 2..=admin::CONNECTIONS_MAX),
        None => 0,
    }
}

/// As many clients as this share of the descriptors, within `bounds`.
fn clients(share: u64, bounds: RangeInclusive<u32>) -> u32 {
    u32::try_from(share).unwrap_or(u32::MAX).clamp(*bounds.start(), *bounds.end())
}

/// Prints a message before pen serves.
pub(super) fn say(line: &str) {
    // An error here could not be reported anywhere.
    _ = writeln!(std::io::stderr(), "pen: {}", one_line(line.to_owned()));
}

/// The sockets that are bound before the fork and served after it.
struct Bound {
    account: Option<Account>,
    listener: listeners::BoundListener,
    control: Option<ControlSocket>,
    admin: Option<(AdminListener, Option<SocketFile>)>,
    tls: Option<tls::TlsServer>,
    upstream_tls: Option<LoadedUpstream>,
    descriptors: usize,
    control_clients: usize,
    admin_clients: usize,
}

/// Why pen cannot serve.
#[derive(Debug)]
pub(super) struct StartErrors(Vec<Error>);

impl<E: Into<Error>> From<E> for StartErrors {
    fn from(error: E) -> Self {
        StartErrors(vec![error.into()])
    }
}

impl StartErrors {
    /// The errors, each at its line or option, in the order of these.
    fn placed(self, lines: &[ConfigLine], config: &Config) -> Vec<Error> {
        let mut report = ErrorReport::default();
        report.whole(self.0, &LineIndex::new(lines, config), None);
        report.into_errors()
    }
}

/// Starts pen: binds, moves to the background, and serves until the end.
///
/// # Errors
/// The reasons why pen cannot serve.
pub(super) fn start(loaded: LoadedConfig, services: Services) -> Result<ExitCode, Vec<Error>> {
    let bound = bind_all(&loaded).map_err(|errors| errors.placed(&loaded.lines, &loaded.config))?;
    let ready = if loaded.config.settings.foreground {
        Ready::foreground()
    } else {
        match daemon::detach().map_err(|error| vec![error.into()])? {
            Fork::Parent(status) => return Ok(status),
            Fork::Child(ready) => ready,
        }
    };
    let (lines, config) = (loaded.lines.clone(), loaded.config.clone());
    match serve(loaded, bound, services) {
        Ok(running) => match ready.release() {
            Ok(()) => Ok(running.serve()),
            Err(error) => Err(vec![error.into()]),
        },
        Err(errors) => {
            let mut reasons = errors.placed(&lines, &config);
            let last = reasons.pop().map(|reason| reason.to_string()).unwrap_or_default();
            reasons.iter().for_each(|reason| say(&reason.to_string()));
            Ok(ready.fail(last))
        }
    }
}

/// The value, or `None` and one more error.
fn kept<T>(result: Result<T, Error>, errors: &mut Vec<Error>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

/// What was read, after its warnings are printed; or `None` and more errors.
fn read<T>(result: Result<Option<(T, Vec<String>)>, Vec<Error>>, errors: &mut Vec<Error>) -> Option<T> {
    let (read, notices) = result.map_err(|wrong| errors.extend(wrong)).ok()??;
    notices.iter().for_each(|notice| say(notice));
    Some(read)
}

/// The number of descriptors that pen may have.
///
/// # Errors
/// Too few to serve any client.
fn descriptors(config: &Config) -> Result<u64, Error> {
    let limit = limits::raise_descriptors()?;
    let workers = if config.settings.udp { 1 } else { workers::count(config) };
    let least = limits::least_descriptors(workers as u64);
    if limit < least {
        let expected = format!("at least {least} with {}", Count(workers, "worker"));
        return Err(Error::expected(expected, limit.to_string()).of("the limit of open descriptors"));
    }
    Ok(limit)
}

/// Binds the sockets and reads the files of TLS.
///
/// # Errors
/// All that is not to be had.
fn bind_all(loaded: &LoadedConfig) -> Result<Bound, StartErrors> {
    let config = &loaded.config;
    // First: without descriptors everything after it fails with misleading errors.
    let descriptors = descriptors(config)?;
    let mut errors = Vec::new();
    let account = config.settings.user.as_deref().map(Account::lookup).transpose();
    let account = kept(account.map_err(|e| Error::from(e).of("user")), &mut errors);
    let tls = read(tls_server(config), &mut errors);
    let upstream_tls = read(load_upstream_tls(config), &mut errors);
    let control_clients = control_clients(descriptors);
    let admin_clients = admin_clients(config, descriptors);
    let others = u64::from(control_clients) + u64::from(admin_clients);
    let room = limits::connections(descriptors, FIXED_DESCRIPTORS + others);
    // A UDP flow has one descriptor, towards its server.
    let room = if config.settings.udp { room.saturating_mul(2) } else { room };
    let Some(endpoint) = config.listening() else {
        return Err(Error::new("no listening address").into());
    };
    // The control socket is bound first, as in C pen.
    let control = match &config.settings.control {
        None => None,
        Some(_) if config.settings.user.is_none() && privileges::running_as_root() => {
            say("won't open the control socket running as root; use -u to run as a different user");
            None
        }
        Some(address) => {
            let control = listeners::control(&address.endpoint, &config.settings);
            kept(control.map_err(|e| e.of("control")), &mut errors)
        }
    };
    let admin = config.settings.admin.as_ref().map(|at| listeners::admin(at, &config.settings)).transpose();
    let admin = kept(admin.map_err(|e| e.of("admin")), &mut errors).flatten();
    let listener = listeners::listener(endpoint, &config.settings, &listeners::Used::default());
    let listener = kept(listener.map_err(|e| e.about("listen")), &mut errors);
    match (account, listener) {
        (Some(account), Some(listener)) if errors.is_empty() => Ok(Bound {
            account,
            listener,
            control,
            admin,
            tls,
            upstream_tls,
            descriptors: usize::try_from(room).unwrap_or(usize::MAX).max(1),
            control_clients: control_clients as usize,
            admin_clients: admin_clients as usize,
        }),
        _ => Err(StartErrors(errors)),
    }
}

/// Reads certificates and keys while pen may still read what only root can. Also returns the warnings about them.
///
/// # Errors
/// See [`tls::TlsServer::new`].
pub(super) fn tls_server(config: &Config) -> Result<Option<(tls::TlsServer, Vec<String>)>, Vec<Error>> {
    let Some(settings) = tls::TlsSettings::of(&config.settings) else { return Ok(None) };
    tls::TlsServer::new(&settings, workers::count(config)).map(Some)
}

/// The same for TLS to servers.
///
/// # Errors
/// See [`UpstreamTls::load`].
pub(super) fn load_upstream_tls(
    config: &Config,
) -> Result<Option<(LoadedUpstream, Vec<String>)>, Vec<Error>> {
    let Some(settings) = config.upstream_tls() else { return Ok(None) };
    UpstreamTls::default().load(&settings, workers::count(config)).map(Some)
}

fn serve(loaded: LoadedConfig, bound: Bound, services: Services) -> Result<Running, StartErrors> {
    let LoadedConfig { config, blacklists, file_named, command_line, file, .. } = loaded;
    let Bound {
        account,
        listener,
        control,
        admin,
        tls,
        upstream_tls,
        descriptors,
        control_clients,
        admin_clients,
    } = bound;
    let foreground = config.settings.foreground;
    let resolved = dns::look_up_now(&config.names(), |name, error| {
        say(&format!(
            "{name} cannot be resolved, its servers are not used until it can: {}",
            SystemReason(error)
        ));
    });
    let bound = listener.address();
    let mut found: Vec<FoundName> = resolved.into_iter().collect();
    let own = own_address::take_out(&config, |_| bound, &mut found);
    own.iter().for_each(|(name, ip)| say(&own_address::notice(name, *ip)));
    let resolved = found.into_iter().collect();
    log::set_identity(config.settings.log_ident.as_deref(), config.settings.log_facility.word());
    log::connect();
    let programs = config.runs_programs();
    privileges::confine(config.settings.chroot.as_deref(), account.as_ref(), programs)?;
    crash::log_panics();
    let logs = Logs::start(&config.settings).map_err(StartErrors)?;
    let events = Events::new()?;
    let pid_file = config.settings.pidfile.as_deref().map(PidFile::write).transpose()?;
    let mut tls_warnings = tls.as_ref().map(tls::TlsServer::begin).transpose()?.unwrap_or_default();
    tls_warnings.extend(config.upstream_tls().iter().flat_map(upstream_tls::unreadable));
    log::start(if foreground { log::Target::Stderr } else { log::Target::Syslog })?;
    // What the threads find out as they start is told too.
    log::set_debug_level(config.settings.debug);
    tls_warnings.iter().for_each(|warning| log::warn(format_args!("{warning}")));
    let (clients_max, count) = (config.settings.clients_max, workers::count(&config));
    let dns = Dns::new(&resolved);
    let start = state::Start {
        config,
        blacklists,
        resolved,
        services,
        file,
        file_named,
        command_line,
        descriptors,
        pid: std::process::id(),
        tls: tls.is_some(),
        programs: programs || account.is_none() || !privileges::PROGRAMS_ARE_A_PRIVILEGE,
    };
    // The clock of the shared data starts now.
    let state = State::new(start, 1);
    let shared = Arc::new(Shared::new(
        Arc::clone(state.snapshot()),
        clients_max,
        (logs.requests, logs.connections),
        tls,
    ));
    if let Some(loaded) = upstream_tls {
        shared.upstream_tls.install(loaded);
    }
    let (threads, listening) = workers::start(count, &shared, listener)?;
    let documents = Arc::new(Documents::new(Arc::clone(&shared), state.config(), state.file()));
    let start_admin = |(listener, file)| AdminThread::start(listener, file, &documents, admin_clients);
    let admin = admin.map(start_admin).transpose()?;
    let owner = Owner::new(state, shared, documents, listening, dns);
    Ok(Running {
        events,
        owner: Rc::new(owner),
        control: control.map(|control| (control, control_clients)),
        admin,
        workers: threads,
        pid_file,
    })
}
