//! What a command asks of the world: first what can fail, then what cannot.

use crate::core::addr::{ClientAddress, Endpoint, LogTarget};
use crate::core::command::Awaited;
use crate::core::config::Config;
use crate::core::json::document::Document;
use crate::core::settings::{Setting, Settings};
use crate::core::snapshot::Snapshot;
use crate::core::upstream_tls::UpstreamTlsSettings;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Something that can fail. All needs of a plan are met before any of it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The certificates and keys that these settings name are read and checked.
    Tls(Box<Settings>),
    /// The authorities, the certificate and the key for TLS towards servers are read and checked.
    UpstreamTls(Box<UpstreamTlsSettings>),
    /// A socket is bound where clients are to connect, as the settings say.
    Listener(Endpoint, Box<Settings>),
    /// A file is written with these lines.
    Write(PathBuf, String),
    /// The request log is opened and put to use in one step: the last of a plan's needs.
    Log(Option<LogTarget>),
}

impl Need {
    /// The setting that asks for it, for errors.
    pub fn setting(&self) -> Option<Setting> {
        match self {
            Need::Tls(_) | Need::UpstreamTls(_) | Need::Write(..) => None,
            Need::Listener(..) => Some(Settings::listen()),
            Need::Log(_) => Some(Settings::log()),
        }
    }

    /// What follows once the plan is in force.
    pub fn effect(&self) -> Option<Effect> {
        match self {
            Need::Tls(_) => Some(Effect::UseTls),
            Need::UpstreamTls(_) => Some(Effect::UseUpstreamTls),
            Need::Listener(..) => Some(Effect::UseListener),
            Need::Write(..) | Need::Log(_) => None,
        }
    }
}

/// Something that cannot fail and follows from a change that is in force.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The certificates and keys that were read are used.
    UseTls,
    /// Connections to servers use what was read for TLS towards them.
    UseUpstreamTls,
    /// Clients are served at the socket that was bound.
    UseListener,
    /// Workers read this from now on; it is made of this configuration.
    Publish(Arc<Snapshot>, Arc<Config>),
    /// There are descriptors for so many connections only, fewer than are configured.
    ShortOfDescriptors(usize),
    /// How much pen tells of what it does, whether an internal error ends it, and whether the end may leave a core file.
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
    /// The table of clients has room for so many.
    GrowClients(usize),
    /// Connections in progress look at the settings that concern them.
    WakeConnections,
    /// No client is sent back to the server that this slot had.
    Forget(usize),
    /// A connection ends.
    Close(usize),
    /// The connections of a server end.
    CloseServer(usize),
    /// Names are looked up.
    LookUp(Lookups),
    /// Pen ends.
    Stop,
}

/// What there is to look up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Every name that the configuration has. Those that have no address yet are looked up until they have.
    pub names: BTreeSet<String>,
    /// Those of them that are looked up although they have an address.
    pub again: BTreeSet<String>,
}

/// What a command answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This text.
    Text(String),
    /// The servers.
    Servers,
    /// The connection of that number.
    Connection(usize),
    /// Nothing, once this server is so; an error when the time is over before.
    Wait(usize, Awaited, Duration),
    /// The connection that a descriptor belongs to.
    Socket(i64),
    /// The clients of the last seconds.
    Recent(u64),
    /// A JSON document.
    Json(Document),
    /// Which server a client would get, and why.
    Why(ClientAddress),
    /// The same as a JSON document.
    JsonWhy(ClientAddress),
    /// The status page, which is written to the file of `web_stats` too.
    Status,
}
