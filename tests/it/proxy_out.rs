//! PROXY headers that pen sends to servers.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::proxy::{v1, v2, v2_of, v2_with, values};
use crate::support::tls::{Pair, TlsClient};
use crate::support::udp::{Asker, Server};
use crate::support::{Backend, Client, Pen, Setup, wait_until};

/// A pen with one server, which gets that header.
fn before(server: &Backend, version: &str) -> Setup {
    let (ip, port) = (server.address().ip(), server.port());
    Setup::new().command(format!("server 0 address {ip} port {port} proxy {version}"))
}

/// What the server of `pen` has received when a client of 127.0.0.2 has sent that and ended; and the client's header.
fn received(pen: &Pen, server: &Backend, first: &[u8]) -> (Vec<u8>, SocketAddr) {
    let before = server.accepted();
    let mut client = pen.client_from(2);
    let source: SocketAddr = ([127, 0, 0, 2], client.local_port()).into();
    client.send(first);
    client.finish();
    assert_eq!(client.text(), "done");
    (server.received_by(before), source)
}

#[test]
fn a_server_is_told_of_the_client_before_its_first_byte() {
    let recorder = Backend::recorder("done");
    for environment in ["", "1"] {
        for (version, header) in [("v1", v1 as fn(&str, &str) -> Vec<u8>), ("v2", v2)] {
            let mut setup = before(&recorder, version);
            if !environment.is_empty() {
                setup = setup.environment("PEN_PORTABLE", environment);
            }
            let pen = setup.start();
            let bulk: Vec<u8> = (0..500_000_u32).map(|n| (n >> 5) as u8).collect();
            for first in [&b"hello"[..], b"", &bulk] {
                let (got, source) = received(&pen, &recorder, first);
                let expected = [&header(&source.to_string(), &pen.address.to_string())[..], first].concat();
                assert!(got == expected, "{version}: {}", got[..got.len().min(150)].escape_ascii());
            }
            // They are no bytes of the client's.
            wait_until("the bytes", || pen.control("recent").contains(" rx 500005\n"));
            // The key takes effect with the next connection.
            pen.control("server 0 proxy off");
            assert_eq!(received(&pen, &recorder, b"hello").0, b"hello");
            assert!(pen.control("server 0 proxy v3").contains("off, v1 or v2"));
        }
    }
}

/// A server that tells what it has read in one go before it has sent anything.
fn first_read() -> Backend {
    Backend::new(|mut client| {
        let mut buffer = [0; 4096];
        let count = client.0.read(&mut buffer).unwrap();
        client.send([&buffer[..count], b"\n.\n"].concat());
        client.end();
    })
}

#[test]
fn a_header_waits_for_no_byte_of_the_client() {
    // As a mail server: it must know its client before it greets it.
    let greeter = first_read();
    let pen = before(&greeter, "v1").start();
    let mut client = pen.client_from(2);
    assert!(client.line().starts_with("PROXY TCP4 127.0.0.2 127.0.0.1 "));
    // Nobody has sent anything for the client, which makes room when pen is full.
    let recorder = Backend::recorder("");
    let pen = before(&recorder, "v2").options("-x 1").start();
    let mut silent = pen.client_from(2);
    wait_until("it to be connected", || pen.control("connection 0").contains("state = 2"));
    let _next = pen.client_from(3);
    assert_eq!(silent.rest(), b"");
}

