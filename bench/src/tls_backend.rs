//! The server behind contenders that speak TLS to it: a thread for each connection, and a port for each kind of handshake.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::wire;

/// More than any row has connections at a time, so that none waits for a thread.
const THREADS: usize = 64;
/// Bytes handed to TLS by one write of a bulk answer.
const CHUNK: usize = 64 * 1024;

/// The arguments after `pen-bench tls-backend`: a certificate with its key. Serves until the process is killed, on two ports that the
/// system picks and that are printed on stdout: on the first no session is resumed.
pub(crate) fn serve(args: &[String]) -> Result<(), String> {
    let [pair] = args else { return Err("tls-backend: CERTIFICATE".into()) };
    let mut ports = Vec::new();
    for resumes in [false, true] {
        let config = Arc::new(config(Path::new(pair), resumes)?);
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
        ports.push(listener.local_addr().map_err(|e| e.to_string())?.port().to_string());
        for _ in 0..THREADS {
            let listener = listener.try_clone().map_err(|e| e.to_string())?;
            let config = config.clone();
            std::thread::spawn(move || {
                while let Ok((tcp, _)) = listener.accept() {
                    // An error is the end of a connection, and the client of the round tells of it.
                    let _ = talk(tcp, config.clone());
                }
            });
        }
    }
    println!("{}", ports.join(" "));
    io::stdout().flush().map_err(|e| e.to_string())?;
    loop {
        std::thread::park();
    }
}

fn config(pair: &Path, resumes: bool) -> Result<ServerConfig, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", pair.display());
    let provider = CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..ring::default_provider()
    };
    let cert = CertificateDer::from_pem_file(pair).map_err(|e| failed(&e))?;
    let key = PrivateKeyDer::from_pem_file(pair).map_err(|e| failed(&e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| failed(&e))?
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .map_err(|e| failed(&e))?;
    if resumes {
        config.ticketer = ring::Ticketer::new().map_err(|e| failed(&e))?;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// Answers one request, as the server without TLS does.
fn talk(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(tls, tcp);
    let mut request = [0; 4096];
    let got = stream.read(&mut request)?;
    if request[..got].get(wire::KIND_AT) == Some(&b'b') {
        let zeros = vec![0; CHUNK];
        loop {
            stream.write_all(&zeros)?;
        }
    }
    stream.write_all(wire::ANSWER)?;
    if request[..got].get(wire::KIND_AT) == Some(&b'k') {
        // The client ends it.
        return stream.read(&mut request).map(drop);
    }
    stream.conn.send_close_notify();
    stream.flush()
}
