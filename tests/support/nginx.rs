//! nginx as a server behind pen.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::port::reserve;
use super::wait::wait_until;

/// A running nginx with one worker in its own process.
pub(crate) struct Nginx {
    child: Child,
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

    fn start_as(kind: &str, ip: &str, directory: &Path, http: &str, server: &str) -> Option<Nginx> {
        let port = reserve(ip.parse().unwrap());
        let address = format!("{ip}:{port}");
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
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|p| Path::new(p).exists())?;
        let child = Command::new(program)
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let nginx = Nginx { child, address: address.parse().unwrap() };
        wait_until("nginx to serve", || TcpStream::connect(nginx.address).is_ok());
        Some(nginx)
    }
}

impl Nginx {
    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
