//! The contenders: each with two servers in turn, a connect timeout of one second, and otherwise its defaults.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::contender::{find, stream_module, words, write};
use crate::process::Running;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    CPen,
    HaProxy,
    /// With checks every half second.
    HaProxyChecks,
    Nginx,
}

impl Kind {
    pub(super) const ALL: [Kind; 5] =
        [Kind::Ours, Kind::CPen, Kind::HaProxy, Kind::HaProxyChecks, Kind::Nginx];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Ours => "pen",
            Kind::CPen => "C pen",
            Kind::HaProxy => "HAProxy",
            Kind::HaProxyChecks => "HAProxy with checks",
            Kind::Nginx => "nginx stream",
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
            command
                .args(["-f", "-r", "-x", "9000", "-q", "4096", "-t", "1"])
                .arg(format!("127.0.0.1:{port}"));
            command.args(servers.map(|server| server.to_string()));
            command
        };
        let command = match self {
            Kind::Ours => pen(ours),
            Kind::CPen => pen(Path::new("/usr/bin/pen")),
            Kind::HaProxy | Kind::HaProxyChecks => {
                let check = if self == Kind::HaProxyChecks { " check inter 500ms fall 2 rise 1" } else { "" };
                let file = dir.join(format!("failover-haproxy-{port}.cfg"));
                let [a, b] = servers;
                write(
                    &file,
                    &format!(
                        "global\n  maxconn 9000\n\
                         defaults\n  mode tcp\n  timeout connect 1s\n  timeout check 500ms\n  timeout client 1m\n  \
                         timeout server 1m\n  retries 3\n  option redispatch 1\n\
                         frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
                         backend b\n  balance roundrobin\n  server a {a}{check}\n  server b {b}{check}\n"
                    ),
                )?;
                let mut command = Command::new(find("haproxy")?);
                command.args(words(&["-db", "-f", &file.to_string_lossy()]));
                command
            }
            Kind::Nginx => {
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
            Kind::Ours => pen(ours),
            Kind::CPen => pen(Path::new("/usr/bin/pen")),
            Kind::HaProxy | Kind::HaProxyChecks => return Err("balances no UDP".into()),
            Kind::Nginx => {
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
