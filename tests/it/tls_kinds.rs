//! Two certificates for one name, of RSA and of ECDSA: each client gets what it can verify.

use std::net::SocketAddr;

use openssl::pkey::Id;
use openssl::ssl::SslVersion;

use crate::support::pen::run_pen;
use crate::support::tls::{Kind, Pair, TlsClient, ocsp_response};
use crate::support::{Backend, Setup};

/// The kind of key that a client of TLS 1.2 with these ciphers, or one of TLS 1.3 with these signature algorithms, gets.
fn kind(authority: &Pair, name: &str, version: SslVersion, only: Kind, address: SocketAddr) -> (Id, usize) {
    let client = TlsClient::new(authority).name(name).version(version);
    let client = match (version, only) {
        (SslVersion::TLS1_2, Kind::Ec) => client.ciphers("ECDHE-ECDSA-AES128-GCM-SHA256"),
        (SslVersion::TLS1_2, Kind::Rsa) => client.ciphers("ECDHE-RSA-AES128-GCM-SHA256"),
        (_, Kind::Ec) => client.signatures("ECDSA+SHA256"),
        (_, Kind::Rsa) => client.signatures("RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384"),
    };
    let tls = client.connect(address);
    let ssl = tls.0.ssl();
    let key = ssl.peer_certificate().unwrap().public_key().unwrap().id();
    (key, ssl.peer_cert_chain().unwrap().len())
}

fn each_gets_its_own(authority: &Pair, name: &str, address: SocketAddr, chains: [usize; 2]) {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        assert_eq!(kind(authority, name, version, Kind::Ec, address), (Id::EC, chains[0]));
        assert_eq!(kind(authority, name, version, Kind::Rsa, address), (Id::RSA, chains[1]));
    }
}

#[test]
fn each_client_gets_the_certificate_that_it_can_verify() {
    let root = Pair::root("ca");
    let below = root.intermediate("below");
    let backend = Backend::greeter("A");
    // Each has its own chain; the keys may come in any order, or in the file of the certificate.
    for keys in [["rsa.key", "ec.key"], ["ec.key", "rsa.key"]] {
        let setup = Setup::new();
        below.issue_as("localhost", Kind::Rsa, (-1, 30)).write(setup.path(), "rsa");
        root.issue_as("localhost", Kind::Ec, (-1, 30)).write(setup.path(), "ec");
        let [rsa, ec] = ["rsa.crt", "ec.crt"].map(|name| setup.file(name));
        let [first, second] = keys.map(|name| setup.file(name));
        let setup = setup.option("-E", rsa).option("-K", first).option("-E", ec).option("-K", second);
        let pen = setup.servers([&backend]).start();
        each_gets_its_own(&root, "localhost", pen.address, [1, 2]);
        // A reload takes new ones of both, or none.
        root.issue_as("localhost", Kind::Ec, (-1, 30)).write(pen.path(), "ec");
        root.issue_as("localhost", Kind::Rsa, (-1, 30)).write(pen.path(), "rsa");
        assert_eq!(pen.control("ssl_reload"), "");
        each_gets_its_own(&root, "localhost", pen.address, [1, 1]);
        let before = std::fs::read(pen.file("ec.key")).unwrap();
        std::fs::write(pen.file("ec.key"), root.issue("localhost").key_pem()).unwrap();
        let told = pen.control("ssl_reload");
        assert!(
            told.contains("ec.crt: the key of the certificate is in no file of ssl_keyfile (-K)"),
            "{told}"
        );
        each_gets_its_own(&root, "localhost", pen.address, [1, 1]);
        std::fs::write(pen.file("ec.key"), before).unwrap();
    }
}

#[test]
fn a_name_may_have_both_too() {
    let root = Pair::root("ca");
    let backend = Backend::greeter("A");
    let setup = Setup::new();
    root.issue("localhost").write(setup.path(), "pen");
    let names = setup.path().join("names");
    std::fs::create_dir(&names).unwrap();
    root.issue_as("www.example.com", Kind::Rsa, (-1, 30)).write(&names, "www.example.com");
    root.issue_as("www.example.com", Kind::Ec, (-1, 30)).write(&names, "www.example.com.ecdsa");
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let path = format!("ssl_sni_path {}", names.display());
    let checked = |cert: &str, key: &str| {
        let output = run_pen(["--check", "-E", cert, "-K", key, "-O", &path, "127.0.0.1:0", "127.0.0.1:1"]);
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(checked(&cert, &key), "");
    let pen = setup.option("-E", &cert).option("-K", &key).command(&path).servers([&backend]).start();
    each_gets_its_own(&root, "www.example.com", pen.address, [1, 1]);
    // A second certificate that is bad is found by the check.
    std::fs::write(names.join("www.example.com.ecdsa.key"), root.issue("x").key_pem()).unwrap();
    assert!(
        checked(&cert, &key).contains("www.example.com.ecdsa.key: is not the key of the certificate in ")
    );
}

#[test]
fn of_two_of_a_kind_the_last_one_counts_which_is_told() {
    let root = Pair::root("ca");
    let backend = Backend::greeter("A");
    let setup = Setup::new();
    root.issue("first").write(setup.path(), "first");
    root.issue("second").write(setup.path(), "second");
    let mut options = Vec::new();
    for name in ["first", "second"] {
        options.push(("-E", setup.file(&format!("{name}.crt"))));
        options.push(("-K", setup.file(&format!("{name}.key"))));
    }
    let setup = options.into_iter().fold(setup, |setup, (option, file)| setup.option(option, file));
    let pen = setup.servers([&backend]).start();
    assert_eq!(TlsClient::new(&root).connect(pen.address).server_name(), "second");
    pen.says("first.crt: has no effect: there is another certificate whose key is of the same kind");
}

#[test]
fn an_ocsp_response_goes_with_its_own_certificate() {
    let root = Pair::root("ca");
    let backend = Backend::greeter("A");
    let setup = Setup::new();
    let (ec, rsa) = (root.issue("localhost"), root.issue_as("localhost", Kind::Rsa, (-1, 30)));
    ec.write(setup.path(), "ec");
    rsa.write(setup.path(), "rsa");
    let response = ocsp_response(setup.path(), &root, &rsa, 'V', 7);
    std::fs::write(setup.path().join("staple"), &response).unwrap();
    setup.write("ca.pem", root.cert_pem());
    let file = |name: &str| setup.file(name);
    let options = [
        ("-E", file("ec.crt")),
        ("-K", file("ec.key")),
        ("-E", file("rsa.crt")),
        ("-K", file("rsa.key")),
        ("-G", file("ca.pem")),
        ("-O", format!("ssl_ocsp_response {}", file("staple"))),
    ];
    let setup = options.into_iter().fold(setup, |setup, (option, text)| setup.option(option, text));
    let pen = setup.servers([&backend]).start();
    for (list, stapled) in
        [("ECDHE-RSA-AES128-GCM-SHA256", Some(response)), ("ECDHE-ECDSA-AES128-GCM-SHA256", None)]
    {
        let client = TlsClient::new(&root).version(SslVersion::TLS1_2).ciphers(list).stapling();
        assert_eq!(client.connect(pen.address).stapled(), stapled, "{list}");
    }
}
