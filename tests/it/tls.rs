//! TLS towards clients: handshakes, protocols, files that are wrong, ends of streams, bulk.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use openssl::sha::sha256;
use openssl::ssl::SslVersion;

use crate::support::client::End;
use crate::support::pen::run_pen;
use crate::support::process;
use crate::support::tls::{Kind, Pair, TlsClient, TlsEnd, client_hello};
use crate::support::{Backend, Client, Pen, Setup, wait_until};

/// A pen with TLS before one server; its certificate is for `localhost`.
fn pen(authority: &Pair, kind: Kind, backend: &Backend, change: impl FnOnce(Setup) -> Setup) -> Pen {
    let setup = Setup::new();
    authority.issue_as("localhost", kind, (-1, 30)).write(setup.path(), "pen");
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let setup = setup.option("-E", cert).option("-K", key).servers([backend]);
    change(setup).start()
}

fn same(setup: Setup) -> Setup {
    setup
}

#[test]
fn both_versions_with_both_kinds_of_key() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    for kind in [Kind::Ec, Kind::Rsa] {
        let pen = pen(&authority, kind, &backend, same);
        for (version, shown) in [(SslVersion::TLS1_2, "TLSv1.2"), (SslVersion::TLS1_3, "TLSv1.3")] {
            let mut tls = TlsClient::new(&authority).name("localhost").version(version).connect(pen.address);
            assert_eq!((tls.line(), tls.version()), ("A".into(), shown));
            assert!(tls.cipher().contains("GCM"), "{}", tls.cipher());
            let expected = if kind == Kind::Ec { "ECDSA" } else { "RSA" };
            assert!(version == SslVersion::TLS1_3 || tls.cipher().contains(expected), "{}", tls.cipher());
        }
    }
}

#[test]
fn a_chain_is_sent_from_the_file_or_completed_from_the_authorities() {
    let root = Pair::root("root");
    let intermediate = root.intermediate("intermediate");
    let backend = Backend::greeter("A");
    let whole = pen(&intermediate, Kind::Ec, &backend, same);
    TlsClient::new(&root).name("localhost").connect(whole.address);

    let setup = Setup::new();
    let mut leaf = intermediate.issue("localhost");
    leaf.chain.clear();
    // The key may stand in the same file.
    let both = setup.write("both.pem", leaf.key_pem() + &leaf.cert_pem());
    let authorities = setup.write("ca.pem", intermediate.cert_pem() + &root.cert_pem());
    let pen = setup.option("-E", both).option("-G", authorities).servers([&backend]).start();
    TlsClient::new(&root).name("localhost").connect(pen.address);
}

#[test]
fn curl_and_s_client_are_served() {
    let authority = Pair::root("ca");
    let backend = Backend::http("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-H"));
    let ca = pen.write("ca.pem", authority.cert_pem());
    let port = pen.address.port();
    for version in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
        let curl = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "20",
                "--cacert",
                &ca,
                "--resolve",
                &format!("localhost:{port}:127.0.0.1"),
            ])
            .args(version.split(' '))
            .arg(format!("https://localhost:{port}/"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&curl.stdout), "A", "{curl:?}");
    }
    let seen = String::from_utf8(backend.received_by(0)).unwrap();
    assert!(
        seen.contains("X-Forwarded-Proto: https\r\n") && seen.contains("X-Forwarded-For: 127.0.0.1"),
        "{seen}"
    );
}

#[test]
fn a_plain_client_is_turned_down_and_others_go_on() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, same);
    let mut plain = pen.client();
    plain.send("GET / HTTP/1.0\r\n\r\n");
    plain.end();
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
    assert_eq!(backend.accepted(), 1, "no server is troubled by a client without a handshake");
}

