//! Certificates by server name.

use std::fs;
use std::os::unix::fs::symlink;

use openssl::ssl::SslVersion;

use crate::support::pen::run_pen;
use crate::support::tls::{Pair, TlsClient, replace, s_client};
use crate::support::{Backend, Pen, Setup, wait_until};

/// A pen whose default certificate is for `localhost`, and its directory of names.
fn pen(authority: &Pair, backend: &Backend, names: &[&str], change: impl FnOnce(Setup) -> Setup) -> Pen {
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let dir = setup.path().join("names");
    fs::create_dir(&dir).unwrap();
    for name in names {
        authority.issue(&name.replace('_', "*").to_lowercase()).write(&dir, name);
    }
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let setup = setup.option("-E", cert).option("-K", key).servers([backend]);
    change(setup.command(format!("ssl_sni_path {}", dir.display()))).start()
}

/// The certificate that a client gets who asks for `name`.
#[track_caller]
fn served(authority: &Pair, pen: &Pen, name: &str) -> String {
    let versions = [SslVersion::TLS1_2, SslVersion::TLS1_3];
    let [old, new] = versions.map(|version| {
        let client = TlsClient::new(authority).trusting().version(version);
        let client = if name.is_empty() { client } else { client.name(name) };
        client.connect(pen.address).server_name()
    });
    assert_eq!(old, new);
    new
}

#[test]
fn each_name_has_its_certificate() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, &["One.Example", "two.example", "_.two.example"], |s| s);
    for (name, certificate) in [
        ("one.example", "one.example"),
        ("ONE.example", "one.example"),
        ("two.example", "two.example"),
        ("www.two.example", "*.two.example"),
        ("a.www.two.example", "localhost"),
        ("three.example", "localhost"),
        ("", "localhost"),
    ] {
        assert_eq!(served(&authority, &pen, name), certificate, "{name}");
    }
    let mut tls = TlsClient::new(&authority).name("www.two.example").connect(pen.address);
    tls.line();
    // As many as there were: the ones before may not have ended yet.
    let shown: String = (0..8).map(|n| pen.control(&format!("connection {n}"))).collect();
    assert!(shown.contains("sni = www.two.example\n"), "{shown}");
}

#[test]
fn names_with_underscores_are_served_and_files_passed_over_are_named() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, &["one.example"], |s| {
        let dir = s.path().join("names");
        authority.issue("my_host.example.com").write(&dir, "my_host.example.com");
        for file in ["notes.txt", "other.example.key", "-x.example.crt"] {
            fs::write(dir.join(file), "").unwrap();
        }
        s
    });
    assert_eq!(served(&authority, &pen, "my_host.example.com"), "my_host.example.com");
    let passed = [
        "notes.txt: passed over: its name does not end in .crt, .key, .ca or .ocsp",
        "other.example.key: passed over: there is no other.example.crt",
        "-x.example.crt: passed over: '-x.example' is not a host name",
    ];
    passed.iter().for_each(|line| pen.says(line));
    let dir = pen.path().join("names");
    fs::write(dir.join("late.example.ca"), "").unwrap();
    pen.control("ssl_reload");
    pen.says("late.example.ca: passed over: there is no late.example.crt");
    let file = |name: &str| pen.file(name);
    let ran = run_pen([
        "--check".into(),
        "-E".into(),
        file("pen.crt"),
        "-K".into(),
        file("pen.key"),
        "-O".into(),
        format!("ssl_sni_path {}", dir.display()),
        "127.0.0.1:0".into(),
        "127.0.0.1:1".into(),
    ]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    passed.iter().for_each(|line| assert!(said.contains(line), "{line}: {said}"));
}

