//! A server that fails on command.

use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Backlog, listen};
use nix::unistd::Pid;

use super::Step;
use crate::{process, wire};

/// The servers' addresses. Packets to one that the machine does not have come back over loopback and are dropped.
const ADDRESSES: [SocketAddr; 2] = [address(2), address(3)];

const fn address(host: u8) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, host), 8000))
}

/// Adds the servers' addresses to the network namespace.
pub(super) fn prepare() -> Result<(), String> {
    ip("addr add 10.99.0.1/32 dev lo")?;
    ip("route add 10.99.0.0/24 dev lo src 10.99.0.1")?;
    restore()
}

/// Undoes what [`Step::Vanish`] does.
pub(super) fn restore() -> Result<(), String> {
    ADDRESSES.iter().try_for_each(|address| ip(&format!("addr replace {}/32 dev lo", address.ip())))
}

fn ip(words: &str) -> Result<(), String> {
    let status = Command::new("ip").args(words.split(' ')).status().map_err(|e| format!("ip: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("ip {words}: {status}")) }
}

/// A server in a separate process.
pub(super) struct ServerProcess {
    which: usize,
    process: Option<(Child, ChildStdin)>,
}

impl ServerProcess {
    /// Starts the server with that number, and waits until it answers.
    pub(super) fn start(which: usize) -> Result<Self, String> {
        let mut server = ServerProcess { which, process: None };
        server.begin()?;
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        ADDRESSES[self.which]
    }

    fn begin(&mut self) -> Result<(), String> {
        let mut command = process::held_self(&["failover-server", &self.address().to_string()])?;
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(|e| format!("server: {e}"))?;
        let stdin = child.stdin.take().ok_or("server: no stdin")?;
        self.process = Some((child, stdin));
        let answers = || TcpStream::connect_timeout(&self.address(), Duration::from_millis(100)).is_ok();
        process::wait_for("a server", answers)
    }

    pub(super) fn apply(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Kill => self.end(),
            Step::Start => self.begin()?,
            Step::Freeze => self.signal(Signal::SIGSTOP),
            Step::Thaw => self.signal(Signal::SIGCONT),
            Step::Refuse => self.tell("refuse")?,
            Step::Reset => self.tell("reset")?,
            Step::Serve => self.tell("serve")?,
            Step::Vanish => ip(&format!("addr del {}/32 dev lo", self.address().ip()))?,
            Step::Appear => restore()?,
            Step::Drain | Step::Ready => return Err("a server does not drain itself".into()),
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some((child, _)) = &self.process {
            // It may have ended already.
            let _ = kill(Pid::from_raw(child.id() as i32), signal);
        }
    }

    fn tell(&mut self, what: &str) -> Result<(), String> {
        let (_, stdin) = self.process.as_mut().ok_or("server: not there")?;
        writeln!(stdin, "{what}").map_err(|e| format!("server: {e}"))
    }

    fn end(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some((mut child, _)) = self.process.take() {
            let _ = child.wait();
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// The program of a server: `pen-bench failover-server ADDRESS`, controlled by lines on its standard input.
pub(crate) fn serve(args: &[String]) -> Result<(), String> {
    let [address] = args else { return Err("failover-server: an address".into()) };
    let resets = Arc::new(AtomicBool::new(false));
    let mut listening = Some(Listening::open(address, &resets)?);
    for line in std::io::stdin().lock().lines() {
        match line.map_err(|e| format!("stdin: {e}"))?.as_str() {
            "refuse" => listening = None,
            "reset" => resets.store(true, Relaxed),
            _ => {
                resets.store(false, Relaxed);
                if listening.is_none() {
                    listening = Some(Listening::open(address, &resets)?);
                }
            }
        }
    }
    drop(listening);
    Ok(())
}

/// A listening socket and its accepting thread, until dropped.
struct Listening {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listening {
    fn open(address: &str, resets: &Arc<AtomicBool>) -> Result<Self, String> {
        let listener = TcpListener::bind(address).map_err(|e| format!("{address}: {e}"))?;
        // The queue must have room for a crowd.
        let queue = Backlog::new(4096).map_err(|e| format!("{address}: {e}"))?;
        listen(&listener, queue).map_err(|e| format!("{address}: {e}"))?;
        let address = listener.local_addr().map_err(|e| format!("{address}: {e}"))?;
        let (stop, resets) = (Arc::new(AtomicBool::new(false)), Arc::clone(resets));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                for stream in listener.incoming().flatten() {
                    if stop.load(Relaxed) {
                        return;
                    }
                    let reset = resets.load(Relaxed);
                    std::thread::spawn(move || answer(stream, reset));
                }
            }
        });
        Ok(Listening { address, stop, thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, reset: bool) {
    if reset {
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        let _ = nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger);
        return;
    }
    // Requests are short, and each arrives in one or very few segments.
    let (mut request, mut got) = ([0; 512], 0);
    while !request[..got].ends_with(b"\r\n\r\n") {
        match stream.read(&mut request[got..]) {
            Ok(n @ 1..) => got += n,
            _ => return,
        }
    }
    let _ = stream.write_all(wire::ANSWER);
}