#[test]
fn old_protocols_are_for_those_who_ask_for_them() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let client = |version| TlsClient::new(&authority).version(version).ciphers("ALL:@SECLEVEL=0");
    let modern = pen(&authority, Kind::Ec, &backend, same);
    assert!(client(SslVersion::TLS1_1).try_connect(modern.address).is_err());
    let old = pen(&authority, Kind::Ec, &backend, |s| {
        s.command("ssl_option allow_tlsv1").command("ssl_ciphers ALL:@SECLEVEL=0")
    });
    assert_eq!(client(SslVersion::TLS1).connect(old.address).version(), "TLSv1");
    // Without a list of ciphers too.
    let old = pen(&authority, Kind::Ec, &backend, |s| s.command("ssl_option allow_tlsv1"));
    for (version, shown) in
        [(SslVersion::TLS1, "TLSv1"), (SslVersion::TLS1_1, "TLSv1.1"), (SslVersion::TLS1_3, "TLSv1.3")]
    {
        assert_eq!(client(version).connect(old.address).version(), shown);
    }
    // With one that OpenSSL 3 does not use for them: told.
    let told = pen(&authority, Kind::Ec, &backend, |s| {
        s.command("ssl_option allow_tlsv1").command("ssl_ciphers ALL")
    });
    if openssl::version::number() >= 0x3000_0000 {
        told.says("ssl_option allow_tlsv1: has no effect: ");
    }
    let newest = pen(&authority, Kind::Ec, &backend, |s| s.command("ssl_option no_tlsv1.2"));
    assert!(client(SslVersion::TLS1_2).try_connect(newest.address).is_err());
    assert_eq!(client(SslVersion::TLS1_3).connect(newest.address).version(), "TLSv1.3");
}

#[test]
fn ciphers_are_those_of_the_list_in_its_order() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let list = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:TLS_CHACHA20_POLY1305_SHA256";
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.command(format!("ssl_ciphers {list}")));
    let client = |version| TlsClient::new(&authority).version(version);
    let offered = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
    let tls = client(SslVersion::TLS1_2).ciphers(offered).connect(pen.address);
    assert_eq!(tls.cipher(), "ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_eq!(client(SslVersion::TLS1_3).connect(pen.address).cipher(), "TLS_CHACHA20_POLY1305_SHA256");
    // Without forward secrecy only for those who ask for it.
    assert!(client(SslVersion::TLS1_2).ciphers("AES128-SHA").try_connect(pen.address).is_err());

    assert_eq!(pen.control("ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256"), "");
    let tls = client(SslVersion::TLS1_2).connect(pen.address);
    assert_eq!(tls.cipher(), "ECDHE-ECDSA-AES128-GCM-SHA256");
    let refused = pen.control("ssl_ciphers NOSUCH");
    assert!(refused.starts_with("error: ssl_ciphers: ") && refused.contains("'NOSUCH'"), "{refused}");
    assert_eq!(client(SslVersion::TLS1_2).connect(pen.address).cipher(), tls.cipher());
}

#[test]
fn wrong_files_are_one_clear_line_and_no_start() {
    let setup = Setup::new();
    let authority = Pair::root("ca");
    authority.issue("a").write(setup.path(), "a");
    authority.issue("b").write(setup.path(), "b");
    let locked = Pair::root("x")
        .key
        .private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret");
    setup.write("locked.key", locked.unwrap());
    setup.write("junk", "junk\n");
    setup.write("cut.crt", &authority.cert_pem()[..100]);
    let file = |name: &str| setup.file(name);
    let cases: [(&[&str], &str, &str); 9] = [
        (&["-E", "none.crt"], "none.crt", "No such file"),
        (&["-E", "junk"], "junk", "no certificate"),
        (&["-E", "cut.crt"], "cut.crt", "certificate"),
        (&["-E", "a.crt"], "a.crt", "no private key"),
        (&["-E", "a.crt", "-K", "none.key"], "none.key", "No such file"),
        (&["-E", "a.crt", "-K", "b.key"], "b.key", "a.crt"),
        (&["-E", "a.crt", "-K", "locked.key"], "locked.key", "passphrase"),
        (&["-E", "a.crt", "-K", "a.key", "-R", "-G", "none.pem"], "none.pem", "No such file"),
        (&["-E", "a.crt", "-K", "a.key", "-R"], "-R", "-G"),
    ];
    for (args, name, reason) in cases {
        for check in [false, true] {
            let args: Vec<String> =
                args.iter().map(|a| if a.len() > 2 { file(a) } else { (*a).into() }).collect();
            let more = if check { vec!["--check"] } else { vec!["-f"] };
            let ran = run_pen(
                more.iter()
                    .map(|s| (*s).to_owned())
                    .chain(args.clone())
                    .chain(["127.0.0.1:0".into(), "127.0.0.1:1".into()]),
            );
            let stderr = String::from_utf8_lossy(&ran.stderr);
            let lines: Vec<&str> = stderr.lines().collect();
            assert!(!ran.status.success(), "{args:?}: {stderr}");
            assert!(
                lines.len() == 1 && lines[0].contains(name) && lines[0].contains(reason),
                "{args:?}: {stderr}"
            );
        }
    }
}

