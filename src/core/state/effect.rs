//! What a command requires: needs, which can fail, and effects, which cannot.

use super::proposal::Reload;
use crate::core::addr::{ClientAddress, Endpoint};
use crate::core::command::Awaited;
use crate::core::config::Config;
use crate::core::error::Error;
use crate::core::json::document::Document;
use crate::core::log_target::LogTarget;
use crate::core::settings::{Setting, Settings};
use crate::core::snapshot::{Backend, Snapshot};
use crate::core::upstream_tls::UpstreamTlsSettings;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// An operation that can fail. All needs of a plan are met before any part of it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The certificates and keys that these settings name are read and checked.
    Tls(Box<Settings>),
    /// The authorities, the certificate and the key for TLS towards servers are read and checked.
    UpstreamTls(Box<UpstreamTlsSettings>),
    /// A socket is bound to the address that clients connect to, as configured.
    Listener(Endpoint, Box<Settings>),
    /// This file is written with this configuration.
    Write(String, Arc<Config>),
    /// A log is opened.
    Log(Log, Option<LogTarget>),
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Log {
    /// Requests.
    Requests,
    /// Connections that have ended.
    Connections,
}

impl Log {
    /// The setting that says where.
    pub fn setting(self) -> Setting {
        match self {
            Log::Requests => Settings::log(),
            Log::Connections => Settings::connection_log(),
        }
    }
}

impl Need {
    /// An error about it: that of the setting that requires it.
    pub(super) fn of(&self, error: Error) -> Error {
        match self {
            Need::Tls(_) | Need::UpstreamTls(_) | Need::Write(..) => error,
            Need::Listener(..) => error.of(Settings::listen().word()),
            Need::Log(log, _) => error.of(log.setting().word()),
        }
    }

    /// The effect that follows once the plan is in force.
    pub fn effect(&self) -> Option<Effect> {
        match self {
            Need::Tls(_) => Some(Effect::UseTls),
            Need::UpstreamTls(_) => Some(Effect::UseUpstreamTls),
            Need::Listener(..) => Some(Effect::UseListener),
            Need::Log(log, _) => Some(Effect::UseLog(*log)),
            Need::Write(..) => None,
        }
    }
}

/// An operation that cannot fail and follows from a change that is in force.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The certificates and keys that were read come into use.
    UseTls,
    /// Connections to servers use the TLS files that were read for them.
    UseUpstreamTls,
    /// The socket that was bound accepts clients.
    UseListener,
    /// The log that was opened is used.
    UseLog(Log),
    /// Workers read this snapshot from now on; it was made from this configuration.
    Publish(Arc<Snapshot>, Arc<Config>),
    /// There are descriptors for only so many connections, fewer than configured.
    ShortOfDescriptors(usize),
    /// The level of debug messages, whether an internal error ends pen, and whether it may then leave a core file.
    Diagnostics {
        /// The level of `debug`.
        debug: u32,
        /// `abort_on_error`
        abort_on_error: bool,
        /// A core file may be written.
        core_file: bool,
        /// There are keys in memory.
        keys: bool,
    },
    /// The affinity table has room for so many clients.
    GrowClients(usize),
    /// Open connections re-read the settings that concern them.
    WakeConnections,
    /// No client is sent to the former server of this slot any more, nor back to it. After the snapshot without it is published:
    /// who looks for a server before must find either this one or what takes its place.
    Forget(usize, Arc<Backend>),
    /// A connection ends.
    Close(usize),
    /// The connections of a server end.
    CloseServer(usize),
    /// Names are looked up.
    LookUp(Lookups),
    /// Pen ends.
    Stop,
}

/// The names to look up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookups {
    /// All names in the configuration. Those without an address are looked up until they have one.
    pub names: Arc<BTreeSet<String>>,
    /// The names among them that are looked up although they have an address.
    pub again: BTreeSet<String>,
}

/// The reply of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This text.
    Text(String),
    /// The changes that a reload would make.
    Diff(Arc<Reload>),
    /// The servers.
    Servers,
    /// The routes of `sni_server`, as commands.
    Routes,
    /// The connection of that number.
    Connection(usize),
    /// Nothing, once this server meets the condition; an error when the time is over first.
    Wait(usize, Awaited, Duration),
    /// The connection that a descriptor belongs to.
    Socket(i64),
    /// The clients that connected in the last seconds.
    Recent(u64),
    /// A JSON document.
    Json(Document),
    /// Which server a client would get, and why.
    Why(ClientAddress),
    /// The same as a JSON document.
    JsonWhy(ClientAddress),
    /// The status page, which is also written to the file of `web_stats`.
    Status,
}
