//! Prints a command as the line that gives it.

use super::Command;
use crate::core::lexer;
use crate::core::settings::{Keyword, Value};
use std::fmt;

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let no = |on: &bool| if *on { "" } else { "no " };
        match self {
            Command::Set(setting, Value::Switch(on)) => write!(f, "{}{}", no(on), setting.word()),
            Command::Set(setting, Value::None) => write!(f, "no {}", setting.word()),
            Command::Set(setting, value) => write!(f, "{} {}", setting.word(), value.word()),
            Command::Show(setting) => f.write_str(setting.word()),
            Command::Acl(n, entry) => write!(f, "acl {n} {entry}"),
            Command::NoAcl(n) => write!(f, "no acl {n}"),
            Command::Server(server, changes) => {
                write!(f, "server {server}")?;
                changes.iter().try_for_each(|change| write!(f, " {change}"))
            }
            Command::NoServer(server) => write!(f, "no server {server}"),
            Command::Check(name, changes) => {
                write!(f, "check {name}")?;
                changes.iter().try_for_each(|(key, value)| write!(f, " {} {}", key.word(), value.word()))
            }
            Command::NoCheck(name) => write!(f, "no check {name}"),
            Command::Obsolete(word, on) => write!(f, "{}{word}", no(on)),
            Command::Include(file) => write!(f, "include {}", lexer::quote(file)),
            Command::Write(None) => f.write_str("write"),
            Command::Write(Some(file)) => write!(f, "write {}", lexer::quote(file)),
            Command::Close(n) => write!(f, "close {n}"),
            Command::CloseServer(server) => write!(f, "close server {server}"),
            Command::Wait(server, state, time) => {
                write!(f, "wait {server} {} {}", state.word(), Value::Seconds(*time))
            }
            Command::Connection(n) => write!(f, "connection {n}"),
            Command::Socket(n) => write!(f, "socket {n}"),
            Command::Recent(n) => write!(f, "recent {n}"),
            Command::Servers => f.write_str("servers"),
            Command::Json(document) => write!(f, "json {}", document.word()),
            Command::ShowSetting(setting) => write!(f, "show {}", setting.word()),
            Command::Why(client) => write!(f, "why {client}"),
            Command::JsonWhy(client) => write!(f, "json why {client}"),
            Command::Mode => f.write_str("mode"),
            Command::Pid => f.write_str("pid"),
            Command::Status => f.write_str("status"),
            Command::Reload => f.write_str("reload"),
            Command::Diff(None) => f.write_str("diff"),
            Command::Diff(Some(file)) => write!(f, "diff {}", lexer::quote(file)),
            Command::SslReload => f.write_str("ssl_reload"),
            Command::Exit => f.write_str("exit"),
        }
    }
}