#[test]
fn keys_and_certificates_are_told_by_their_blocks() {
    let setup = Setup::new();
    let authority = Pair::root("ca");
    let pair = authority.issue("localhost");
    // Words around the blocks mean nothing.
    let key = setup.write("a.key", format!("not ENCRYPTED, see PROC-TYPE\n{}", pair.key_pem()));
    setup.write("plain.pem", pair.cert_pem());
    let trusted = setup.file("trusted.crt");
    let made = Command::new("openssl")
        .args([
            "x509",
            "-trustout",
            "-addtrust",
            "serverAuth",
            "-in",
            &setup.file("plain.pem"),
            "-out",
            &trusted,
        ])
        .status()
        .unwrap();
    assert!(made.success() && fs::read_to_string(&trusted).unwrap().contains("BEGIN TRUSTED CERTIFICATE"));
    let backend = Backend::greeter("A");
    let pen = setup.option("-E", trusted).option("-K", key).servers([&backend]).start();
    assert_eq!(TlsClient::new(&authority).name("localhost").connect(pen.address).line(), "A");

    let setup = Setup::new();
    let rsa = Pair::root("x").issue_as("x", Kind::Rsa, (-1, 30));
    let locked =
        rsa.key.rsa().unwrap().private_key_to_pem_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret");
    let (cert, key) = (setup.write("x.crt", rsa.cert_pem()), setup.write("x.key", locked.unwrap()));
    let ran = run_pen(["--check", "-E", &cert, "-K", &key, "127.0.0.1:0", "127.0.0.1:1"]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && said.contains("x.key: the private key has a passphrase"), "{said}");
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let setup = Setup::new();
    Pair::root("ca").issue_as("localhost", Kind::Ec, (-20, -10)).write(setup.path(), "old");
    let (cert, key) = (setup.file("old.crt"), setup.file("old.key"));
    let backend = Backend::greeter("A");
    let pen = setup.option("-E", cert).option("-K", key).servers([&backend]).start();
    pen.says("old.crt: the certificate expired on ");
    assert_eq!(TlsClient::new(&Pair::root("x")).trusting().connect(pen.address).line(), "A");
}

#[test]
fn what_has_no_effect_is_said() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-Z -L ssl3").command("ssl_option no_sslv2"));
    pen.says("ssl_protocol (-L): has no effect");
    pen.says("ssl_option no_sslv2: has no effect");
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
}

#[test]
fn the_server_s_end_is_close_notify_and_then_fin() {
    let authority = Pair::root("ca");
    let backend = Backend::new(|mut client| client.send("bye"));
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        assert_eq!(tls.text(), "bye");
        // Beneath TLS there is nothing left but the end.
        assert_eq!(tls.0.get_mut().read(&mut [0; 16]).unwrap(), 0);
    }
}

#[test]
fn the_client_s_close_notify_is_a_half_close() {
    let authority = Pair::root("ca");
    let backend = Backend::recorder("got it all");
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for (n, version) in [SslVersion::TLS1_2, SslVersion::TLS1_3].into_iter().enumerate() {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        tls.send("question");
        tls.finish();
        assert_eq!(backend.received_by(n), b"question");
        assert_eq!(tls.text(), "got it all");
    }
}

#[test]
fn a_client_may_go_on_after_the_server_s_end() {
    let authority = Pair::root("ca");
    let (rest, after) = std::sync::mpsc::channel();
    let rest = std::sync::Mutex::new(rest);
    let backend = Backend::new(move |mut client| {
        client.send("that is all");
        client.finish();
        rest.lock().unwrap().send(client.text()).unwrap();
    });
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        assert_eq!(tls.text(), "that is all");
        tls.send("not from me");
        tls.finish();
        assert_eq!(after.recv_timeout(Duration::from_secs(20)).unwrap(), "not from me");
    }
}

#[test]
fn a_fin_without_close_notify_ends_the_stream_after_its_data() {
    let authority = Pair::root("ca");
    let backend = Backend::recorder("got it all");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-d"));
    let lines: String = (0..50).map(|n| format!("line {n}\n")).collect();
    for (n, version) in [SslVersion::TLS1_2, SslVersion::TLS1_3].into_iter().enumerate() {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        lines.lines().for_each(|line| tls.send(format!("{line}\n")));
        tls.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(String::from_utf8(backend.received_by(n)).unwrap(), lines);
        // What the server says then still comes, and its end.
        assert_eq!(tls.text(), "got it all");
    }
    pen.says(": ended with FIN and no close_notify");
}

