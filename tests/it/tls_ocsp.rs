//! OCSP stapling.

use std::fs;

use crate::support::tls::{Pair, TlsClient, ocsp_response, replace};
use crate::support::{Backend, Pen, Setup, wait_until};

struct Case {
    authority: Pair,
    leaf: Pair,
    backend: Backend,
    setup: Setup,
}

/// The certificate's file holds the issuer too, as those of public authorities do.
fn case() -> Case {
    let authority = Pair::root("ca");
    let mut leaf = authority.issue("localhost");
    leaf.chain = vec![authority.cert.clone()];
    let setup = Setup::new();
    leaf.write(setup.path(), "pen");
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let backend = Backend::greeter("A");
    let setup = setup.option("-E", cert).option("-K", key).servers([&backend]);
    Case { authority, leaf, backend, setup }
}

fn stapled(authority: &Pair, pen: &Pen, name: &str) -> Option<Vec<u8>> {
    TlsClient::new(authority).name(name).stapling().connect(pen.address).stapled()
}

#[test]
fn a_response_is_stapled_and_renewed_without_a_restart() {
    let Case { authority, leaf, backend: _backend, setup } = case();
    let first = ocsp_response(setup.path(), &authority, &leaf, 'V', 7);
    let file = setup.write("pen.ocsp", &first);
    let pen = setup.command(format!("ssl_ocsp_response {file}")).start();
    assert_eq!(stapled(&authority, &pen, "localhost"), Some(first.clone()));
    let second = ocsp_response(pen.path(), &authority, &leaf, 'V', 6);
    assert_ne!(first, second);
    replace(file.as_ref(), &second);
    wait_until("the new response", || stapled(&authority, &pen, "localhost").as_ref() == Some(&second));
    // A file that is no response changes nothing.
    replace(file.as_ref(), "junk");
    wait_until("a look at the file", || {
        assert_eq!(stapled(&authority, &pen, "localhost").as_ref(), Some(&second));
        pen.stderr().contains("is no OCSP response")
    });
    // As with C pen, the command reads the file at once.
    replace(file.as_ref(), &first);
    assert_eq!(pen.control(&format!("ssl_ocsp_response {file}")), "");
    assert_eq!(stapled(&authority, &pen, "localhost"), Some(first));
    assert_eq!(pen.control("no ssl_ocsp_response"), "");
    assert_eq!(stapled(&authority, &pen, "localhost"), None);
}

/// The same response with all its times in 2020. That breaks its signature, which only clients look at.
fn expired(mut response: Vec<u8>) -> Vec<u8> {
    let times: Vec<usize> =
        response.windows(4).enumerate().filter(|(_, w)| w == b"\x18\x0f20").map(|(at, _)| at).collect();
    assert!(times.len() >= 3, "producedAt, thisUpdate and nextUpdate");
    times.iter().for_each(|at| response[at + 4..at + 6].copy_from_slice(b"20"));
    response
}

#[test]
fn what_is_not_valid_or_not_good_is_not_stapled() {
    let Case { authority, leaf, backend: _backend, setup } = case();
    let old = expired(ocsp_response(setup.path(), &authority, &leaf, 'V', 7));
    let file = setup.write("pen.ocsp", old);
    let pen = setup.command(format!("ssl_ocsp_response {file}")).start();
    pen.says("the OCSP response is not valid now");
    assert_eq!(stapled(&authority, &pen, "localhost"), None);
    // In place of a good one that is in use, it is not shown either, and neither is that one.
    let good = ocsp_response(pen.path(), &authority, &leaf, 'V', 7);
    replace(file.as_ref(), &good);
    wait_until("the good one", || stapled(&authority, &pen, "localhost").as_ref() == Some(&good));
    replace(file.as_ref(), expired(good));
    wait_until("its end", || stapled(&authority, &pen, "localhost").is_none());
    replace(file.as_ref(), ocsp_response(pen.path(), &authority, &leaf, 'R', 7));
    assert_eq!(pen.control("ssl_reload"), "");
    pen.says("does not say that the certificate is good");
    assert_eq!(stapled(&authority, &pen, "localhost"), None);
    // A good one of another certificate.
    let other = authority.issue("other");
    replace(file.as_ref(), ocsp_response(pen.path(), &authority, &other, 'V', 7));
    assert!(pen.control("ssl_reload").contains("pen.ocsp: the OCSP response is not about the certificate"));
}

#[test]
fn a_file_that_is_no_response_is_no_start() {
    let Case { setup, .. } = case();
    let file = setup.write("pen.ocsp", "junk");
    let failure = setup.command(format!("ssl_ocsp_response {file}")).try_start().unwrap_err();
    assert!(failure.stderr.contains("pen.ocsp: is no OCSP response"), "{}", failure.stderr);
}

#[test]
fn each_name_has_its_own_response() {
    let Case { authority, leaf, backend: _backend, setup } = case();
    let dir = setup.path().join("names");
    fs::create_dir(&dir).unwrap();
    let one = authority.issue("one.example");
    one.write(&dir, "one.example");
    authority.issue("two.example").write(&dir, "two.example");
    fs::write(dir.join("one.example.ca"), authority.cert_pem()).unwrap();
    let of_default = ocsp_response(setup.path(), &authority, &leaf, 'V', 7);
    let of_one = ocsp_response(setup.path(), &authority, &one, 'V', 7);
    fs::write(dir.join("one.example.ocsp"), &of_one).unwrap();
    let file = setup.write("pen.ocsp", &of_default);
    let setup = setup.command(format!("ssl_ocsp_response {file}"));
    let pen = setup.command(format!("ssl_sni_path {}", dir.display())).start();
    assert_eq!(stapled(&authority, &pen, "localhost"), Some(of_default));
    assert_eq!(stapled(&authority, &pen, "one.example"), Some(of_one));
    assert_eq!(stapled(&authority, &pen, "two.example"), None);
    let renewed = ocsp_response(pen.path(), &authority, &one, 'V', 5);
    replace(&dir.join("one.example.ocsp"), &renewed);
    wait_until("the new response", || stapled(&authority, &pen, "one.example").as_ref() == Some(&renewed));
}
