//! The protocol that clients negotiate (ALPN), and that servers are offered then.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::pen::run_pen;
use crate::support::tls::{Kind, Pair, Tls, TlsClient};
use crate::support::tls_server::TlsServer;
use crate::support::{Backend, Setup};

use super::tls_servers::at;

/// What a client that offers these protocols has negotiated.
fn negotiated(authority: &Pair, offered: &[&str], address: SocketAddr) -> Result<Option<String>, String> {
    client(authority, offered, address).map(|tls| protocol(&tls))
}

fn client(authority: &Pair, offered: &[&str], address: SocketAddr) -> Result<Tls, String> {
    TlsClient::new(authority).name("localhost").protocols(offered).try_connect(address)
}

fn protocol(tls: &Tls) -> Option<String> {
    let name = tls.0.ssl().selected_alpn_protocol();
    name.map(|name| String::from_utf8(name.to_vec()).unwrap())
}

#[test]
fn http_mode_negotiates_http_1_1_and_turns_nobody_away() {
    let authority = Pair::root("ca");
    let backend = Backend::http("A");
    let pen = super::tls::pen(&authority, Kind::Ec, &backend, |s| s.options("-H"));
    let got = |offered: &[&str]| negotiated(&authority, offered, pen.address).unwrap();
    assert_eq!(got(&["h2", "http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!((got(&["h2"]), got(&[])), (None, None));
    assert_eq!(pen.control("no http"), "");
    assert_eq!(got(&["h2", "http/1.1"]), None);
}

#[test]
fn a_list_is_negotiated_in_its_order_and_others_are_refused() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let names = crate::support::directory::directory();
    authority.issue("www.example.com").write(names.path(), "www.example.com");
    let pen = super::tls::pen(&authority, Kind::Ec, &backend, |setup| {
        setup.command("ssl_alpn h2,http/1.1").command(format!("ssl_sni_path {}", names.path().display()))
    });
    let got = |offered: &[&str]| negotiated(&authority, offered, pen.address);
    assert_eq!(got(&["http/1.1", "h2"]).unwrap().as_deref(), Some("h2"));
    assert_eq!(got(&["http/1.1"]).unwrap().as_deref(), Some("http/1.1"));
    assert_eq!(got(&[]).unwrap(), None);
    assert!(got(&["postgresql"]).unwrap_err().contains("no application protocol"));
    let mut tls = TlsClient::new(&authority).name("www.example.com").protocols(&["h2"]).connect(pen.address);
    assert_eq!(tls.0.ssl().selected_alpn_protocol(), Some(&b"h2"[..]));
    // The client's side of the handshake ends before that of pen.
    tls.send("x");
    assert_eq!(tls.bytes(1), b"x");
    let shown: String = (0..8).map(|n| pen.control(&format!("connection {n}"))).collect();
    assert!(shown.contains("alpn = h2\n"), "{shown}");
    drop(tls);
    assert_eq!(pen.control("ssl_alpn postgresql"), "");
    assert_eq!(got(&["postgresql", "h2"]).unwrap().as_deref(), Some("postgresql"));
    assert_eq!(pen.control("no ssl_alpn"), "");
    assert_eq!(got(&["postgresql"]).unwrap(), None);
}

/// What a server was offered, and what was agreed on.
type Negotiation = (Vec<u8>, Option<Vec<u8>>);

/// A server that reports each negotiation.
fn server(authority: &Pair) -> (Backend, Receiver<Negotiation>) {
    let (offers, offer) = channel();
    let (offers, offer) = (Mutex::new(offers), Mutex::new(offer));
    let (tells, told) = channel();
    let tells = Mutex::new(tells);
    let backend = TlsServer::new(&authority.issue("app"))
        .selects(move |offered| {
            offers.lock().unwrap().send(offered.to_vec()).unwrap();
            Some(&offered[1..=usize::from(offered[0])])
        })
        .serve(move |mut tls| {
            let agreed = tls.0.ssl().selected_alpn_protocol().map(<[u8]>::to_vec);
            tells
                .lock()
                .unwrap()
                .send((offer.lock().unwrap().try_recv().unwrap_or_default(), agreed))
                .unwrap();
            tls.rest();
            tls.finish();
        });
    (backend, told)
}

#[test]
fn a_server_is_offered_what_the_client_has_negotiated() {
    let authority = Pair::root("ca");
    let (backend, told) = server(&authority);
    let next = || told.recv_timeout(Duration::from_secs(20)).unwrap();
    let line = at(0, backend.address(), "tls on tls_name app");
    let start = |change: fn(Setup) -> Setup, secure: bool| {
        super::tls_servers::pen(&authority, &[&line], |setup| {
            authority.issue("localhost").write(setup.path(), "pen");
            let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
            change(if secure { setup.option("-E", cert).option("-K", key) } else { setup })
        })
    };
    let agreed = |name: &[u8]| ([&[u8::try_from(name.len()).unwrap()], name].concat(), Some(name.to_vec()));
    let pen = start(|s| s.command("ssl_alpn postgresql,h2"), true);
    let tls = client(&authority, &["h2", "http/1.1"], pen.address).unwrap();
    assert_eq!((protocol(&tls).as_deref(), next()), (Some("h2"), agreed(b"h2")));
    let tls = client(&authority, &[], pen.address).unwrap();
    assert_eq!((protocol(&tls), next()), (None, (Vec::new(), None)));
    // In HTTP mode it is HTTP/1.1, whether the client has said so or not.
    let pen = start(|s| s.options("-H"), true);
    let tls = client(&authority, &["h2"], pen.address).unwrap();
    assert_eq!((protocol(&tls), next()), (None, agreed(b"http/1.1")));
    let pen = start(|s| s.options("-H"), false);
    let plain = pen.client();
    assert_eq!(next(), agreed(b"http/1.1"));
    drop(plain);
    let pen = start(|s| s, false);
    let client = pen.client();
    assert_eq!(next(), (Vec::new(), None));
    drop(client);
}

#[test]
fn a_list_that_cannot_be_is_refused() {
    for (lines, error) in [
        (&["ssl_alpn ,"][..], "ssl_alpn: expected names of protocols, got ','"),
        (
            &["http", "ssl_alpn h2"],
            "ssl_alpn: expected protocols that HTTP mode (-H) speaks, such as http/1.1, got 'h2'",
        ),
    ] {
        let mut args = vec!["--check"];
        lines.iter().for_each(|line| args.extend(["-O", line]));
        args.extend(["127.0.0.1:0", "127.0.0.1:1"]);
        let output = run_pen(args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(error), "{told}");
    }
}