#[test]
fn a_stream_cut_off_within_a_record_is_reset_and_not_ended() {
    let authority = Pair::root("ca");
    let (ends, end) = std::sync::mpsc::channel();
    let ends = std::sync::Mutex::new(ends);
    let backend = Backend::new(move |mut client| {
        client.bytes(4);
        ends.lock().unwrap().send(client.end()).unwrap();
    });
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        tls.send("half");
        // The head of a record of 32 bytes, and some of them.
        tls.0.get_mut().write_all(b"\x17\x03\x03\x00\x20abc").unwrap();
        tls.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(end.recv_timeout(Duration::from_secs(20)).unwrap(), End::Reset);
    }
}

#[test]
fn a_server_that_breaks_off_is_no_clean_end_for_the_client() {
    let authority = Pair::root("ca");
    let backend = Backend::new(|mut client| {
        client.bytes(1);
        client.reset();
    });
    let pen = pen(&authority, Kind::Ec, &backend, same);
    let mut tls = TlsClient::new(&authority).connect(pen.address);
    tls.send("x");
    assert_eq!(tls.rest().1, TlsEnd::Cut);
}

#[test]
fn renegotiation_is_refused() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.command("ssl_client_renegotiation_interval 1"));
    pen.says("ssl_client_renegotiation_interval: has no effect");
    let mut s_client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &pen.address.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // A line of a single R asks for it.
    s_client.stdin.as_mut().unwrap().write_all(b"R\n").unwrap();
    let output = s_client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no renegotiation"), "{said}");
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_hundred_megabytes_each_way_arrive_as_they_were() {
    const LENGTH: usize = 100_000_000;
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let pen = pen(&authority, Kind::Ec, &backend, same);
        let body = noise(LENGTH);
        let sum = sha256(&body);
        // An echo: both directions at once, over two pens, one of which brings what the other takes.
        let mut up = TlsClient::new(&authority).version(version).connect(pen.address);
        up.0.get_ref().set_nonblocking(true).unwrap();
        let (mut sent, mut got) = (0, Vec::with_capacity(LENGTH));
        let mut buffer = vec![0; 65536];
        let deadline = Instant::now() + Duration::from_secs(120);
        while got.len() < LENGTH {
            let mut moved = false;
            if sent < LENGTH {
                match up.0.ssl_write(&body[sent..LENGTH.min(sent + 16384)]) {
                    Ok(n) => {
                        sent += n;
                        moved = true;
                    }
                    Err(e) if is_wait(&e) => {}
                    Err(e) => panic!("after {sent} bytes sent: {e}"),
                }
            }
            match up.0.ssl_read(&mut buffer) {
                Ok(n) => {
                    got.extend_from_slice(&buffer[..n]);
                    moved = true;
                }
                Err(e) if is_wait(&e) => {}
                Err(e) => panic!("after {} bytes: {e}", got.len()),
            }
            assert!(Instant::now() < deadline, "{sent} bytes sent, {} received", got.len());
            if !moved {
                thread::yield_now();
            }
        }
        assert_eq!(sha256(&got), sum);
    }
}

fn is_wait(error: &openssl::ssl::Error) -> bool {
    use openssl::ssl::ErrorCode;
    [ErrorCode::WANT_READ, ErrorCode::WANT_WRITE].contains(&error.code())
}

#[test]
fn a_thousand_handshakes_at_once() {
    const CLIENTS: usize = 1000;
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-x 1200 -q 1200 -t 60"));
    // All are connected before the first one says hello.
    let clients: Vec<Client> = (0..CLIENTS).map(|_| pen.client()).collect();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let authority = authority.clone();
            thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || TlsClient::new(&authority).over(client).map(|mut tls| tls.line()))
                .unwrap()
        })
        .collect();
    let served = threads.into_iter().map(|t| t.join().unwrap()).filter(|r| r.as_deref() == Ok("A")).count();
    assert_eq!(served, CLIENTS);
}

#[test]
fn handshakes_let_other_connections_of_the_worker_go_first() {
    const CLIENTS: usize = 300;
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let pen = pen(&authority, Kind::Rsa, &backend, |s| s.command("workers 1").options("-x 400 -q 400 -t 60"));
    let mut other = TlsClient::new(&authority).connect(pen.address);
    other.send("x");
    other.bytes(1);
    let hello = client_hello();
    let mut attempt = || {
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| pen.client()).collect();
        let begin = Instant::now();
        clients.iter_mut().for_each(|c| c.send(&hello));
        let all = thread::spawn(move || {
            clients.iter_mut().for_each(|c| _ = c.bytes(1));
            begin.elapsed()
        });
        let (mut answered, mut longest) = (0, Duration::ZERO);
        while !all.is_finished() {
            let sent = Instant::now();
            other.send("x");
            other.bytes(1);
            longest = longest.max(sent.elapsed());
            answered += 1;
        }
        // Were they made one after the other, a message would wait for a large part of them.
        assert!(answered > CLIENTS / 10, "{answered} messages during {CLIENTS} handshakes");
        longest < all.join().unwrap() / 5
    };
    // The machine may halt once for as long, but not each time.
    assert!((0..3).any(|_| attempt()), "a message waits for a large part of {CLIENTS} handshakes");
}

