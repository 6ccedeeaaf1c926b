use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::*;

fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    (one, other)
}

/// Both ways; the first is by the ring only where the system has one.
fn both(test: impl Fn(Calls)) {
    test(Calls::new(true));
    test(Calls::new(false));
}

#[test]
fn calls_of_all_kinds_return_what_they_did_in_their_places() {
    both(|mut calls| {
        let (near, far) = pair();
        let listener = crate::sys::datagram::DatagramSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let asked = listener.local_addr().unwrap().port();
        far.send(b"first").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(("127.0.0.2", asked)).unwrap();
        client.send(b"question").unwrap();
        let mut batch = crate::sys::datagram::Batch::new();
        listener.receive(&mut batch).unwrap();
        let destination = Destination::of(&batch.get(0).unwrap().1.unwrap());
        let (mut room, mut other) = ([0; 16], [0; 16]);
        let returned = calls.make(
            [
                Call::Receive(near.as_fd(), &mut room),
                Call::Receive(near.as_fd(), &mut other),
                Call::Send(near.as_fd(), b"second"),
                Call::SendTo(listener.as_fd(), b"answer", &destination),
            ]
            .into_iter(),
        );
        let returned: Vec<_> =
            returned.iter().map(|returned| returned.count().map_err(|error| error.kind())).collect();
        assert_eq!(returned, [Ok(5), Err(std::io::ErrorKind::WouldBlock), Ok(6), Ok(6)]);
        assert_eq!(&room[..5], b"first");
        assert_eq!(far.recv(&mut other).unwrap(), 6);
        // The client takes it from the address alone that it has asked.
        assert_eq!(client.recv(&mut other).unwrap(), 6);
        assert_eq!(&other[..6], b"answer");
    });
}

#[test]
fn more_than_the_system_takes_at_once_are_made_in_order() {
    both(|mut calls| {
        let (near, far) = pair();
        for count in [0, 1, 2, 127, 128, 129, 200] {
            let datagrams: Vec<_> = (0..count).map(|n: u16| n.to_be_bytes()).collect();
            let sends = datagrams.iter().map(|datagram| Call::Send(near.as_fd(), datagram));
            assert!(calls.make(sends).iter().all(|returned| returned.count().is_ok_and(|sent| sent == 2)));
            for datagram in &datagrams {
                let mut room = [0; 8];
                assert_eq!(far.recv(&mut room).unwrap(), 2);
                assert_eq!(&room[..2], datagram);
            }
        }
    });
}
