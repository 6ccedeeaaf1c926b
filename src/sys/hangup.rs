//! Whether the peers of many sockets have gone, without an event port that has to know each of them.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{emulation, platform};

/// What a peer may send between two looks where the system tells of its end only behind that, in bytes.
const SCRAP: usize = 4096;

/// For each of these stream sockets whether its peer has ended or reset the connection.
///
/// # Errors
/// As poll(2).
pub fn hung_up(sockets: &[impl AsFd]) -> io::Result<Vec<bool>> {
    let told = platform::PEER_ENDED.filter(|_| !emulation::is_portable());
    let wanted = told.unwrap_or(PollFlags::IN);
    let mut polled: Vec<PollFd<'_>> = sockets.iter().map(|socket| PollFd::new(socket, wanted)).collect();
    match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let gone = PollFlags::HUP | PollFlags::ERR | told.unwrap_or(PollFlags::empty());
    let has_gone = |polled: &PollFd<'_>| {
        let events = polled.revents();
        events.intersects(gone) || (events.contains(PollFlags::IN) && is_at_end(polled))
    };
    Ok(polled.iter().map(has_gone).collect())
}

/// Whether the peer of a stream socket has closed it in both directions, or reset it. A TCP peer that has closed it cannot be
/// distinguished from one that has only ended what it sends.
pub fn is_closed(socket: impl AsFd) -> bool {
    let mut polled = [PollFd::new(&socket, PollFlags::empty())];
    let closed = PollFlags::HUP | PollFlags::ERR;
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
        && polled[0].revents().intersects(closed)
}

/// Whether nothing but the end, or an error, is left to be read from a stream socket. What came before that is thrown away,
/// some of it each time. Never waits.
pub fn is_at_end(socket: impl AsFd) -> bool {
    match recv(socket, &mut [0; SCRAP][..], RecvFlags::DONTWAIT) {
        Ok((_, count)) => count == 0,
        Err(Errno::WOULDBLOCK | Errno::INTR) => false,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn those_have_gone_that_have_ended_or_reset() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut clients = Vec::new();
        let mut sockets: Vec<OwnedFd> = Vec::new();
        for _ in 0..5 {
            clients.push(TcpStream::connect(address).expect("connects"));
            sockets.push(listener.accept().expect("accepts").0.into());
        }
        assert_eq!(hung_up(&sockets).expect("poll"), [false; 5]);
        let mut clients = clients.into_iter();
        let mut next = || clients.next().expect("five");
        let (silent, mut talks, ended, mut ended_after_data, closed) =
            (next(), next(), next(), next(), next());
        talks.write_all(b"hello").expect("sent");
        ended.shutdown(Shutdown::Write).expect("ended");
        ended_after_data.write_all(b"hello").expect("sent");
        drop((ended_after_data, closed));
        // The loopback device has delivered all of it. Where bytes have to be read first, the end is behind them.
        let looks = [(), ()].map(|()| hung_up(&sockets).expect("poll"));
        assert_eq!(looks[1], [false, false, true, true, true]);
        drop((silent, ended));
        assert_eq!(hung_up(&sockets).expect("poll"), [true, false, true, true, true]);
    }
    #[test]
    fn who_has_only_ended_what_it_sends_has_not_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let tcp = || (TcpStream::connect(address).expect("connects"), listener.accept().expect("accepts").0);
        let (half, server) = tcp();
        half.shutdown(Shutdown::Write).expect("ended");
        assert!(is_at_end(&server) && !is_closed(&server));
        let (broken, server) = tcp();
        socket2::SockRef::from(&broken).set_linger(Some(std::time::Duration::ZERO)).expect("set");
        drop(broken);
        assert!(is_closed(&server));
        let (client, server) = UnixStream::pair().expect("a pair");
        client.shutdown(Shutdown::Write).expect("ended");
        assert!(!is_closed(&server));
        drop(client);
        assert!(is_closed(&server));
    }
}
