//! The contenders: each with two servers in turn, a connect timeout of one second, and otherwise its defaults.
//!
//! Those with checks make the same: a page every half second, with half a second for the answer; two failures in a row, one
//! success.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::contender::{control, find, stream_module, words, write};
use crate::process::Running;
use crate::watch::ask;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContenderKind {
    Ours,
    /// With checks every half second.
    OursChecks,
    CPen,
    HaProxy,
    /// With checks every half second.
    HaProxyChecks,
    Nginx,
}

impl ContenderKind {
    pub(super) const ALL: [ContenderKind; 6] = [
        ContenderKind::Ours,
        ContenderKind::OursChecks,
        ContenderKind::CPen,
        ContenderKind::HaProxy,
        ContenderKind::HaProxyChecks,
        ContenderKind::Nginx,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            ContenderKind::Ours => "pen",
            ContenderKind::OursChecks => "pen with checks",
            ContenderKind::CPen => "C pen",
            ContenderKind::HaProxy => "HAProxy",
            ContenderKind::HaProxyChecks => "HAProxy with checks",
            ContenderKind::Nginx => "nginx stream",
        }
    }

    /// Starts it on `port`, and waits until it serves.
    pub(super) fn start(
        self,
        ours: &Path,
        dir: &Path,
        port: u16,
        servers: [SocketAddr; 2],
    ) -> Result<Running, String> {
        let pen = |program: &Path| {
            let mut command = Command::new(program);
            command.args(["-f", "-r", "-x", "9000", "-q", "4096", "-t", "1"]);
            command
        };
        let command = match self {
            ContenderKind::Ours | ContenderKind::OursChecks => {
                let mut command = pen(ours);
                command.args(["-u", "root", "-C"]).arg(control(dir, port));
                if self == ContenderKind::OursChecks {
                    let check = "check it type http path /close every 0.5 timeout 0.5 fall 2 rise 1";
                    command.args(["-O", check, "-O", "check_default it"]);
                }
                command.arg(format!("127.0.0.1:{port}")).args(servers.map(|server| server.to_string()));
                command
            }
            ContenderKind::CPen => {
                let mut command = pen(Path::new("/usr/bin/pen"));
                command.arg(format!("127.0.0.1:{port}")).args(servers.map(|server| server.to_string()));
                command
            }
            ContenderKind::HaProxy | ContenderKind::HaProxyChecks => {
                let (check, httpchk) = match self {
                    ContenderKind::HaProxyChecks => {
                        (" check inter 500ms fall 2 rise 1", "  option httpchk GET /close\n")
                    }
                    _ => ("", ""),
                };
                let control = control(dir, port);
                let control = control.display();
                let file = dir.join(format!("failover-haproxy-{port}.cfg"));
                let [a, b] = servers;
                write(
                    &file,
                    &format!(
                        "global\n  maxconn 9000\n  stats socket {control} level admin\n\
                         defaults\n  mode tcp\n  timeout connect 1s\n  timeout check 500ms\n  timeout client 1m\n  \
                         timeout server 1m\n  retries 3\n  option redispatch 1\n\
                         frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
                         backend b\n  balance roundrobin\n{httpchk}  server a {a}{check}\n  server b {b}{check}\n"
                    ),
                )?;
                let mut command = Command::new(find("haproxy")?);
                command.args(words(&["-db", "-f", &file.to_string_lossy()]));
                command
            }
            ContenderKind::Nginx => {
                let [a, b] = servers;
                let stream = format!(
                    "  upstream b {{ server {a}; server {b}; }}\n  server {{\n    \
                     listen 127.0.0.1:{port} backlog=4096;\n    proxy_pass b; proxy_connect_timeout 1s;\n  }}\n"
                );
                nginx(dir, &format!("failover-nginx-{port}"), &stream)?
            }
        };
        serve(&command, dir, port, false)
    }

    /// Has it give a server no new clients, or gives it clients again.
    pub(super) fn drain(self, dir: &Path, port: u16, server: usize, drains: bool) -> Result<(), String> {
        let state = if drains { "drain" } else { "ready" };
        let command = match self {
            ContenderKind::Ours | ContenderKind::OursChecks => format!("server {server} state {state}"),
            ContenderKind::HaProxy | ContenderKind::HaProxyChecks => {
                format!("set server b/{} state {state}", ["a", "b"][server])
            }
            ContenderKind::CPen | ContenderKind::Nginx => return Err("drains no server".into()),
        };
        let fail = |error: std::io::Error| format!("{}: {error}", self.name());
        let reply = ask(&control(dir, port), &command).map_err(fail)?;
        let reply = String::from_utf8_lossy(&reply);
        if reply.trim().is_empty() { Ok(()) } else { Err(format!("{}: {reply}", self.name())) }
    }

    /// The same with one server, and for UDP.
    pub(super) fn start_udp(
        self,
        ours: &Path,
        dir: &Path,
        port: u16,
        server: SocketAddr,
    ) -> Result<Running, String> {
        let pen = |program: &Path| {
            let mut command = Command::new(program);
            command.args(["-f", "-U"]).arg(format!("127.0.0.1:{port}")).arg(server.to_string());
            command
        };
        let command = match self {
            ContenderKind::Ours | ContenderKind::OursChecks => pen(ours),
            ContenderKind::CPen => pen(Path::new("/usr/bin/pen")),
            ContenderKind::HaProxy | ContenderKind::HaProxyChecks => return Err("balances no UDP".into()),
            ContenderKind::Nginx => {
                let stream = format!(
                    "  server {{\n    listen 127.0.0.1:{port} udp;\n    proxy_pass {server};\n  }}\n"
                );
                nginx(dir, &format!("flood-nginx-{port}"), &stream)?
            }
        };
        serve(&command, dir, port, true)
    }
}

/// nginx with this configuration inside `stream`; its files are called `name`.
fn nginx(dir: &Path, name: &str, stream: &str) -> Result<Command, String> {
    let nginx = find("nginx")?;
    let module = stream_module(&nginx)?;
    let file = dir.join(format!("{name}.conf"));
    let config = format!(
        "{module}user root;\ndaemon off;\npid {name}.pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 18000; }}\nstream {{\n{stream}}}\n"
    );
    write(&file, &config)?;
    let mut command = Command::new(nginx);
    command.args(words(&["-e", "stderr", "-p", &dir.to_string_lossy(), "-c", &file.to_string_lossy()]));
    Ok(command)
}

fn serve(command: &Command, dir: &Path, port: u16, udp: bool) -> Result<Running, String> {
    let program = Path::new(command.get_program());
    if !program.is_file() {
        return Err(format!("{} is not there", program.display()));
    }
    Running::serve(command, dir, port, udp)
}
