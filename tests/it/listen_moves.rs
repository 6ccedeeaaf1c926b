//! The command `listen`: pen moves, and nobody who has connected is lost.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::support::backend::greeters;
use crate::support::pen::free_port;
use crate::support::wait::DEADLINE;
use crate::support::{Pen, Setup};

const MOVES: usize = 60;

/// What became of clients.
#[derive(Default)]
struct Fates {
    served: AtomicUsize,
    refused: AtomicUsize,
    lost: AtomicUsize,
}

impl Fates {
    /// Counts a client: who has connected is to be served, who has not may be refused.
    fn count<S: Read>(&self, connected: std::io::Result<S>) {
        let mut greeting = [0; 2];
        let fate = match connected {
            Ok(mut stream) => match stream.read_exact(&mut greeting) {
                Ok(()) => &self.served,
                Err(_) => &self.lost,
            },
            Err(error) if [ErrorKind::ConnectionRefused, ErrorKind::NotFound].contains(&error.kind()) => {
                &self.refused
            }
            // Its handshake was cut off.
            Err(_) => &self.lost,
        };
        fate.fetch_add(1, Relaxed);
    }
}

/// Moves pen to and fro between two addresses, at once and again, while clients connect to both.
fn move_to_and_fro(pen: &Pen, places: [&str; 2], connect: impl Fn(usize, &Fates) + Sync) -> Fates {
    let (fates, over) = (Fates::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for n in 0..2 {
            let (fates, over, connect) = (&fates, &over, &connect);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    connect(n, fates);
                }
            });
        }
        let mut answers = Vec::new();
        for n in 0..MOVES {
            let place = places[(n + 1) % 2];
            answers.push((place, pen.control(&format!("listen {place}"))));
        }
        over.store(true, Relaxed);
        for (place, answer) in answers {
            assert_eq!(answer, format!("{place}\n"));
        }
    });
    fates
}

/// Nobody who has connected is lost.
fn assert_none_lost(fates: &Fates) {
    assert!(fates.served.load(Relaxed) > 0);
    assert_eq!(fates.lost.load(Relaxed), 0, "of {}", fates.served.load(Relaxed));
}

#[test]
fn to_and_fro_nobody_who_has_connected_is_lost() {
    let backends = greeters(1);
    let pen = Setup::new().options("-r").servers(&backends).start();
    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let addresses = [pen.address, other];
    let places = addresses.map(|address| address.to_string());
    let connect = |n: usize, fates: &Fates| {
        let stream = TcpStream::connect_timeout(&addresses[n], DEADLINE);
        fates.count(stream.inspect(|stream| stream.set_read_timeout(Some(DEADLINE)).unwrap()));
    };
    assert_none_lost(&move_to_and_fro(&pen, [&places[0], &places[1]], connect));
}

#[test]
fn between_paths_too() {
    let backends = greeters(1);
    let setup = Setup::new();
    let places = ["one", "two"].map(|name| setup.file(name));
    let pen = setup.listen(&places[0]).servers(&backends).start();
    let connect = |n: usize, fates: &Fates| {
        let stream = UnixStream::connect(Path::new(&places[n]));
        fates.count(stream.inspect(|stream| stream.set_read_timeout(Some(DEADLINE)).unwrap()));
    };
    assert_none_lost(&move_to_and_fro(&pen, [&places[0], &places[1]], connect));
}

#[test]
fn an_address_that_includes_one_just_left_is_waited_for() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    let (port, elsewhere) = (pen.address.port(), format!("127.0.0.1:{}", free_port()));
    let (one, all) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));
    for _ in 0..5 {
        for place in [&elsewhere, &all, &elsewhere, &one] {
            assert_eq!(pen.control(&format!("listen {place}")), format!("{place}\n"));
        }
        assert_eq!(pen.choice(2), "A");
    }
    // The one that it listens on is in the way for as long as it does.
    let refused = pen.control(&format!("listen {all}"));
    assert!(refused.contains("in use"), "{refused}");
    assert_eq!(pen.choice(2), "A");
}

#[test]
fn a_command_or_a_file_that_is_refused_leaves_nothing_bound() {
    let backends = greeters(1);
    let setup = Setup::new();
    let file = setup.write("file", "");
    let pen = setup.options(format!("-F {file}")).servers(&backends).start();
    let (before, elsewhere) = (pen.control("listen"), format!("127.0.0.1:{}", free_port()));
    // The log cannot be opened.
    pen.write("file", format!("listen {elsewhere}\nlog /nowhere/at/all\n"));
    assert!(pen.control("reload").starts_with("error: "));
    assert_eq!(pen.control("listen"), before);
    assert_eq!(TcpStream::connect(&elsewhere).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    pen.write("file", format!("listen {elsewhere}\n"));
    assert!(!pen.control("reload").starts_with("error: "));
    assert_eq!(pen.control("listen"), format!("{elsewhere}\n"));
    // An address that is that of a server.
    let taken = format!("127.0.0.1:{}", free_port());
    assert_eq!(pen.control(&format!("server 1 address 127.0.0.1 port {}", &taken[10..])), "");
    let refused = pen.control(&format!("listen {taken}"));
    assert!(refused.starts_with("error: "), "{refused}");
    assert_eq!(TcpStream::connect(&taken).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
