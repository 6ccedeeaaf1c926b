//! A pen with many known clients and many connections, and clients that query them continuously.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt::Linger,
};

use crate::{load, process};

/// The number of connections to hold, if there are enough descriptors: all come from one address to one server, which
/// allows fewer than 45,000 ports.
const HELD_MOST: u64 = 40_000;
/// Descriptors for everything else.
const SPARE: u64 = 2_000;
/// The number of clients that come before pen has accepted the first of them.
const IN_A_ROW: u32 = 256;
/// How long pen may take until it has all connections.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many connections are held besides the measured ones: pen has two descriptors for each.
pub(crate) fn held() -> u64 {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    (soft.saturating_sub(SPARE) / 2).min(HELD_MOST)
}

/// The additional load of pen.
#[derive(Debug)]
pub(crate) struct Crowd {
    _held: Vec<OwnedFd>,
}

impl Crowd {
    /// Lets `clients`, each with its own address, connect to `addr` and disconnect, and opens other connections that
    /// stay.
    pub(crate) fn gather(addr: SocketAddr, control: &Path, clients: u32) -> Result<Self, String> {
        let SocketAddr::V4(addr) = addr else { return Err("not an IPv4 address".into()) };
        for n in 0..clients {
            drop(client(Ipv4Addr::new(127, 1, 0, 0), n, addr)?);
            // A client that finds the listen queue full would wait a second for its SYN to be sent again.
            if n % IN_A_ROW == 0 {
                load::probe(addr.into(), false, None)?;
            }
        }
        let crowd = Self::hold(addr, control, held())?;
        let lines = ask(control, "recent 86400").map_err(|e| format!("control socket: {e}"))?;
        let lines = lines.iter().filter(|byte| **byte == b'\n').count();
        if (lines as u64) < u64::from(clients) {
            return Err(format!("recent shows {lines} clients only"));
        }
        Ok(crowd)
    }

    /// Opens `count` connections to `addr` that stay.
    pub(crate) fn hold(addr: SocketAddrV4, control: &Path, count: u64) -> Result<Self, String> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
        if 2 * count + SPARE > limit {
            return Err(format!(
                "{count} connections take more than the {limit} descriptors that are allowed"
            ));
        }
        // Fewer than there are addresses.
        let held = (0..count as u32)
            .map(|n| client(Ipv4Addr::new(127, 200, 0, 0), n, addr))
            .collect::<Result<_, _>>()?;
        let deadline = Instant::now() + PATIENCE;
        while connections(control)? < count {
            if Instant::now() > deadline {
                return Err(format!("does not take {count} connections"));
            }
            process::pause();
        }
        Ok(Crowd { _held: held })
    }
}

/// Connects client number `n` from its own address. Closing it resets the connection: otherwise thousands per second
/// would stay in TIME_WAIT.
fn client(first: Ipv4Addr, n: u32, addr: SocketAddrV4) -> Result<OwnedFd, String> {
    let source = Ipv4Addr::from(u32::from(first) + n);
    let open = || -> nix::Result<OwnedFd> {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
        bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
        connect(fd.as_raw_fd(), &SockaddrIn::from(addr))?;
        Ok(fd)
    };
    open().map_err(|e| format!("client {source}: {e}"))
}

/// The connections that pen's servers have.
fn connections(control: &Path) -> Result<u64, String> {
    let reply = ask(control, "servers").map_err(|e| format!("control socket: {e}"))?;
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let words: Vec<&str> = reply.split_ascii_whitespace().collect();
    let counts = words.windows(2).filter(|pair| pair[0] == "conn").map(|pair| pair[1].parse::<u64>());
    counts.sum::<Result<_, _>>().map_err(|_| format!("servers answers {reply:?}"))
}

/// What is asked of the admin listener, by one client each.
const PATHS: [&str; 4] = ["/metrics", "/api/v1/clients", "/api/v1/connections", "/"];
/// How often each client asks, unless the reply before takes longer.
const INTERVAL: Duration = Duration::from_millis(100);

/// Clients that query pen until this is dropped.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    /// One that queries `recent` and `status` alternately, without a pause.
    pub(crate) fn start(control: &Path) -> Self {
        let mut watch = Watch::new();
        let control = PathBuf::from(control);
        watch.spawn(move |stop| {
            for command in ["recent 86400", "status"].iter().cycle() {
                if stop.load(Relaxed) {
                    return;
                }
                // A failure shows in the table as a row without a difference.
                _ = read(&control, &format!("{command}\n"), |_| !stop.load(Relaxed));
            }
        });
        watch
    }

    /// Those that query the admin listener at this path, ten times a second each.
    pub(crate) fn ask(admin: &Path) -> Self {
        let mut watch = Watch::new();
        for path in PATHS {
            let admin = PathBuf::from(admin);
            watch.spawn(move |stop| {
                let request = request(path);
                let mut next = Instant::now();
                while !stop.load(Relaxed) {
                    // As above.
                    _ = read(&admin, &request, |_| !stop.load(Relaxed));
                    next = (next + INTERVAL).max(Instant::now());
                    process::sleep_until(next);
                }
            });
        }
        watch
    }

    fn new() -> Self {
        Watch { stop: Arc::default(), threads: Vec::new() }
    }

    fn spawn(&mut self, work: impl FnOnce(&AtomicBool) + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || work(&stop)));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            _ = thread.join();
        }
    }
}

/// Checks that the admin listener at this path answers all that [`Watch::ask`] asks.
pub(crate) fn answers(admin: &Path) -> Result<(), String> {
    for path in PATHS {
        let mut begin = Vec::new();
        read(admin, &request(path), |some| {
            begin.extend_from_slice(some);
            false
        })
        .map_err(|e| format!("admin listener: {e}"))?;
        if !begin.starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("{path}: {}", String::from_utf8_lossy(&begin)));
        }
    }
    Ok(())
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// The reply to a command at a control socket.
pub(crate) fn ask(control: &Path, command: &str) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    read(control, &format!("{command}\n"), |some| {
        reply.extend_from_slice(some);
        true
    })?;
    Ok(reply)
}

/// Reads the reply of a Unix socket to a request while `goes_on` returns true.
fn read(socket: &Path, request: &str, mut goes_on: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(request.as_bytes())?;
    let mut some = vec![0; 64 * 1024];
    loop {
        let got = stream.read(&mut some)?;
        if got == 0 || !goes_on(&some[..got]) {
            return Ok(());
        }
    }
}