#[test]
fn a_certificate_without_its_key_is_named_before_a_client_asks_for_it() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let half = authority.issue("half.example");
    let pen = pen(&authority, &backend, &["two.example", "whole.example"], |setup| {
        let dir = setup.path().join("names");
        fs::write(dir.join("half.example.crt"), half.cert_pem()).unwrap();
        fs::write(dir.join("two.example.ecdsa.crt"), half.cert_pem()).unwrap();
        let whole = authority.issue("whole.example");
        fs::write(dir.join("whole.example.crt"), whole.cert_pem() + &whole.key_pem()).unwrap();
        fs::remove_file(dir.join("whole.example.key")).unwrap();
        symlink("nowhere", dir.join("lost.example.crt")).unwrap();
        nix::unistd::mkfifo(&dir.join("two.example.ocsp"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        setup
    });
    pen.says("half.example.crt: passed over: there is no half.example.key, and it contains no private key");
    pen.says("lost.example.crt: passed over: No such file");
    assert_eq!(pen.stderr().matches("lost.example.crt").count(), 1, "{}", pen.stderr());
    pen.says("two.example.ocsp: passed over: expected a regular file");
    pen.says("two.example.ecdsa.crt: passed over: there is no two.example.ecdsa.key, and it");
    assert_eq!(served(&authority, &pen, "whole.example"), "whole.example");
    assert!(!pen.stderr().contains("whole.example"), "{}", pen.stderr());
    fs::write(pen.path().join("names/late.example.crt"), half.cert_pem()).unwrap();
    pen.control("ssl_reload");
    pen.says("late.example.crt: passed over: there is no late.example.key, and it contains no private key");
    // The key that comes later is used.
    fs::write(pen.path().join("names/half.example.key"), half.key_pem()).unwrap();
    let name =
        || TlsClient::new(&authority).trusting().name("half.example").connect(pen.address).server_name();
    wait_until("the key to be found", || name() == "half.example");
}

#[test]
fn the_first_handshake_after_a_quiet_time_has_the_new_certificate() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, &["one.example"], |s| s.command("workers 4"));
    let dir = pen.path().join("names");
    let serial = || {
        let tls = TlsClient::new(&authority).trusting().name("one.example").connect(pen.address);
        tls.0.ssl().peer_certificate().unwrap().serial_number().to_bn().unwrap().to_string()
    };
    let before = serial();
    // Many at once, so that every worker has it.
    std::thread::scope(|scope| {
        (0..40).for_each(|_| _ = scope.spawn(|| assert_eq!(serial(), before)));
    });
    authority.issue("one.example").write(&dir, "one.example");
    let quiet = pen.client();
    assert!(quiet.is_silent_for(std::time::Duration::from_millis(1100)));
    let after = serial();
    assert_ne!(after, before);
    std::thread::scope(|scope| {
        (0..40).for_each(|_| _ = scope.spawn(|| assert_eq!(serial(), after)));
    });
}

#[test]
fn hostile_names_get_the_default_and_reach_no_file() {
    let authority = Pair::root("ca");
    let backend = Backend::new(|_| ());
    let pen = pen(&authority, &backend, &["one.example", "_.one.example"], |s| s);
    // What these would name if they were put into a path.
    authority.issue("outside").write(pen.path(), "outside");
    authority.issue("hidden").write(&pen.path().join("names"), ".hidden");
    let long = format!("{}.example", "a".repeat(64));
    let names = [
        "../outside",
        "..",
        "/etc/passwd",
        ".hidden",
        "one.example/",
        "names/../one.example",
        "_.one.example",
        "*.one.example",
        "one..example",
        "-x.one.example",
        "%2e%2e",
        "one.example ",
        &long,
        "127.0.0.1",
    ];
    for name in names {
        assert_eq!(served(&authority, &pen, name), "localhost", "{name}");
    }
    assert_eq!(served(&authority, &pen, "one.example"), "one.example");
}

#[test]
fn a_change_of_files_is_found_without_a_reload() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, &["one.example"], |s| s);
    let dir = pen.path().join("names");
    // One client alone: between two the files may change.
    let one =
        |name: &str| TlsClient::new(&authority).trusting().name(name).connect(pen.address).server_name();
    let serial = |name: &str| {
        let tls = TlsClient::new(&authority).trusting().name(name).connect(pen.address);
        tls.0.ssl().peer_certificate().unwrap().serial_number().to_bn().unwrap().to_string()
    };
    let before = serial("one.example");
    // A key that does not fit yet: what was in use stays.
    let new = authority.issue("one.example");
    replace(&dir.join("one.example.key"), new.key_pem());
    wait_until("a look at the files", || {
        assert_eq!(serial("one.example"), before);
        pen.stderr().contains("the old files stay in use")
    });
    replace(&dir.join("one.example.crt"), new.cert_pem());
    wait_until("the new certificate", || serial("one.example") != before);
    // A name that was not there before.
    assert_eq!(served(&authority, &pen, "new.example"), "localhost");
    authority.issue("new.example").write(&dir, "new.example");
    wait_until("the new name", || one("new.example") == "new.example");
    // A file more for a name that is known.
    fs::write(dir.join("new.example.ca"), "junk").unwrap();
    wait_until("a look at the new file", || {
        assert_eq!(served(&authority, &pen, "new.example"), "new.example");
        pen.stderr().contains("new.example.ca: contains no certificate")
    });
    // And a name that is there no more.
    fs::remove_file(dir.join("new.example.crt")).unwrap();
    wait_until("the default certificate", || one("new.example") == "localhost");
}

