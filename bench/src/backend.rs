//! The server behind every contender: one thread, epoll, fixed answers and endless zeros.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::wire;

/// Bytes handed to the kernel by one write of a bulk answer.
const CHUNK: usize = 256 * 1024;
/// Writes on one connection before the others are served.
const TURNS: usize = 4;

struct AcceptedConn {
    stream: TcpStream,
    bulk: bool,
}

/// Serves on a port that the system picks, which is printed on stdout, until the process is killed.
pub(crate) fn serve() -> io::Result<()> {
    // On every address of the network namespace, which has loopback alone.
    let listener = TcpListener::bind(("0.0.0.0", 0))?;
    listener.set_nonblocking(true)?;
    let datagrams = UdpSocket::bind(listener.local_addr()?)?;
    datagrams.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;

    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let own = listener.as_raw_fd() as u64;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, own))?;
    let questions = datagrams.as_raw_fd() as u64;
    epoll.add(&datagrams, EpollEvent::new(EpollFlags::EPOLLIN, questions))?;
    let zeros = vec![0u8; CHUNK];
    let mut request = [0u8; 4096];
    let mut conns: Vec<Option<AcceptedConn>> = Vec::new();
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        for event in &events[..ready] {
            if event.data() == own {
                accept(&listener, &epoll, &mut conns)?;
                continue;
            }
            if event.data() == questions {
                answer_datagrams(&datagrams, &mut request);
                continue;
            }
            let Some(slot) = conns.get_mut(event.data() as usize) else { continue };
            let Some(conn) = slot else { continue };
            let keep = if conn.bulk {
                // A client that has finished resets or closes: the next write fails then.
                pour(&mut conn.stream, &zeros)
            } else {
                answer(conn, &epoll, &mut request)
            };
            if !keep {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, epoll: &Epoll, conns: &mut Vec<Option<AcceptedConn>>) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(e) => return Err(e),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd() as usize;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, fd as u64))?;
        if conns.len() <= fd {
            conns.resize_with(fd + 1, || None);
        }
        conns[fd] = Some(AcceptedConn { stream, bulk: false });
    }
}

/// Reads one request and answers it; returns whether the connection stays open.
///
/// Requests are smaller than a segment and never pipelined, so each arrives in one read.
fn answer(conn: &mut AcceptedConn, epoll: &Epoll, request: &mut [u8]) -> bool {
    let got = match conn.stream.read(request) {
        Ok(0) => return false,
        Ok(n) => &request[..n],
        Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
    };
    match got.get(wire::KIND_AT) {
        Some(b'k') => conn.stream.write(wire::ANSWER).is_ok_and(|n| n == wire::ANSWER.len()),
        Some(b'b') => {
            conn.bulk = true;
            let mut event = EpollEvent::new(EpollFlags::EPOLLOUT, conn.stream.as_raw_fd() as u64);
            epoll.modify(&conn.stream, &mut event).is_ok()
        }
        Some(b'c') => {
            let _ = conn.stream.write(wire::ANSWER);
            false
        }
        _ => false,
    }
}

/// Answers every queued datagram. An answer that finds no room is lost, and its round fails.
fn answer_datagrams(datagrams: &UdpSocket, request: &mut [u8]) {
    while let Ok((_, peer)) = datagrams.recv_from(request) {
        let _ = datagrams.send_to(wire::ANSWER, peer);
    }
}

fn pour(stream: &mut TcpStream, zeros: &[u8]) -> bool {
    for _ in 0..TURNS {
        match stream.write(zeros) {
            Ok(n) if n == zeros.len() => {}
            Ok(_) => return true,
            Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}
