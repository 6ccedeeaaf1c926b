//! TLS servers to put behind pen: in the test process itself, where every step is visible, and `openssl s_server`.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use openssl::ssl::{
    AlpnError, NameType, Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion,
};

use socket2::SockAddr;

use super::backend::Backend;
use super::client::Client;
use super::port::reserve;
use super::tls::{Pair, Tls};
use super::wait::wait_until;

/// The parameters of a server.
pub(crate) struct TlsServer(SslContextBuilder);

impl TlsServer {
    /// A server with that certificate.
    pub(crate) fn new(identity: &Pair) -> TlsServer {
        let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
        context.set_certificate(&identity.cert).unwrap();
        context.set_private_key(&identity.key).unwrap();
        for certificate in &identity.chain {
            context.add_extra_chain_cert(certificate.clone()).unwrap();
        }
        context.set_session_id_context(b"test").unwrap();
        // Without it OpenSSL forgets the name in resumed sessions.
        context.set_servername_callback(|_, _| Ok(()));
        TlsServer(context)
    }

    /// Accepts only this version.
    pub(crate) fn version(mut self, version: SslVersion) -> Self {
        self.0.set_security_level(0);
        self.0.set_min_proto_version(Some(version)).unwrap();
        self.0.set_max_proto_version(Some(version)).unwrap();
        self
    }

    /// Accepts only this group for the exchange of keys.
    pub(crate) fn group(mut self, name: &str) -> Self {
        self.0.set_groups_list(name).unwrap();
        self
    }

    /// Issues sessions of TLS 1.3 to the first client only.
    pub(crate) fn issues_one_session(mut self) -> Self {
        let first = AtomicBool::new(true);
        self.0.set_servername_callback(move |ssl, _| {
            if !first.swap(false, SeqCst) {
                ssl.set_num_tickets(0).unwrap();
            }
            Ok(())
        });
        self
    }

    /// Demands a client certificate from this authority.
    pub(crate) fn demands(mut self, authority: &Pair) -> Self {
        self.0.cert_store_mut().add_cert(authority.cert.clone()).unwrap();
        self.0.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        self
    }

    /// Chooses among the protocols that are offered (ALPN).
    pub(crate) fn selects(mut self, choose: impl Fn(&[u8]) -> Option<&[u8]> + Send + Sync + 'static) -> Self {
        self.0.set_alpn_select_callback(move |_, offered| choose(offered).ok_or(AlpnError::NOACK));
        self
    }

    /// Serves each connection whose handshake succeeds.
    pub(crate) fn serve(self, serve: impl Fn(Tls) + Send + Sync + 'static) -> Backend {
        Backend::new(self.handler(serve))
    }

    /// The same at a given address.
    pub(crate) fn serve_on(
        self,
        address: SocketAddr,
        serve: impl Fn(Tls) + Send + Sync + 'static,
    ) -> Backend {
        Backend::on(&address.into(), self.handler(serve))
    }

    /// A greeter on a Unix socket.
    pub(crate) fn greeter_at_path(self, path: &Path, name: &str) -> Backend {
        Backend::on(&SockAddr::unix(path).unwrap(), self.handler(greet(name)))
    }

    fn handler(self, serve: impl Fn(Tls) + Send + Sync + 'static) -> impl Fn(Client) + Send + Sync + 'static {
        let context = self.0.build();
        move |client| {
            let ssl = Ssl::new(&context).unwrap();
            // Otherwise what follows a ticket waits until pen has acknowledged that. A Unix socket has no such option.
            _ = client.0.set_tcp_nodelay(true);
            if let Ok(stream) = ssl.accept(client.0) {
                serve(Tls(stream));
            }
        }
    }

    /// Sends its name and the requested server name as a line, then waits for the client to end.
    pub(crate) fn greeter(self, name: &str) -> Backend {
        self.serve(greet(name))
    }

    /// Sends everything back.
    pub(crate) fn echo(self) -> Backend {
        self.serve(|mut tls| {
            let mut buffer = [0; 65536];
            while let Ok(n @ 1..) = tls.0.ssl_read(&mut buffer) {
                tls.send(&buffer[..n]);
            }
            tls.finish();
        })
    }
}

fn greet(name: &str) -> impl Fn(Tls) + Send + Sync + 'static {
    let name = name.to_owned();
    move |mut tls| {
        let asked = tls.0.ssl().servername(NameType::HOST_NAME).unwrap_or("-").to_owned();
        tls.send(format!("{name} {asked}\n"));
        tls.rest();
        tls.finish();
    }
}

/// A running `openssl s_server`.
pub(crate) struct SServer {
    child: Child,
    pub(crate) address: SocketAddr,
    output: BufReader<ChildStdout>,
}

impl SServer {
    /// Starts it with the certificate and key in `NAME.crt` and `NAME.key` in a directory; `args` are split at blanks.
    pub(crate) fn start(directory: &Path, name: &str, args: &str) -> SServer {
        let port = reserve(Ipv4Addr::LOCALHOST);
        let file = |end: &str| directory.join(format!("{name}.{end}"));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-cert"]).arg(file("crt"));
        command.arg("-cert_chain").arg(file("crt")).arg("-key").arg(file("key"));
        command.args(args.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = SServer { child, address, output };
        server.says("ACCEPT");
        server
    }

    /// Reads its output up to a line with that text, and returns the line.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "s_server ended: {all}");
            if line.contains(text) {
                return line;
            }
            all.push_str(&line);
        }
    }
}

impl Drop for SServer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A running stunnel, which terminates TLS for a server and passes on the contents.
pub(crate) struct Stunnel {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Stunnel {
    /// Starts it with `NAME.crt` and `NAME.key`, additional configuration lines, and the server behind it; `None` if
    /// stunnel is not installed.
    pub(crate) fn start(directory: &Path, name: &str, lines: &str, server: SocketAddr) -> Option<Stunnel> {
        let program = ["/usr/bin/stunnel", "/usr/bin/stunnel4", "/usr/local/bin/stunnel"];
        let program = program.into_iter().find(|path| Path::new(path).exists())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, reserve(Ipv4Addr::LOCALHOST)));
        let config = directory.join(format!("stunnel-{}.conf", address.port()));
        let dir = directory.display();
        let text = format!(
            "foreground = yes\npid =\n[tls]\naccept = {address}\nconnect = {server}\n\
             cert = {dir}/{name}.crt\nkey = {dir}/{name}.key\n{lines}\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(program).arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let stunnel = Stunnel { child: child.ok()?, address };
        wait_until("stunnel to serve", || TcpStream::connect(address).is_ok());
        Some(stunnel)
    }
}

impl Drop for Stunnel {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
