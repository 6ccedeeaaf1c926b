//! The keys of `server N KEY VALUE...`, in a table.

use super::server_ref::ServerRef;
use crate::core::Error;
use crate::core::addr::{Host, Services};
use crate::core::health::CheckChoice;
use crate::core::lexer::Word;
use crate::core::settings::table::table;
use crate::core::settings::{
    AdminState, FieldKey, FieldType, Keyword, OnDown, ProxyHeader, Spec, Value, ValueKind,
};
use std::fmt;
use std::time::Duration;

/// A key of a server: a row of the table of [`ServerConfig`].
pub type ServerKey = FieldKey<ServerConfig>;

const fn number(unit: &'static str, help: &'static str) -> Spec {
    Spec::new(ValueKind::Number { min: 0, max: i32::MAX as u64, unit }, help)
}

table! {
    /// One server slot.
    ServerConfig {
        acl: usize = 0, Spec::new(ValueKind::LIST, "the access list for its clients");
        address: Option<Host> = None, Spec::new(ValueKind::Host, "its host; a slot without one is unused");
        port: u16 = 0, Spec::new(ValueKind::Port, "its port; 0 makes the slot unused");
        max: u32 = 0, number("connections, 0 for no limit", "its soft limit of connections; 0 for none");
        hard: u32 = 0,
            number("connections", "its limit for clients that it had before; 0 for none beyond the soft one");
        weight: u32 = 0, number("its share", "its weight");
        prio: u32 = 0, number("its rank", "its priority; the lowest goes first");
        name: Option<String> = None, Spec::new(ValueKind::Name, "its name, which stands for its number");
        state: AdminState = AdminState::Ready,
            Spec::new(ValueKind::Word(AdminState::WORDS), "the clients that it serves: all, those it had before, or none").omits_default();
        check: CheckChoice = CheckChoice::Default,
            Spec::new(ValueKind::Name, "the name of its check, none, or default").omits_default();
        on_down: OnDown = OnDown::Keep,
            Spec::new(ValueKind::Word(OnDown::WORDS), "the treatment of its connections when its check finds it down")
                .omits_default();
        proxy: ProxyHeader = ProxyHeader::Off,
            Spec::new(ValueKind::Word(ProxyHeader::WORDS), "the PROXY header that it gets before the client's bytes").omits_default();
        tls: bool = false, Spec::new(ValueKind::Switch, "whether pen uses TLS with it").omits_default();
        tls_verify: bool = true,
            Spec::new(ValueKind::Switch, "whether its certificate must be valid for its name").omits_default();
        tls_name: Option<Host> = None,
            Spec::new(ValueKind::Host, "its name for TLS: server name and certificate; its address");
    }
}

impl ServerConfig {
    /// The port that pen shows for a Unix socket: it has none, and 0 marks an unused slot.
    pub const UNIX_PORT: u16 = 1;

    /// Applies a change that is a setting; an event changes nothing here.
    pub fn apply(&mut self, change: &ServerChange) {
        if let ServerChange::Set(key, value) = change {
            key.set(self, value);
            if *key == Self::address() && matches!(value, Value::Host(Host::Unix(_))) {
                self.port = Self::UNIX_PORT;
            }
        }
    }

    /// The changes that turn an unused slot into this one.
    pub fn changes(&self) -> Vec<ServerChange> {
        let set = |key: ServerKey| match key.get(self) {
            Value::None => None,
            value if key.spec().omits_default && value == key.default() => None,
            value => Some(ServerChange::Set(key, value)),
        };
        ServerKey::all().filter_map(set).collect()
    }
}

/// One `key value` pair of the command `server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerChange {
    /// A setting of the slot.
    Set(ServerKey, Value),
    /// An event: the server is blacklisted for this time from now on; 0 takes it off the blacklist.
    Blacklist(Duration),
}

const BLACKLIST: &str = "blacklist";
const BLACKLIST_KIND: ValueKind = ValueKind::whole_seconds(0, "seconds");

impl ServerChange {
    /// The key that it sets; `None` for an event.
    pub fn key(&self) -> Option<ServerKey> {
        match self {
            ServerChange::Set(key, _) => Some(*key),
            ServerChange::Blacklist(_) => None,
        }
    }

    /// Whether it is an event.
    pub fn is_event(&self) -> bool {
        matches!(self, ServerChange::Blacklist(_))
    }

    /// Whether it gives the server an address.
    pub fn is_address(&self) -> bool {
        matches!(self, ServerChange::Set(key, value) if *key == ServerConfig::address() && *value != Value::None)
    }

    /// Parses a key and its value, given for `server`.
    ///
    /// # Errors
    /// An unknown key, a value that it does not accept, or a missing value.
    pub fn parse(
        server: &ServerRef,
        key: &Word,
        value: Option<&Word>,
        services: &Services,
    ) -> Result<Self, Error> {
        let word = key.text()?;
        let subject = format!("server {server} {word}");
        let read = |kind: ValueKind| match value {
            Some(value) => kind.parse(value, services).map_err(|e| e.of(&subject)),
            None => Err(Error::missing(kind.expected()).of(&subject)),
        };
        if word == BLACKLIST {
            let mut time = Duration::ZERO;
            time.assign(&read(BLACKLIST_KIND)?);
            return Ok(ServerChange::Blacklist(time));
        }
        match ServerKey::by_word(&word) {
            Some(key) if key.is_unset_by(value) => Ok(ServerChange::Set(key, Value::None)),
            Some(key) => Ok(ServerChange::Set(key, read(key.spec().kind)?)),
            None => Err(Error::expected(keys(), word).of(&format!("server {server}"))),
        }
    }
}

/// The words accepted after `server N`, as a list in a sentence.
fn keys() -> String {
    let mut keys: Vec<&str> = ServerKey::all().map(ServerKey::word).collect();
    keys.push(BLACKLIST);
    let last = keys.pop().unwrap_or_default();
    format!("{} or {last}", keys.join(", "))
}

impl fmt::Display for ServerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerChange::Set(key, value) => write!(f, "{} {}", key.word(), value.word()),
            ServerChange::Blacklist(time) => write!(f, "{BLACKLIST} {}", Value::Seconds(*time).word()),
        }
    }
}
