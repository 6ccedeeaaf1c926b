//! A web server to put behind pen, built in so that the demo needs nothing else installed.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a client may take for its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest request head that is accepted.
const HEAD_MAX: usize = 16 * 1024;

/// A web server that answers with its name, and can be stopped and started again at the same address.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// A server on a port that the system picks.
    ///
    /// # Errors
    /// See bind(2).
    pub(super) fn start(name: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        Ok(Server { name, address, running: Some(serve(name, listener)) })
    }

    /// Stops: connections are refused from now on.
    pub(super) fn die(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            stop.store(true, SeqCst);
            // Wakes the thread, which waits for a connection.
            _ = TcpStream::connect(self.address);
            _ = thread.join();
        }
    }

    /// Serves again, at the same address.
    ///
    /// # Errors
    /// See bind(2).
    pub(super) fn come_back(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address)?;
        self.running = Some(serve(self.name, listener));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.die();
    }
}

fn serve(name: &'static str, listener: TcpListener) -> Running {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if stopped.load(SeqCst) {
                break;
            }
            // A client that disconnects is not a failure of the server.
            thread::spawn(move || _ = answer(name, stream));
        }
    });
    Running { stop, thread }
}

/// Reads the head of a request and answers with a line of text.
fn answer(name: &str, mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") && head.len() < HEAD_MAX {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            n => head.extend_from_slice(&chunk[..n]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let client = head
        .lines()
        .find_map(|line| {
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("X-Forwarded-For"))
        })
        .map_or("somebody", |(_, address)| address.trim());
    let body = format!("Server {name} greets {client}.\n");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
