//! The one grammar of the control socket, the configuration file, `-O` and the options: parser and printer.

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
use server_keys::ServerChange;
pub use server_ref::{SERVERS_MAX, ServerRef};
use std::time::Duration;

/// The longest command line that pen accepts, in bytes without its line feed.
pub const LINE_MAX: usize = 16 * 1024;

keywords! {
    /// The condition of a server that `wait` waits for.
    Awaited {
        /// It has no connections.
        Idle = "idle",
        /// It may get clients.
        Up = "up",
        /// It gets none because it does not work.
        Down = "down",
    }
}

/// One command of pen's control language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Sets a setting: turns a switch on or off, gives or unsets a text.
    Set(Setting, Value),
    /// Shows a setting.
    Show(Setting),
    /// Adds to an access list: an entry at its end, or its default.
    Acl(usize, AclLine),
    /// Empties an access list.
    NoAcl(usize),
    /// Changes a server.
    Server(ServerRef, Vec<ServerChange>),
    /// Removes a server.
    NoServer(ServerRef),
    /// Changes a check.
    Check(String, Vec<(CheckKey, Value)>),
    /// Removes a check.
    NoCheck(String),
    /// Accepted for the sake of old files and scripts; does nothing.
    Obsolete(&'static str, bool),
    /// Reads commands from a file.
    Include(String),
    /// Writes the configuration to a file (`None`: the one given with -F).
    Write(Option<String>),
    /// Ends a connection.
    Close(usize),
    /// Ends the connections of a server.
    CloseServer(ServerRef),
    /// Waits until a server meets a condition, up to a time limit.
    Wait(ServerRef, Awaited, Duration),
    /// Shows a connection.
    Connection(usize),
    /// Shows the connection that a descriptor belongs to.
    Socket(i64),
    /// Shows the clients that connected in the last seconds.
    Recent(u64),
    /// Shows the servers.
    Servers,
    /// Shows a JSON document.
    Json(Document),
    /// Shows a setting as the command that sets it.
    ShowSetting(Setting),
    /// Shows which server a client would get, and why.
    Why(ClientAddress),
    /// The same as a JSON document.
    JsonWhy(ClientAddress),
    /// Shows the rules of server selection.
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
    /// Whether it is about a server and changes no setting: it has only events.
    pub fn is_only_events(&self) -> bool {
        matches!(self, Command::Server(_, changes) if changes.iter().all(ServerChange::is_event))
    }

    /// Whether it changes something rather than showing it, so that the log should say who gave it.
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
