//! Programs of others that take part in a test, each with its files in a directory of the test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::daemon::{free_address, installed};
use super::process::{listens, signal};
use super::wait::wait_until;

/// A running program; ended when dropped.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// Starts a program, if it is installed, and waits until it listens without connecting to it: the servers behind it are to see
    /// the connections of the test only.
    fn start(program: &str, args: &[&str], config: &Path, text: &str, address: SocketAddr) -> Option<Peer> {
        let path = installed(program)?;
        fs::write(config, text).unwrap();
        let errors = fs::File::create(config.with_extension("err")).unwrap();
        let mut command = Command::new(path);
        command.args(args).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let mut child = command.spawn().ok()?;
        wait_until("a program to listen", || {
            let ended = child.try_wait().unwrap();
            let said = || fs::read_to_string(config.with_extension("err")).unwrap_or_default();
            assert!(ended.is_none(), "{program} ended: {}", said());
            listens(child.id())
        });
        Some(Peer { child, address })
    }

    /// HAProxy with one proxy: the words behind its `bind`, and its lines.
    pub(crate) fn haproxy(directory: &Path, bind: &str, lines: &str) -> Option<Peer> {
        let address = free_address(Ipv4Addr::LOCALHOST);
        let text = format!(
            "global\n  nbthread 1\n  maxconn 100\n\
             defaults\n  timeout connect 10s\n  timeout client 20s\n  timeout server 20s\n  mode tcp\n\
             listen peer\n  bind {address} {bind}\n{lines}\n"
        );
        let config = directory.join(format!("haproxy-{}.cfg", address.port()));
        Self::start("haproxy", &["-db", "-f"], &config, &text, address)
    }

    /// nginx with one server of `stream`: the words behind its `listen`, and its directives.
    pub(crate) fn nginx_stream(directory: &Path, listen: &str, server: &str) -> Option<Peer> {
        const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
        let module = Path::new(MODULE).exists().then(|| format!("load_module {MODULE};"))?;
        let (address, dir) = (free_address(Ipv4Addr::LOCALHOST), directory.display());
        let text = format!(
            "{module} daemon off; master_process off; pid {dir}/nginx-{address}.pid; error_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             stream {{ server {{ listen {address} {listen}; {server} }} }}\n"
        );
        let config = directory.join(format!("nginx-{}.conf", address.port()));
        Self::start("nginx", &["-e", "stderr", "-c"], &config, &text, address)
    }

    /// Dovecot with an IMAP server that reads PROXY headers, and lets nobody in. What it notes of a login is in the
    /// file `dovecot.log`.
    pub(crate) fn dovecot(directory: &Path) -> Option<Peer> {
        let (address, dir) = (free_address(Ipv4Addr::LOCALHOST), directory.display());
        let text = format!(
            "base_dir = {dir}/run\nstate_dir = {dir}/state\nlog_path = {dir}/dovecot.log\nprotocols = imap\nssl = no\n\
             default_login_user = nobody\ndefault_internal_user = nobody\ndefault_internal_group = nogroup\n\
             haproxy_trusted_networks = 127.0.0.1\nauth_failure_delay = 0 secs\ndisable_plaintext_auth = no\n\
             service anvil {{\n  chroot =\n  unix_listener anvil-auth-penalty {{\n  mode = 0\n  }}\n}}\nservice imap-login {{\n  chroot =\n  inet_listener imap {{\n\
             address = {}\n  port = {}\n  haproxy = yes\n  }}\n  inet_listener imaps {{\n  port = 0\n  }}\n}}\n\
             passdb {{\n  driver = static\n  args = password=another\n}}\nuserdb {{\n  driver = static\n\
             args = uid=nobody gid=nogroup home=/\n}}\n\
             login_log_format_elements = rip=%r rport=%b %c name=%{{local_name}}\n",
            address.ip(),
            address.port()
        );
        Self::start("dovecot", &["-F", "-c"], &directory.join("dovecot.conf"), &text, address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Not SIGKILL: some have processes of their own to end.
        signal(self.child.id().cast_signed(), Signal::SIGTERM);
        _ = self.child.wait();
    }
}
