//! Unix sockets on either side.

use std::os::unix::fs::FileTypeExt as _;

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, greeters};
use crate::support::directory::directory;
use crate::support::{Client, Setup, wait_until};

#[test]
fn clients_of_a_unix_socket_are_one_client_that_no_list_denies() {
    let backends = greeters(3);
    let setup = Setup::new();
    let path = setup.file("listen");
    let pen =
        setup.listen(&path).command("acl 1 deny 0.0.0.0 0.0.0.0").command("client_acl 1").servers(&backends);
    let mut pen = pen.start();
    let ask = || Client::to_path(path.as_ref()).line();
    assert_eq!([ask(), ask(), ask()], ["B", "B", "B"]);
    assert_eq!(pen.control("listen"), format!("{path}\n"));
    wait_until("the bytes to be counted", || pen.control("recent") == " connects 3 sx 6 rx 0\n");
    pen.terminate();
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn a_file_that_a_dead_pen_left_is_taken_over_and_a_live_one_is_not() {
    let backends = greeters(1);
    let dir = directory();
    let path = dir.path().join("listen");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
    let pen = Setup::new().listen(path.display()).servers(&backends).start();
    assert_eq!(Client::to_path(&path).line(), "A");
    let failure =
        Setup::new().listen(path.display()).fixed_port().servers(&backends).try_start().unwrap_err();
    assert!(failure.stderr.contains(path.to_str().unwrap()), "{failure:?}");
    assert_eq!(Client::to_path(&path).line(), "A");
    drop(pen);
    // What is no socket is nobody's to remove.
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    Setup::new().listen(file.display()).fixed_port().try_start().unwrap_err();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

/// Where a full queue is refused like a socket of nobody's (Solaris), a pen that is busy is not taken for a dead one.
#[test]
fn a_live_pen_with_a_full_queue_keeps_its_socket() {
    let backends = greeters(1);
    let dir = directory();
    let path = dir.path().join("listen");
    let setup =
        || Setup::new().environment("PEN_PORTABLE", "1").options("-q 1").listen(path.display()).fixed_port();
    for daemon in [false, true] {
        let setup_first = setup().servers(&backends);
        let mut pen = if daemon { setup_first.daemon() } else { setup_first }.start();
        pen.signal(Signal::SIGSTOP);
        let mut waiting = Vec::new();
        let address = socket2::SockAddr::unix(&path).unwrap();
        loop {
            let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            if client.connect(&address).is_err() {
                break;
            }
            waiting.push(client);
        }
        let failure = setup().servers(&backends).try_start().unwrap_err();
        assert!(failure.stderr.contains("in use"), "{failure:?}");
        pen.signal(Signal::SIGCONT);
        assert_eq!(Client::to_path(&path).line(), "A");
        pen.terminate();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }
}

#[test]
fn servers_may_be_unix_sockets() {
    let dir = directory();
    let path = dir.path().join("server");
    let unix = Backend::greeter_at_path(&path, "unix");
    let tcp = greeters(1);
    let pen =
        Setup::new().options("-r").servers(&tcp).server(format!("{}:80:5:6:7:8", path.display())).start();
    assert_eq!(pen.choices([2, 2, 2]), "unix A unix");
    let shown = pen.servers()[1].clone();
    // Its port is 1, since 0 means unused; the rest of the fields count.
    assert_eq!((shown.address.as_str(), shown.port), (path.to_str().unwrap(), 1));
    assert_eq!((shown.max, shown.hard, shown.weight, shown.prio), (5, 6, 7, 8));
    drop(unix);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(pen.choices([2, 2, 2]), "A A A");
    pen.says("blacklisting server 1");
}

#[test]
fn a_server_with_a_full_queue_is_waited_for_and_not_blamed() {
    let dir = directory();
    let path = dir.path().join("server");
    let server = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    server.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    server.listen(0).unwrap();
    let pen = Setup::new().options("-t 15").server(path.display()).start();
    let mut clients: Vec<Client> = (0..4).map(|_| pen.client()).collect();
    // Somebody has to wait: the queue holds one.
    wait_until("all to be on their way", || pen.servers()[0].conn == 4);
    for _ in 0..4 {
        let mut served: Client = server.accept().unwrap().0.into();
        served.send("served\n");
    }
    assert!(clients.iter_mut().all(|client| client.line() == "served"));
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
}

#[test]
fn everything_arrives_between_unix_sockets() {
    let dir = directory();
    let path = dir.path().join("server");
    let address = socket2::SockAddr::unix(&path).unwrap();
    let _server = Backend::on(&address, |mut client| {
        let all = client.rest();
        client.send(all);
    });
    let listen = dir.path().join("listen");
    for portable in ["0", "1"] {
        let pen = Setup::new()
            .environment("PEN_PORTABLE", portable)
            .listen(listen.display())
            .server(path.display())
            .start();
        let sent: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut client = Client::to_path(&listen);
        client.send(&sent);
        client.finish();
        assert!(client.rest() == sent);
        pen.becomes_idle();
    }
}
