//! New certificates without a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use nix::sys::signal::Signal;

use crate::support::directory::{directory, give_to_nobody};
use crate::support::tls::{Pair, TlsClient, replace};
use crate::support::{Backend, Pen, Setup, is_root, skipped, wait_until};

fn pen(authority: &Pair, backend: &Backend, change: impl FnOnce(Setup) -> Setup) -> Pen {
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    change(setup.option("-E", cert).option("-K", key).servers([backend])).start()
}

fn serial(authority: &Pair, pen: &Pen) -> String {
    let tls = TlsClient::new(authority).name("localhost").connect(pen.address);
    tls.0.ssl().peer_certificate().unwrap().serial_number().to_bn().unwrap().to_string()
}

#[test]
fn a_reload_replaces_the_pair_and_drops_nobody() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let pen = pen(&authority, &backend, |s| s);
    let mut old = TlsClient::new(&authority).connect(pen.address);
    let first = serial(&authority, &pen);
    authority.issue("localhost").write(pen.path(), "pen");
    assert_eq!(serial(&authority, &pen), first, "nothing is read before pen is told to");
    assert_eq!(pen.control("ssl_reload"), "");
    let second = serial(&authority, &pen);
    assert_ne!(second, first);
    authority.issue("localhost").write(pen.path(), "pen");
    pen.signal(Signal::SIGHUP);
    wait_until("the third certificate", || serial(&authority, &pen) != second);
    old.send("still here");
    assert_eq!(old.bytes(10), b"still here");
}

#[test]
fn a_bad_pair_changes_nothing() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, |s| {
        let file = s.write("pen.conf", "timeout 5\n");
        s.option("-F", file)
    });
    let before = serial(&authority, &pen);
    let other = authority.issue("localhost");
    replace(&pen.path().join("pen.crt"), other.cert_pem());
    let refused = pen.control("ssl_reload");
    assert!(
        refused.contains("pen.key: is not the key of the certificate in ")
            && refused.contains("the old files stay in use"),
        "{refused}"
    );
    assert_eq!(serial(&authority, &pen), before);
    // HUP applies all or nothing, certificates and all.
    pen.write("pen.conf", "timeout 9\n");
    pen.signal(Signal::SIGHUP);
    pen.says("pen.conf: it is not applied");
    assert_eq!(pen.control("timeout"), "5\n");
    fs::remove_file(pen.file("pen.key")).unwrap();
    assert!(pen.control("ssl_reload").contains("pen.key: No such file"));
    assert_eq!(serial(&authority, &pen), before);
    replace(&pen.path().join("pen.key"), other.key_pem());
    pen.signal(Signal::SIGHUP);
    wait_until("the new pair", || serial(&authority, &pen) != before);
    assert_eq!(pen.control("timeout"), "9\n");
}

#[test]
fn a_name_in_use_that_has_gone_bad_refuses_the_reload() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, |s| {
        let dir = s.path().join("names");
        fs::create_dir(&dir).unwrap();
        authority.issue("one.example").write(&dir, "one.example");
        s.command(format!("ssl_sni_path {}", dir.display()))
    });
    let name = || TlsClient::new(&authority).name("one.example").connect(pen.address).server_name();
    assert_eq!(name(), "one.example");
    let before = serial(&authority, &pen);
    authority.issue("localhost").write(pen.path(), "pen");
    fs::write(pen.path().join("names/one.example.key"), "junk").unwrap();
    let refused = pen.control("ssl_reload");
    assert!(refused.contains("one.example.key: contains no private key"), "{refused}");
    assert_eq!((name(), serial(&authority, &pen)), ("one.example".into(), before.clone()));
    authority.issue("one.example").write(&pen.path().join("names"), "one.example");
    assert_eq!(pen.control("ssl_reload"), "");
    assert_ne!(serial(&authority, &pen), before);
    assert_eq!(name(), "one.example");
}

#[test]
fn no_request_fails_while_certificates_change() {
    const RELOADS: usize = 30;
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, |s| s.options("-t 20"));
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    assert_eq!(TlsClient::new(&authority).name("localhost").connect(pen.address).line(), "A");
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        for n in 0..RELOADS {
            authority.issue("localhost").write(pen.path(), "pen");
            assert_eq!(pen.control("ssl_reload"), "");
            wait_until("requests between reloads", || served.load(SeqCst) > n * 5);
        }
        stop.store(true, SeqCst);
    });
    assert!(served.load(SeqCst) >= 5 * (RELOADS - 1));
}

#[test]
fn files_that_a_reload_will_not_find_are_told_at_start() {
    if !is_root() {
        return skipped("files_that_a_reload_will_not_find", "only root becomes another user");
    }
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, &backend, |s| {
        private(&s.path().join("pen.key"));
        give_to_nobody(s.path());
        s.no_user().options("-u nobody")
    });
    pen.says(
        "pen.key: Permission denied: pen serves with the files that it has read, but a reload will fail",
    );
    let before = serial(&authority, &pen);
    authority.issue("localhost").write(pen.path(), "pen");
    private(&pen.path().join("pen.key"));
    pen.signal(Signal::SIGHUP);
    pen.says("pen.key: Permission denied; the old files stay in use");
    assert_eq!(serial(&authority, &pen), before);
}

/// For root alone.
fn private(file: &Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn in_a_jail_a_reload_reads_the_files_inside() {
    if !is_root() {
        return skipped("in_a_jail_a_reload_reads_the_files_inside", "needs root");
    }
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let jail = directory();
    let names = jail.path().join("names");
    fs::create_dir(&names).unwrap();
    authority.issue("one.example").write(&names, "one.example");
    // At start the pair is read outside, where the same names lead to other files.
    let outside = directory();
    authority.issue("localhost").write(outside.path(), "pen");
    let place = jail.path().join(outside.path().strip_prefix("/").unwrap());
    let setup = Setup::new()
        .pid_file(&jail.path().join("pid"), "/pid")
        .options(format!("-j {}", jail.path().display()));
    let file = |name: &str| outside.path().join(name).to_str().unwrap().to_owned();
    // The directory of names is read inside only.
    let setup = setup.option("-E", file("pen.crt")).option("-K", file("pen.key"));
    let setup = setup.command("ssl_sni_path /names");
    let pen = setup.servers([&backend]).start();
    pen.says("pen.key: No such file or directory: pen serves with the files that it has read");
    let tls = TlsClient::new(&authority).name("one.example").connect(pen.address);
    assert_eq!(tls.server_name(), "one.example");
    let before = serial(&authority, &pen);
    assert!(pen.control("ssl_reload").contains("No such file or directory"));
    fs::create_dir_all(&place).unwrap();
    authority.issue("localhost").write(&place, "pen");
    assert_eq!(pen.control("ssl_reload"), "");
    assert_ne!(serial(&authority, &pen), before);
}