#[test]
fn stalled_handshakes_hold_nobody_up_and_end_in_time() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.command("ssl_handshake_timeout 1").options("-x 60"));
    let mut stalled: Vec<Client> = (0..50).map(|_| pen.client()).collect();
    // Some stop in the middle of their first record.
    stalled.iter_mut().step_by(2).for_each(|c| c.send([0x16, 3, 1, 2, 0, 1, 0]));
    let begin = Instant::now();
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
    assert!(begin.elapsed() < Duration::from_secs(1), "a good handshake waited {:?}", begin.elapsed());
    for client in &mut stalled {
        client.end();
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    // Their places are free again.
    let served: Vec<_> = (0..55).map(|_| TlsClient::new(&authority).connect(pen.address)).collect();
    assert_eq!(served.len(), 55);
}

#[test]
fn the_handshake_timeout_is_the_connect_timeout_unless_set() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-t 1"));
    let begin = Instant::now();
    pen.client().end();
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_connection_shows_protocol_cipher_and_name() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| {
        let stats = s.file("stats.html");
        s.option("-w", stats)
    });
    let mut tls =
        TlsClient::new(&authority).name("localhost").version(SslVersion::TLS1_3).connect(pen.address);
    tls.line();
    let shown = pen.control("connection 0");
    assert!(shown.contains("tls = TLSv1.3, cipher = TLS_AES_128_GCM_SHA256\nsni = localhost\n"), "{shown}");
    let page = pen.control("status");
    assert!(page.contains("TLSv1.3") && page.contains("localhost"), "{page}");
    assert_eq!(page, fs::read_to_string(pen.file("stats.html")).unwrap());
    // A name that is none is not shown.
    drop(tls);
    pen.becomes_idle();
}

#[test]
fn a_denied_client_gets_no_handshake() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.command("acl 0 deny 127.0.0.9"));
    assert!(TlsClient::new(&authority).over(pen.client_from(9)).is_err());
    assert_eq!(TlsClient::new(&authority).over(pen.client_from(8)).unwrap().line(), "A");
}

#[test]
fn unix_clients_are_served_without_tls() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let (cert, key, path) = (setup.file("pen.crt"), setup.file("pen.key"), setup.file("socket"));
    let pen = setup.option("-E", cert).option("-K", key).listen(&path).servers([&backend]).start();
    pen.says("clients of a Unix socket are served without TLS");
    assert_eq!(Client::to_path(path.as_ref()).line(), "A");
}

#[test]
fn garbage_in_place_of_records_is_the_end_of_one_connection() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        tls.send("x");
        assert_eq!(tls.bytes(1), b"x");
        tls.0.get_mut().write_all(&noise(300)).unwrap();
        assert_eq!(tls.rest().1, TlsEnd::Cut);
    }
    wait_until("no connections", || pen.servers().iter().all(|s| s.conn == 0));
    assert_eq!(TlsClient::new(&authority).connect(pen.address).version(), "TLSv1.3");
}

#[test]
fn a_half_made_handshake_holds_little_memory() {
    const CLIENTS: usize = 500;
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let hello = client_hello();
    // What OpenSSL 3 holds until the handshake is complete is 42 KiB.
    for (what, most) in [("nothing was sent", 8), ("the whole first message was sent", 48)] {
        let pen = pen(&authority, Kind::Ec, &backend, |setup| {
            setup.options("-x 600").command("ssl_handshake_timeout 300")
        });
        let open = |count: usize| -> Vec<Client> {
            let client = |_| {
                let mut client = pen.client();
                if most > 8 {
                    client.send(&hello);
                    client.bytes(1);
                }
                client
            };
            let clients = (0..count).map(client).collect();
            // Accepted, all of them.
            let descriptors = || fs::read_dir(format!("/proc/{}/fd", pen.pid())).unwrap().count();
            wait_until("the clients to be accepted", || descriptors() > count);
            clients
        };
        let first = open(50);
        let before = process::resident(pen.pid());
        let clients = open(CLIENTS);
        let held = (process::resident(pen.pid()) - before) as usize / CLIENTS;
        assert!(held <= most, "{what}: {held} KiB");
        drop((first, clients));
    }
}
