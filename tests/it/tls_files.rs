//! Files of certificates and keys: chains, and what is wrong with a file.

use std::fs;
use std::process::Command;

use crate::support::pen::run_pen;
use crate::support::tls::{Kind, Pair, TlsClient};
use crate::support::{Backend, Setup};

use super::tls::{pen, same};

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