/// How many segments with data the connections to a port have received, as the system counts them.
pub(super) fn segments(port: u16) -> Vec<u32> {
    let output = Command::new("ss").args(["-tinH", "sport", "=", &format!(":{port}")]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let counts = text.split("data_segs_in:").skip(1);
    counts.map(|rest| rest.split_whitespace().next().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_header_and_the_first_bytes_are_one_segment() {
    let recorder = Backend::recorder("done");
    let (root, web) = (Pair::root("authority"), Setup::new());
    root.issue("localhost").write(web.path(), "pen");
    let options = format!("-E {} -K {}", web.file("pen.crt"), web.file("pen.key"));
    // Bytes that are looked at for the log and for headers too, and those that come by TLS.
    let log = format!("-l {}", web.file("log"));
    for (options, request) in [("", "hello"), (&log, "hello"), ("-H", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")] {
        for version in ["v1", "v2"] {
            let pen = before(&recorder, version).options(options).start();
            // Pen accepts and connects when it has the client's bytes, as it has from a client that is not on its machine.
            let (port, number) = (recorder.port(), recorder.accepted());
            pen.signal(nix::sys::signal::Signal::SIGSTOP);
            let mut client = pen.client_from(2);
            client.send(request);
            pen.signal(nix::sys::signal::Signal::SIGCONT);
            wait_until("the request", || segments(port) == [1]);
            client.finish();
            assert_eq!(client.text(), "done");
            let got = recorder.received_by(number);
            assert!(got.windows(4).any(|bytes| bytes == &request.as_bytes()[..4]), "{}", got.escape_ascii());
            wait_until("the end", || segments(port).is_empty());
        }
    }
    let pen = before(&recorder, "v2").options(options).start();
    let client = pen.client_from(2);
    client.0.set_tcp_cork(true).unwrap();
    let twin = client.twin();
    let mut tls = TlsClient::new(&root).over(client).unwrap();
    twin.0.set_tcp_cork(true).unwrap();
    tls.send("hello");
    twin.0.set_tcp_cork(false).unwrap();
    wait_until("the bytes", || segments(recorder.port()).iter().sum::<u32>() > 0);
    tls.finish();
    assert_eq!(tls.text(), "done");
}

#[test]
fn the_header_and_the_first_message_of_tls_are_one_segment() {
    let (chunks, chunk) = channel();
    let chunks = Mutex::new(chunks);
    let server = Backend::new(move |mut client| {
        let mut buffer = [0; 4096];
        let count = client.0.read(&mut buffer).unwrap();
        chunks.lock().unwrap().send(buffer[..count].to_vec()).unwrap();
        client.end();
    });
    for (version, header) in [("v1", v1 as fn(&str, &str) -> Vec<u8>), ("v2", v2)] {
        let pen = before(&server, version).command("server 0 tls on tls_verify off").start();
        let client = pen.client_from(2);
        let source = format!("127.0.0.2:{}", client.local_port());
        let chunk = chunk.recv_timeout(Duration::from_secs(20)).unwrap();
        let expected = [&header(&source, &pen.address.to_string())[..], b"\x16\x03\x01"].concat();
        assert!(chunk.starts_with(&expected), "{}", chunk.escape_ascii());
        assert_eq!(segments(server.port()), [1]);
        drop((client, pen));
        wait_until("the end", || segments(server.port()).is_empty());
    }
}

#[test]
fn version_2_tells_of_the_tls_that_pen_has_ended() {
    let recorder = Backend::recorder("done");
    let authority = Pair::root("authority");
    let setup = before(&recorder, "v2");
    authority.issue("localhost").write(setup.path(), "pen");
    std::fs::write(setup.path().join("ca.crt"), authority.cert_pem()).unwrap();
    let [cert, key, ca] = ["pen.crt", "pen.key", "ca.crt"].map(|name| setup.file(name));
    let plain = setup.options(format!("-E {cert} -K {key}")).command("ssl_alpn h2").start();
    let ask = |pen: &Pen, client: TlsClient| {
        let number = recorder.accepted();
        let mut tls = client.connect(pen.address);
        let (version, cipher) = (tls.version(), tls.cipher().to_owned());
        tls.send("hello");
        tls.finish();
        assert_eq!(tls.text(), "done");
        let got = recorder.received_by(number);
        assert!(got.ends_with(b"hello"), "{}", got.escape_ascii());
        (values(&got[28..got.len() - 5]), version, cipher)
    };
    let (found, version, cipher) =
        ask(&plain, TlsClient::new(&authority).name("localhost").protocols(&["h2"]));
    assert_eq!(found[..2], [(1, b"h2".to_vec()), (2, b"localhost".to_vec())]);
    let (kind, ssl) = &found[2];
    // By TLS, and no certificate that was found valid.
    assert_eq!((*kind, &ssl[..5]), (0x20, &[1, 0, 0, 0, 1][..]));
    let (version, cipher) = (version.as_bytes().to_vec(), cipher.into_bytes());
    assert_eq!(values(&ssl[5..]), [(0x21, version.clone()), (0x23, cipher.clone())]);
    let me = authority.issue("me.example.com");
    let pen = before(&recorder, "v2").options(format!("-E {cert} -K {key} -G {ca} -R")).start();
    let (found, ..) = ask(&pen, TlsClient::new(&authority).identity(&me));
    let ssl = &found.last().unwrap().1;
    assert_eq!(ssl[..5], [7, 0, 0, 0, 0]);
    let name = (0x22, b"me.example.com".to_vec());
    assert_eq!(values(&ssl[5..]), [(0x21, version), name, (0x23, cipher)]);
}

#[test]
fn the_header_goes_before_tls_with_the_server() {
    let authority = Pair::root("authority");
    let inner = Backend::recorder("done");
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    std::fs::write(setup.path().join("ca.crt"), authority.cert_pem()).unwrap();
    let ca = setup.file("ca.crt");
    let options = format!("-E {} -K {}", setup.file("pen.crt"), setup.file("pen.key"));
    // A pen is the server, which reads a header before TLS.
    let server = setup.options(options).command("proxy_protocol require").server(inner.address()).start();
    for version in ["v1", "v2"] {
        let pen = Setup::new()
            .command(format!("server_cacert_file {ca}"))
            .command(format!("server 0 address 127.0.0.1 port {} proxy {version}", server.address.port()))
            .command("server 0 tls on tls_name localhost")
            .start();
        let (got, _) = received(&pen, &inner, b"hello");
        assert_eq!(got, b"hello");
    }
    assert!(server.control("recent").contains("127.0.0.2 connects 2 "));
}

#[test]
fn a_server_on_a_path_is_told_too() {
    let directory = crate::support::directory::directory();
    let path = directory.path().join("socket");
    let server = Backend::on(&socket2::SockAddr::unix(&path).unwrap(), |mut client| {
        let line = client.line();
        client.send(format!("{line}\n"));
        client.end();
    });
    let pen = Setup::new().command(format!("server 0 address {} proxy v1", path.display())).start();
    let mut client = pen.client_from(2);
    let expected = v1(&format!("127.0.0.2:{}", client.local_port()), &pen.address.to_string());
    assert_eq!(client.line() + "\n", String::from_utf8(expected).unwrap());
    drop(server);
    // Of a client of a Unix socket there is no address to tell.
    let recorder = Backend::recorder("done");
    for (version, header) in [("v1", b"PROXY UNKNOWN\r\n".to_vec()), ("v2", v2_of(1, 0, &[]))] {
        let setup = before(&recorder, version);
        let listen = setup.file("listen");
        let _pen = setup.listen(&listen).start();
        let number = recorder.accepted();
        let mut client = Client::to_path(listen.as_ref());
        client.send("hello");
        client.finish();
        assert_eq!(client.text(), "done");
        assert_eq!(recorder.received_by(number), [&header[..], b"hello"].concat());
    }
}

#[test]
fn what_the_proxy_in_front_has_said_is_passed_on() {
    let recorder = Backend::recorder("done");
    let (from, to) = ("[2001:db8::5]:4711", "[2001:db8::1]:443");
    let cloud = [0xea, 0, 3, 1, b'a', b'b'];
    for (version, header) in [("v1", v1(from, to)), ("v2", v2_with(from, to, &cloud))] {
        let pen = before(&recorder, version).command("proxy_protocol require").start();
        let number = recorder.accepted();
        let mut client = pen.client_from(2);
        client.send([&v2_with(from, to, &cloud)[..], b"hello"].concat());
        client.finish();
        assert_eq!(client.text(), "done");
        assert_eq!(recorder.received_by(number), [&header[..], b"hello"].concat());
    }
}

#[test]
fn each_datagram_has_the_header_of_version_2() {
    for environment in ["", "1"] {
        let server = Server::echo();
        let port = server.address.port();
        let mut setup = Setup::new().options("-U").listen("0.0.0.0:%");
        if !environment.is_empty() {
            setup = setup.environment("PEN_PORTABLE", environment).listen("127.0.0.3:%");
        }
        let pen = setup.command(format!("server 0 address 127.0.0.1 port {port} proxy v2")).start();
        // The address that the client sent to is told, also where pen listens on all.
        let to: SocketAddr = ([127, 0, 0, 3], pen.address.port()).into();
        let asker = Asker::new(2, to);
        let from: SocketAddr = asker.0.local_addr().unwrap();
        let mut header = v2(&from.to_string(), &to.to_string());
        header[13] = 0x12;
        for text in [&b"one"[..], b"", b"three"] {
            assert_eq!(asker.ask(text), [&header[..], text].concat());
        }
        // An answer may be there before it is counted.
        let counted = "127.0.0.2 connects 1 sx 92 rx 8\n";
        wait_until("the datagrams to be counted", || pen.control("recent") == counted);
        assert!(pen.control("server 0 proxy v1").contains("-U (udp) excludes server 0 proxy v1"));
        pen.control("server 0 proxy off");
        assert_eq!(Asker::new(4, to).ask(b"plain"), b"plain");
    }
}

#[test]
fn checks_begin_as_the_server_expects() {
    const QUICK: &str = "every 0.05 timeout 0.5";
    let (text, binary, plain) = (Backend::recorder(""), Backend::recorder(""), Backend::recorder(""));
    let datagrams = Server::echo();
    let port = |server: &Backend| server.port();
    let _pen = Setup::new()
        .command(format!("check own type send send x {QUICK}"))
        .command("check_default own")
        .command(format!("check off type send send x proxy off {QUICK}"))
        .command(format!("server 0 address 127.0.0.1 port {} proxy v1", port(&text)))
        .command(format!("server 1 address 127.0.0.1 port {} proxy v2", port(&binary)))
        .command(format!("server 2 address 127.0.0.1 port {} proxy v2 check off", port(&plain)))
        .start();
    wait_until("a check of each", || [&text, &binary, &plain].iter().all(|server| server.accepted() > 0));
    assert_eq!(text.received_by(0), b"PROXY UNKNOWN\r\nx");
    assert_eq!(binary.received_by(0), [&v2_of(0, 0, &[])[..], b"x"].concat());
    assert_eq!(plain.received_by(0), b"x");
    let _pen = Setup::new()
        .options("-U")
        .command(format!("check own type udp send x {QUICK}"))
        .command(format!("server 0 address 127.0.0.1 port {} proxy v2 check own", datagrams.address.port()))
        .start();
    wait_until("a check", || !datagrams.received().is_empty());
    assert_eq!(datagrams.received()[0].1, [&v2_of(0, 0, &[])[..], b"x"].concat());
}
