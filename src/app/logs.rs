//! The logs in the configuration: of requests, and of connections that have ended.

use std::time::Duration;

use crate::core::Error;
use crate::core::log_target::LogTarget;
use crate::core::settings::Settings;
use crate::core::state::Log;
use crate::net::shared::Shared;
use crate::sys::{atomic_file, log};
use crate::weblog::{LogHandle, SinkOptions, SinkOutput};

/// Both logs.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    pub(super) requests: LogHandle,
    pub(super) connections: LogHandle,
}

impl Logs {
    /// Starts the writers, and opens the configured targets.
    ///
    /// # Errors
    /// A file cannot be opened, with its name; or the system cannot create a thread.
    pub(super) fn start(settings: &Settings) -> Result<Self, Vec<Error>> {
        let start = |log: Log, target: Option<&LogTarget>| {
            let report: Box<dyn Fn(&str) + Send> = match log {
                Log::Requests => Box::new(|text| log::warn(format_args!("{text}"))),
                Log::Connections => Box::new(|text| log::warn(format_args!("connection_log: {text}"))),
            };
            let handle = LogHandle::start(SinkOptions::default(), report)?;
            handle.put(open(target).map_err(|error| error.of(log.setting().word()))?);
            Ok::<_, Error>(handle)
        };
        let both = (
            start(Log::Requests, settings.log.as_ref()),
            start(Log::Connections, settings.connection_log.as_ref()),
        );
        match both {
            (Ok(requests), Ok(connections)) => Ok(Logs { requests, connections }),
            (one, other) => Err([one.err(), other.err()].into_iter().flatten().collect()),
        }
    }

    /// The logs of a running pen.
    pub(super) fn of(shared: &Shared) -> Self {
        Logs { requests: shared.log.clone(), connections: shared.connection_log.handle.clone() }
    }

    /// The handle of a log.
    pub(super) fn get(&self, log: Log) -> &LogHandle {
        match log {
            Log::Requests => &self.requests,
            Log::Connections => &self.connections,
        }
    }

    /// Reopens the files, for rotation.
    pub(super) fn reopen(&self) {
        self.requests.reopen();
        self.connections.reopen();
    }

    /// Ends both logs, at the same time. Lines that cannot be written in time are lost, which is reported.
    pub(super) fn close(&self, patience: Duration) {
        let logs = [(&self.requests, ""), (&self.connections, "connection_log: ")];
        let closing = logs.map(|(handle, prefix)| (handle.begin_close(patience), prefix));
        for (log, prefix) in closing {
            if let Err(lost) = log.wait() {
                log::error(format_args!("{prefix}{lost}"));
            }
        }
    }
}

/// Whether a target could be opened. Nothing is created.
///
/// # Errors
/// See [`open`].
pub(super) fn check(target: &LogTarget) -> Result<(), Error> {
    match target {
        LogTarget::File(path) if !target.is_stdout() => {
            atomic_file::check(path, true).map_err(|e| Error::failed(target.to_string(), e))
        }
        _ => Ok(()),
    }
}

/// Opens a target; `None` for no log.
///
/// # Errors
/// A file cannot be opened, with its name.
pub(super) fn open(target: Option<&LogTarget>) -> Result<Option<SinkOutput>, Error> {
    let Some(target) = target else { return Ok(None) };
    SinkOutput::open(target.into()).map(Some).map_err(|e| Error::failed(target.to_string(), e))
}