#[test]
fn bad_files_of_a_name_are_a_line_and_the_default_certificate() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, &["one.example"], |s| s.command("workers 3"));
    // The key first: a name without one is another fault.
    fs::write(pen.path().join("names/bad.example.key"), "junk").unwrap();
    fs::write(pen.path().join("names/bad.example.crt"), "junk").unwrap();
    wait_until("the look at the directory", || {
        assert_eq!(served(&authority, &pen, "bad.example"), "localhost");
        pen.stderr().contains("bad.example.crt")
    });
    for _ in 0..10 {
        assert_eq!(served(&authority, &pen, "bad.example"), "localhost");
    }
    for said in ["bad.example.crt: contains no certificate", "bad.example.key: contains no private key"] {
        pen.says(said);
        assert_eq!(pen.stderr().matches(said).count(), 1, "{said}: {}", pen.stderr());
    }
    let (cert, key, dir) = (pen.file("pen.crt"), pen.file("pen.key"), pen.file("names"));
    let command = format!("ssl_sni_path {dir}");
    let checked = run_pen(
        ["--check", "-E", &cert, "-K", &key, "-O", &command, "127.0.0.1:0", "127.0.0.1:1"].map(str::to_owned),
    );
    assert!(!checked.status.success());
    assert!(String::from_utf8_lossy(&checked.stderr).contains("bad.example.crt: contains no certificate"));
    // A name that never worked does not stand in the way of the others.
    assert_eq!(pen.control("ssl_reload"), "");
}

#[test]
fn a_directory_that_is_not_there_is_one_clear_line() {
    let authority = Pair::root("ca");
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let (cert, key, none) = (setup.file("pen.crt"), setup.file("pen.key"), setup.file("none"));
    let setup = setup.option("-E", cert).option("-K", key).command(format!("ssl_sni_path {none}"));
    let failure = setup.server("127.0.0.1:1").try_start().unwrap_err();
    assert!(failure.stderr.contains(&format!("ssl_sni_path: {none}: No such file")), "{}", failure.stderr);

    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, &["one.example"], |s| s);
    let refused = pen.control(&format!("ssl_sni_path {none}"));
    assert!(refused.contains("No such file"), "{refused}");
    assert_eq!(served(&authority, &pen, "one.example"), "one.example");
    assert_eq!(pen.control("no ssl_sni_path"), "");
    assert_eq!(served(&authority, &pen, "one.example"), "localhost");
}

/// Clients of the default name need a certificate of one authority, those of `one.example` of another.
fn two_authorities() -> (Pair, Pair, Pair, Backend, Pen) {
    let (server, first, second) = (Pair::root("server ca"), Pair::root("first"), Pair::root("second"));
    let backend = Backend::new(|mut client| client.send("let in\n"));
    let pen = pen(&server, &backend, &["one.example", "two.example"], |s| {
        fs::write(s.path().join("names/one.example.ca"), second.cert_pem()).unwrap();
        let authorities = s.write("first.pem", first.cert_pem());
        s.options("-R").option("-G", authorities)
    });
    (server, first, second, backend, pen)
}

#[test]
fn verification_is_that_of_the_chosen_name() {
    let (server, first, second, _backend, pen) = two_authorities();
    let (of_first, of_second) = (first.issue("client"), second.issue("client"));
    let let_in = |name: &str, identity: &Pair, version| {
        let client = TlsClient::new(&server).trusting().name(name).version(version).identity(identity);
        client.try_connect(pen.address).is_ok_and(|mut tls| tls.rest().0 == b"let in\n")
    };
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        assert!(let_in("localhost", &of_first, version) && !let_in("localhost", &of_second, version));
        assert!(let_in("two.example", &of_first, version) && !let_in("two.example", &of_second, version));
        assert!(let_in("one.example", &of_second, version) && !let_in("one.example", &of_first, version));
    }
}

#[test]
fn a_session_is_not_resumed_under_another_name() {
    let (_server, first, second, _backend, pen) = two_authorities();
    let (mut clients, dir) = (Vec::new(), pen.path());
    for (name, authority) in [("first", &first), ("second", &second)] {
        authority.issue("client").write(dir, name);
        clients.push(format!("-cert {0}.crt -key {0}.key", dir.join(name).display()));
    }
    let [of_first, of_second] = [&clients[0], &clients[1]];
    let session = pen.file("session");
    let (out, resume) = (format!("-sess_out {session}"), format!("-sess_in {session}"));
    for version in ["-tls1_2", "-tls1_2 -no_ticket", "-tls1_3"] {
        let ask = |name: &str, more: &[&str]| {
            let name = format!("-servername {name}");
            s_client(pen.address, [&[version, name.as_str()], more].concat())
        };
        let begun = ask("two.example", &[of_first, &out]);
        assert!(begun.contains("let in") && begun.contains("New, "), "{version}: {begun}");
        // Under its own name it is, and no certificate is shown again.
        let again = ask("two.example", &[&resume]);
        assert!(again.contains("let in") && again.contains("Reused, "), "{version}: {again}");
        for name in ["one.example", "localhost"] {
            let refused = ask(name, &[&resume]);
            assert!(
                !refused.contains("let in") && !refused.contains("Reused, "),
                "{version} {name}: {refused}"
            );
        }
        let fresh = ask("one.example", &[&resume, of_second]);
        assert!(fresh.contains("let in") && fresh.contains("New, "), "{version}: {fresh}");
    }
}
