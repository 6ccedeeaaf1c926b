//! One grammar for the control socket, the configuration file, `-O` and the options: parsed here, printed here.

pub mod help;
mod nearest;
mod parse;
mod print;
pub mod server_keys;
mod server_ref;

pub use nearest::nearest;

use super::acl::AclLine;
use super::addr::ClientAddress;
use super::health::CheckKey;
use super::json::document::Document;
use super::settings::keyword::keywords;
use super::settings::{Keyword, Setting, Value};
use server_keys::Change;
pub use server_ref::{SERVERS_MAX, ServerRef};
use std::time::Duration;

/// The longest command line that pen takes, in bytes without its line feed.
pub const LINE_MAX: usize = 16 * 1024;

keywords! {
    /// How a server is to be before `wait` answers.
    Awaited {
        /// It has no connection.
        Idle = "idle",
        /// It may get clients.
        Up = "up",
        /// It gets none, since it does not work.
        Down = "down",
    }
}

/// One command of pen's control language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A setting given a value: a switch turned on or off, a text unset.
    Set(Setting, Value),
    /// A setting shown.
    Show(Setting),
    /// A line of an access list: an entry at its end, or its default.
    Acl(usize, AclLine),
    /// An access list emptied.
    NoAcl(usize),
    /// Changes of a server.
    Server(ServerRef, Vec<Change>),
    /// A server removed.
    NoServer(ServerRef),
    /// Changes of a check.
    Check(String, Vec<(CheckKey, Value)>),
    /// A check removed.
    NoCheck(String),
    /// Accepted for the sake of old files and scripts; does nothing.
    Obsolete(&'static str, bool),
    /// Commands from a file.
    Include(String),
    /// The configuration to a file (`None`: the one given with -F).
    Write(Option<String>),
    /// Ends a connection.
    Close(usize),
    /// Ends the connections of a server.
    CloseServer(ServerRef),
    /// Waits until a server is so, for some time.
    Wait(ServerRef, Awaited, Duration),
    /// Shows a connection.
    Connection(usize),
    /// Shows whose a descriptor is.
    Socket(i64),
    /// Shows the clients of the last seconds.
    Recent(u64),
    /// Shows the servers.
    Servers,
    /// Shows a JSON document.
    Json(Document),
    /// Shows how a setting stands, as the command that makes it so.
    ShowSetting(Setting),
    /// Shows which server a client would get, and why.
    Why(ClientAddress),
    /// The same as a JSON document.
    JsonWhy(ClientAddress),
    /// Shows the modes of selection.
    Mode,
    /// Shows the process id.
    Pid,
    /// Writes and shows the status page.
    Status,
    /// Reads the file of -F again, as HUP does.
    Reload,
    /// Shows what reading a file again (`None`: the one given with -F) would change.
    Diff(Option<String>),
    /// Loads certificates, keys and OCSP responses anew.
    SslReload,
    /// Ends pen.
    Exit,
}

impl Command {
    /// Whether it changes something rather than showing it, so that an administrator wants to know later who gave it.
    pub fn is_change(&self) -> bool {
        match self {
            Command::Set(..)
            | Command::Acl(..)
            | Command::NoAcl(_)
            | Command::Server(..)
            | Command::NoServer(_)
            | Command::Check(..)
            | Command::NoCheck(_)
            | Command::Include(_)
            | Command::Write(_)
            | Command::Close(_)
            | Command::CloseServer(_)
            | Command::Reload
            | Command::SslReload
            | Command::Exit => true,
            Command::Obsolete(..)
            | Command::Show(_)
            | Command::Wait(..)
            | Command::Connection(_)
            | Command::Socket(_)
            | Command::Recent(_)
            | Command::Servers
            | Command::Json(_)
            | Command::ShowSetting(_)
            | Command::Why(_)
            | Command::JsonWhy(_)
            | Command::Mode
            | Command::Pid
            | Command::Diff(_)
            | Command::Status => false,
        }
    }
}
