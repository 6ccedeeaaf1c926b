//! nginx as a server behind pen.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::daemon::{Daemon, free_address, installed};

/// A running nginx with one worker in its own process.
pub(crate) struct Nginx {
    pub(crate) daemon: Daemon,
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// Starts it on an address, with directives for `http` and for its one `server`; `None` if nginx is not installed.
    /// Its files are in `directory`.
    pub(crate) fn start(ip: &str, directory: &Path, http: &str, server: &str) -> Option<Nginx> {
        Self::start_as("", ip, directory, http, server)
    }

    /// The same with TLS.
    pub(crate) fn start_tls(ip: &str, directory: &Path, http: &str, server: &str) -> Option<Nginx> {
        Self::start_as(" ssl", ip, directory, http, server)
    }

    /// The same with words behind the `listen` of its server.
    pub(crate) fn start_listening(words: &str, directory: &Path, server: &str) -> Option<Nginx> {
        Self::start_as(&format!(" {words}"), "127.0.0.1", directory, "", server)
    }

    fn start_as(kind: &str, ip: &str, directory: &Path, http: &str, server: &str) -> Option<Nginx> {
        let program = installed("nginx")?;
        let address = free_address(ip.parse().unwrap());
        let config = directory.join(format!("nginx-{address}.conf"));
        let dir = directory.display();
        let text = format!(
            "daemon off; master_process off; pid {dir}/nginx-{address}.pid; error_log {dir}/nginx-{address}.err;\n\
             events {{ worker_connections 64; }}\n\
             http {{ {http}\n\
             client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;\n\
             uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;\n\
             server {{ listen {address}{kind}; {server} }} }}\n",
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.arg("-p").arg(directory).arg("-c").arg(&config).stderr(Stdio::null());
        Some(Nginx { daemon: Daemon::start(address, command), address })
    }
}
