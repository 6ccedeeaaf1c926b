//! penctl: what it sends, what it prints, how it ends.

use crate::support::pen::{free_port, run_penctl};
use crate::support::{Backend, Setup};

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_reply_goes_to_the_standard_output() {
    let pen = Setup::new().start();
    let output = pen.penctl("blacklist 12");
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("12\n".into(), String::new()));
    assert!(output.status.success());
    let output = pen.penctl("roundrobin");
    assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(0)));
}

#[test]
fn a_refusal_goes_to_the_standard_error() {
    let pen = Setup::new().start();
    for line in ["blacklist abc", "frobnicate"] {
        let output = pen.penctl(line);
        assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(1)), "{line}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{line}");
    }
    assert!(text(&pen.penctl("blacklist abc").stderr).contains("'abc'"));
    assert!(text(&pen.penctl("frobnicate").stderr).contains("'frobnicate'"));
}

#[test]
fn a_command_without_effect_ends_with_1_and_its_reply_stays() {
    let pen = Setup::new().start();
    for (line, reply) in [
        ("status", "Unable to create webstats\n"),
        ("exit", "Exit is not enabled; restart with -X flag\n"),
        ("connection 4000", "Connection 4000 out of range\n"),
        ("close 4000", "Connection 4000 out of range\n"),
        ("close 77", "Forcibly closing connection 77\n"),
        ("conn_max 100", "500\n"),
        ("clients_max 100", "2048\n"),
        ("server 7", ""),
    ] {
        let output = pen.penctl(line);
        assert_eq!((text(&output.stdout), text(&output.stderr)), (reply.into(), String::new()), "{line}");
        assert_eq!(output.status.code(), Some(1), "{line}");
    }
    assert_eq!(pen.penctl("conn_max 600").status.code(), Some(0));
}

#[test]
fn a_reply_may_be_of_any_length() {
    let pen = Setup::new().start();
    for n in (0..3000).step_by(1500) {
        // Slots before the last one are gaps.
        pen.control(&format!("server {n} address 127.0.0.1 port 1"));
    }
    let file: String = (0..3000).map(|n| format!("server {n} address 127.0.0.1 port 1 max {n}\n")).collect();
    let include = pen.write("many", file);
    assert_eq!(pen.control(&format!("include {include}")), "");
    let output = pen.penctl("servers");
    let reply = text(&output.stdout);
    assert_eq!(reply.lines().count(), 3000);
    assert!(reply.len() > 100_000 && reply.ends_with("sx 0 rx 0\n"));
}

#[test]
fn where_nobody_answers_it_says_so_and_fails() {
    let port = free_port();
    for target in [format!("127.0.0.1:{port}"), "/nonexistent/socket".into(), "nohost.invalid:1".into()] {
        let output = run_penctl([target.as_str(), "pid"]);
        assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(1)), "{target}");
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{target}: {error}");
        assert!(error.contains(target.rsplit_once(':').map_or(target.as_str(), |(host, _)| host)), "{error}");
    }
}

#[test]
fn a_bad_command_line_is_told_from_a_refusal() {
    for args in [&[][..], &["/x"], &["127.0.0.1", "pid"], &["", "pid"]] {
        let output = run_penctl(args);
        assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(2)), "{args:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{args:?}");
    }
}

#[test]
fn it_speaks_ipv4_ipv6_and_names() {
    for (host, targets) in [("127.0.0.1", &["127.0.0.1", "localhost"][..]), ("[::1]", &["[::1]", "::1"])] {
        let pen = Setup::new().options(format!("-C {host}:%")).no_probe().start();
        let port = pen.second_port;
        for target in targets {
            let output = run_penctl([format!("{target}:{port}"), "pid".into()]);
            assert_eq!(text(&output.stdout), format!("{}\n", pen.pid()), "{target}: {output:?}");
        }
    }
}

#[test]
fn words_are_joined_by_single_blanks() {
    let server = Backend::new(|mut client| {
        let line = client.line();
        client.send(format!("[{line}]"));
    });
    let target = server.address().to_string();
    let output = run_penctl([target.as_str(), "server", "0", " x ", "", "a'b"]);
    assert_eq!(text(&output.stdout), "[server 0  x   a'b]");
    assert!(output.status.success());
}

#[test]
fn help_has_a_line_a_command() {
    let output = run_penctl(["--help"]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    for word in [
        "acl",
        "blacklist",
        "close",
        "connection",
        "exit",
        "include",
        "listen",
        "mode",
        "pid",
        "recent",
        "server",
        "servers",
        "socket",
        "status",
        "tcp_fastclose",
        "write",
    ] {
        // A command is indented by two blanks; where its help goes on, by more.
        let of = |line: &&str| {
            let usage = line.strip_prefix("  ").unwrap_or_default();
            usage.trim_start_matches("[no] ").split([' ', '[']).next() == Some(word)
        };
        assert_eq!(help.lines().filter(of).count(), 1, "{word} in {help}");
    }
    for option in ["-V", "--version"] {
        assert!(text(&run_penctl([option]).stdout).starts_with("penctl "), "{option}");
    }
}

/// A penctl that is told by the environment where to ask.
pub(crate) fn penctl(pen: &crate::support::Pen, words: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(crate::support::pen::penctl_program());
    command.env("PEN_CONTROL", pen.file("control")).args(words).output().unwrap()
}

#[test]
fn the_environment_names_the_socket() {
    let pen = Setup::new().start();
    let output = penctl(&pen, &["pid"]);
    assert_eq!((text(&output.stdout), output.status.code()), (format!("{}\n", pen.pid()), Some(0)));
    // An address on the command line counts more.
    assert_eq!(penctl(&pen, &["/nonexistent/socket", "pid"]).status.code(), Some(1));
    let output = penctl(&pen, &["localhost", "pid"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("got 'localhost'"), "{}", text(&output.stderr));
}

#[test]
fn a_slip_is_told_with_what_may_be_meant() {
    let pen = Setup::new().start();
    let output = penctl(&pen, &["servrs"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).ends_with("penctl: did you mean servers or server?\n"),
        "{}",
        text(&output.stderr)
    );
    for (line, told) in [
        ("show timout", "(nearest: timeout), got 'timout'"),
        ("no rondrobin", "(nearest: roundrobin), got 'rondrobin'"),
        ("show servrs", "as penctl(1) lists them, got 'servrs'"),
    ] {
        let reply = pen.control(line);
        assert!(reply.starts_with("error: ") && reply.contains(told), "{line}: {reply}");
    }
    let file = pen.write("slip", "ruondrobin\n");
    let output = crate::support::pen::run_pen(["--check", "-F", &file, "127.0.0.1:9"]);
    let told = text(&output.stderr);
    assert!(told.contains("'ruondrobin' is not a command; nearest: roundrobin;"), "{told}");
}

#[test]
fn shells_take_the_completions() {
    for shell in ["bash", "ksh"] {
        let Some(mut command) = crate::support::tree::tool(shell) else { continue };
        for program in [env!("CARGO_BIN_EXE_pen"), env!("CARGO_BIN_EXE_penctl")] {
            let script = format!("eval \"$({program} --completions {shell})\" && echo taken");
            let output = command.args(["-c", &script]).output().unwrap();
            assert_eq!(text(&output.stdout), "taken\n", "{}", text(&output.stderr));
            command = std::process::Command::new(shell);
        }
    }
    let output = run_penctl(["--completions", "fish"]);
    assert_eq!(output.status.code(), Some(2));
}
