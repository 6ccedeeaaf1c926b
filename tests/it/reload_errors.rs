//! A wrong file is refused with all its errors, whoever has it read.

use std::path::Path;

use super::reload::hup;
use crate::support::Setup;
use crate::support::backend::{Backend, greeters};
use crate::support::pen::{free_port, run_pen};
use crate::support::tls::Pair;

/// The lines with one of these prefixes, without it.
fn errors<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(prefix)).collect()
}

#[test]
fn every_error_is_told_at_once_and_the_same_by_all() {
    let backends = greeters(2);
    let setup = Setup::new();
    let good = format!("server 0 address {} port {}\n", backends[0].address().ip(), backends[0].port());
    let file = setup.write("file", &good);
    let pen = setup.option("-F", &file).servers(&backends).start();
    for (lines, places) in [
        ("timeout 0\nstatus\nserver 0 check nosuch\ncheck_default zz\n", &[2, 3, 4, 5][..]),
        (
            "status\nserver 0 check nosuch\nserver 8 name www1 address 10.0.0.1 port 1\n\
             server 9 name www1 address 10.0.0.2 port 1\ncheck_default zz\n",
            &[2, 3, 5, 6],
        ),
        ("server 3 address /run/x port 1 tls on\n", &[2]),
        ("include /nonexistent/file\nservers\n", &[2, 3]),
        ("check web typ http\nserver 0 check web\n", &[2]),
    ] {
        pen.write("file", format!("{good}{lines}"));
        let reload = pen.control("reload");
        let told = errors(&reload, "error: ");
        let at: Vec<_> = told.iter().map(|error| error.split(": ").next().unwrap()).collect();
        let expected: Vec<_> = places.iter().map(|line| format!("{file}:{line}")).collect();
        assert_eq!(at, expected, "{lines}: {reload}");
        assert_eq!(pen.control("diff"), reload, "{lines}");
        assert_eq!(pen.control(&format!("diff {file}")), reload, "{lines}");
        assert_eq!(pen.control(&format!("include {file}")), reload, "{lines}");
        let before = pen.stderr().len();
        hup(&pen);
        let log = pen.stderr().split_off(before);
        told.iter().for_each(|error| assert!(log.contains(error), "{error} is not in {log}"));
        for options in [&["--check", "-F", &file, "127.0.0.1:0"][..], &["-f", "-F", &file, "127.0.0.1:0"]] {
            let output = run_pen(options);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{text}");
            let said: Vec<_> =
                errors(&text, "pen: ").into_iter().filter(|line| !line.contains("no port")).collect();
            assert_eq!(said, told, "{options:?}");
        }
    }
    assert_ne!(pen.choice(2), "EOF");
}

#[test]
fn what_a_reload_could_not_open_diff_tells_too_and_nothing_is_left_behind() {
    let backends = greeters(1);
    let taken = Backend::greeter("taken");
    let setup = Setup::new();
    let file = setup.write("file", "");
    let pen = setup.option("-F", &file).servers(&backends).start();
    let (log, socket) = (pen.file("new.log"), pen.file("socket"));
    pen.write("socket", "no socket");
    let directory = pen.path().display().to_string();
    for (lines, places) in [
        (
            "connection_log /nonexist/x\nlog /nonexist/y\n".to_owned(),
            &["1: connection_log: ", "2: log: "][..],
        ),
        (format!("log {directory}\n"), &["1: log: "]),
        (format!("listen {}\nconnection_log {log}\n", taken.address()), &["1: listen: "]),
        (format!("listen {socket}\nconnection_log {log}\n"), &["1: listen: "]),
        ("listen /nonexist/socket\nlog /nonexist/y\n".to_owned(), &["1: listen: ", "2: log: "]),
        (format!("connection_log {log}\ncheck_default zz\n"), &["2: check_default: "]),
        (format!("timeout 0\nlog {log}\n"), &["1: timeout: "]),
    ] {
        pen.write("file", &lines);
        let diff = pen.penctl("diff");
        assert_eq!(diff.status.code(), Some(1), "{lines}");
        let told = String::from_utf8(diff.stderr).unwrap();
        let told: Vec<_> = told.lines().map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect();
        assert_eq!(told.len(), places.len(), "{told:?}");
        for (error, place) in told.iter().zip(places) {
            assert!(error.starts_with(&format!("{file}:{place}")), "{error} is not at {place}");
        }
        let reload = pen.control("reload");
        assert_eq!(errors(&reload, "error: "), told, "{lines}");
        assert!(!Path::new(&log).exists(), "{lines}");
    }
    // What diff announces, reload does; and diff does not do it.
    pen.write("file", format!("connection_log {log}\n"));
    assert_eq!(pen.control("diff"), format!("connection_log {log}\n"));
    assert!(!Path::new(&log).exists());
    assert_eq!(pen.control("reload"), format!("connection_log {log}\n"));
    assert!(Path::new(&log).exists());
}

