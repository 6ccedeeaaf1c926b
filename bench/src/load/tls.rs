//! TLS rounds: a blocking thread per connection, rustls as the client, TLS 1.3 with P-256 and AES-256-GCM for all.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::{Outcome, Phases, Task, Tls, Turn, Work, failed};
use crate::wire;

/// rustls reads 4 KiB at a time; the client must not limit a download.
const BUFFER: usize = 64 * 1024;

pub(super) type TlsStream = StreamOwned<ClientConnection, Buffered>;

/// Reads in large blocks, writes unbuffered.
pub(super) struct Buffered(BufReader<TcpStream>);

impl Buffered {
    pub(super) fn tcp(&self) -> &TcpStream {
        self.0.get_ref()
    }
}

impl Read for Buffered {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Buffered {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

pub(super) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    pub(super) fn new(tls: &Tls) -> Result<Self, String> {
        let provider = CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
            kx_groups: vec![ring::kx_group::SECP256R1],
            ..ring::default_provider()
        };
        let der = fs::read(&tls.ca).map_err(failed("certificate"))?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(der)).map_err(failed("certificate"))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(failed("tls"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption =
            if tls.resume { Resumption::in_memory_sessions(64) } else { Resumption::disabled() };
        let name = ServerName::try_from("bench.example").map_err(failed("tls"))?;
        Ok(Client { config: Arc::new(config), name })
    }

    pub(super) fn wrap(&self, tcp: TcpStream) -> Result<TlsStream, String> {
        tcp.set_nodelay(true).map_err(failed("nodelay"))?;
        let tls = ClientConnection::new(self.config.clone(), self.name.clone()).map_err(failed("tls"))?;
        Ok(StreamOwned::new(tls, Buffered(BufReader::with_capacity(BUFFER, tcp))))
    }
}

#[derive(Default)]
struct Shared {
    units: AtomicU64,
    stop: AtomicBool,
}

pub(super) fn run(task: &Task, tls: &Tls) -> Result<Outcome, String> {
    let shared = Arc::new(Shared::default());
    let (sender, failures) = channel();
    for _ in 0..task.conns {
        let (task, tls, shared, sender) = (task.clone(), tls.clone(), shared.clone(), sender.clone());
        std::thread::spawn(move || drive(&task, &tls, &shared, &sender));
    }
    let mut phases = Phases::start(task);
    let mut base = 0;
    let outcome = loop {
        match failures.recv_timeout(phases.until.saturating_duration_since(Instant::now())) {
            Ok(why) => break Err(why),
            Err(RecvTimeoutError::Disconnected) => break Err("every connection ended".into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        match phases.turn(Instant::now(), shared.units.load(Relaxed) - base) {
            Turn::On => {}
            Turn::Begin => base = shared.units.load(Relaxed),
            Turn::Done(outcome) => break Ok(outcome),
        }
    };
    // The threads end with the process, which only has to print.
    shared.stop.store(true, Relaxed);
    outcome.and_then(|o| if o.units == 0 { Err("nothing done in the interval".into()) } else { Ok(o) })
}

fn drive(task: &Task, tls: &Tls, shared: &Shared, failures: &Sender<String>) {
    let work = match task.work {
        Work::Bulk => bulk,
        _ => handshakes,
    };
    if let Err(why) = Client::new(tls).and_then(|client| work(task, tls, &client, shared)) {
        // The receiver no longer exists when the round is over.
        let _ = failures.send(why);
    }
}

fn connect(task: &Task, client: &Client) -> Result<TlsStream, String> {
    let tcp = TcpStream::connect(task.addr).map_err(failed("connect"))?;
    tcp.set_read_timeout(Some(Duration::from_secs(5))).map_err(failed("timeout"))?;
    client.wrap(tcp)
}

/// One handshake and one request per connection. The first handshake of a resuming thread is a full one and not
/// counted.
fn handshakes(task: &Task, tls: &Tls, client: &Client, shared: &Shared) -> Result<(), String> {
    let mut answer = [0u8; wire::ANSWER.len()];
    let mut first = true;
    while !shared.stop.load(Relaxed) {
        let mut stream = connect(task, client)?;
        stream.write_all(wire::CLOSE).map_err(failed("handshake"))?;
        stream.read_exact(&mut answer).map_err(failed("read"))?;
        let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        if resumed != tls.resume && !first {
            return Err(if resumed { "resumed unasked" } else { "sessions do not resume" }.into());
        }
        if !first || !tls.resume {
            shared.units.fetch_add(1, Relaxed);
        }
        first = false;
        // Whether the stream ends with close_notify is not measured.
        let _ = stream.read(&mut answer);
    }
    Ok(())
}

fn bulk(task: &Task, _: &Tls, client: &Client, shared: &Shared) -> Result<(), String> {
    let mut stream = connect(task, client)?;
    stream.write_all(wire::BULK).map_err(failed("handshake"))?;
    let mut sink = vec![0u8; 64 * 1024];
    while !shared.stop.load(Relaxed) {
        match stream.read(&mut sink).map_err(failed("read"))? {
            0 => return Err("download ended".into()),
            n => shared.units.fetch_add(n as u64, Relaxed),
        };
    }
    Ok(())
}