#[test]
fn a_start_tells_all_that_it_lacks_with_its_lines() {
    let taken = Backend::greeter("taken");
    let setup = Setup::new();
    let lines = format!(
        "server 0 address 10.0.0.1 port 80\nadmin {}\nssl_certfile /nonexist/cert\nlisten 127.0.0.1:{}\n",
        taken.address(),
        free_port(),
    );
    let file = setup.write("file", &lines);
    let said = |more: &str| {
        setup.write("file", format!("{lines}{more}"));
        String::from_utf8(run_pen(["-f", "-F", &file]).stderr).unwrap()
    };
    let told = said("");
    let at: Vec<_> = told.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(at, [format!("{file}:2"), format!("{file}:3")], "{told}");
    // Together with what is wrong with the lines.
    let told = said("log /nonexist/log\ntimeout 0\n");
    for line in [3, 5, 6] {
        assert!(told.contains(&format!("pen: {file}:{line}: ")), "{line}: {told}");
    }
}

#[test]
fn all_errors_of_tls_are_told_each_with_its_line() {
    let authority = Pair::root("ca");
    let setup = Setup::new();
    let pair = authority.issue("localhost");
    pair.write(setup.path(), "pen");
    authority.issue("other").write(setup.path(), "other");
    let (cert, key, other) = (setup.file("pen.crt"), setup.file("pen.key"), setup.file("other.key"));
    let bad = setup.write("bad.pem", "no PEM");
    let names = setup.file("names");
    std::fs::create_dir(&names).unwrap();
    authority.issue("a.b").write(Path::new(&names), "a.b");
    for file in ["ca", "ocsp"] {
        setup.write(&format!("names/a.b.{file}"), "junk");
    }
    let file = setup.write("file", "");
    let setup = setup.option("-E", cert.clone()).option("-K", key.clone()).option("-F", &file);
    let backends = greeters(1);
    let pen = setup.servers(&backends).start();
    let good = format!("server 0 address {} port {}\n", backends[0].address().ip(), backends[0].port());
    for (lines, places) in [
        // Of one certificate, of several, of what else a context needs, and of both sides.
        ("ssl_certfile /nonexist/c\nssl_keyfile /nonexist/k\n".to_owned(), &[2, 3][..]),
        (format!("ssl_certfile {bad}\nssl_keyfile /nonexist/k\nssl_ciphers NONE-SUCH\n"), &[2, 3, 4]),
        (format!("ssl_certfile {cert}\nssl_keyfile {other}\nssl_ciphers NONE-SUCH\nssl_ocsp_response /nonexist/o\n"), &[3, 4, 5]),
        ("ssl_ocsp_response /nonexist/o\nssl_ciphers NONE-SUCH\n".to_owned(), &[2, 3]),
        (
            format!("ssl_certfile /nonexist/c\nssl_ocsp_response /nonexist/o\nssl_sni_path {names}\n"),
            &[2, 3, 4, 4],
        ),
        (format!("ssl_cacert_file {bad}\nssl_cacert_dir /nonexist/d\n"), &[2, 3]),
        (format!("ssl_cacert_file {bad}\nssl_sni_path /nonexist/names\n"), &[2, 3]),
        ("ssl_ciphers NONE-SUCH\nssl_sni_path /nonexist/names\n".to_owned(), &[2, 3]),
        (format!("ssl_cacert_file {bad}\nssl_require_client_cert\nssl_ciphers NONE-SUCH\n"), &[2, 4]),
        (
            "server_cacert_file /nonexist/a\nserver 0 tls on\nssl_ciphers NONE-SUCH\nssl_ocsp_response /nonexist/o\n"
                .to_owned(),
            &[2, 4, 5],
        ),
        (
            format!("server_certfile {bad}\nserver_cacert_file {bad}\nserver_ciphers NONE-SUCH\nserver 0 tls on\n"),
            &[2, 3, 4],
        ),
    ] {
        pen.write("file", format!("{good}{lines}"));
        let expected: Vec<_> = places.iter().map(|line| format!("{file}:{line}")).collect();
        let own = lines.starts_with("ssl_certfile");
        let pair = if own { &[][..] } else { &["-E", &cert, "-K", &key] };
        let output = run_pen([&["--check", "-F", &file][..], pair, &["127.0.0.1:0"]].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        let told = errors(&text, "pen: ");
        let at: Vec<_> = told.iter().map(|error| error.split(": ").next().unwrap()).collect();
        assert_eq!(at, expected, "{lines}: {text}");
        if lines.contains("ssl_ciphers") && nix::unistd::geteuid().is_root() {
            // Read again as that user, who may find other faults, but not these once more.
            pen.write("file", format!("user daemon\n{good}{lines}"));
            let output = run_pen([&["--check", "-F", &file][..], pair, &["127.0.0.1:0"]].concat());
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(text.matches(": ssl_ciphers: ").count(), 1, "{text}");
            pen.write("file", format!("{good}{lines}"));
        }
        // A change of these needs a restart.
        if own || lines.starts_with("ssl_cacert_file") {
            continue;
        }
        let reload = pen.control("reload");
        assert_eq!(errors(&reload, "error: "), told, "{lines}");
        assert_eq!(pen.control("diff"), reload, "{lines}");
    }
    assert_ne!(pen.control("ssl_ciphers"), "NONE-SUCH\n");
}
