//! The command line: what is accepted, what is refused and how, what is said at start.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use crate::support::backend::greeters;
use crate::support::directory::directory;
use crate::support::pen::run_pen;
use crate::support::{Client, Setup, skipped};

fn stderr(args: &[&str]) -> (Option<i32>, String) {
    let output = run_pen(args);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{args:?}");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn help_and_version_are_answers() {
    for (option, text) in [("--help", "-F <file>"), ("--version", "pen 1")] {
        let output = run_pen([option]);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(text));
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_the_reason_and_status_2() {
    // C pen printed its usage and exited 0, or took the value for 0.
    for (args, words) in [
        (&[][..], "listening address"),
        (&["-r"], "listening address"),
        (&["-z", "80"], "-z"),
        (&["--nosuch", "80"], "--nosuch"),
        (&["80", "-t"], "-t"),
        (&["-t", "0", "80"], "'0'"),
        (&["-t", "-1", "80"], "'-1'"),
        (&["-t", "x", "80"], "'x'"),
        (&["-b", "x", "80"], "'x'"),
        (&["-x", "0", "80"], "'0'"),
        (&["-x", "-1", "80"], "'-1'"),
        (&["-c", "0", "80"], "'0'"),
        (&["-T", "x", "80"], "'x'"),
        (&["-m", "x", "80"], "'x'"),
        (&["-C", "x", "80"], "'x'"),
        (&["-e", "127.0.0.1", "80"], "127.0.0.1"),
        (&["-B", "a:b:c", "80"], "-B"),
        (&["-L", "x", "80"], "'x'"),
        (&["-O", "foo", "80"], "'foo'"),
        (&["-O", "blacklist x", "80"], "'x'"),
        (&["notaport"], "'notaport'"),
        (&["70000"], "'70000'"),
        (&[""], "listen"),
        (&["80", "::1:80"], "::1:80"),
        (&["80", "127.0.0.1:99999"], "'99999'"),
        (&["80", "127.0.0.1:x"], "'x'"),
        (&["80", "127.0.0.1:80:-5"], "'-5'"),
        (&["80", "127.0.0.1:80:1:2:3:4:5"], "'5'"),
        (&["80", "[::1"], "[::1"),
        (&["80", ""], "''"),
        (&["-F", "/nonexistent/file", "80"], "/nonexistent/file"),
        (&["-UH", "80"], "-U (udp) excludes -H (http)"),
        (&["-U", "-E", "cert", "80"], "-U (udp) excludes -E (ssl_certfile)"),
        (&["-U", "-O", "dummy", "80"], "-U (udp) excludes dummy"),
        (&["--check", "-rU", "/tmp/socket"], "-U (udp) excludes the listening address /tmp/socket"),
        (&["-U", "80", "127.0.0.1:81", "/tmp/socket"], "-U (udp) excludes server 1 /tmp/socket"),
        (&["-U", "-e", "/tmp/socket:80", "80"], "-U (udp) excludes the emergency server /tmp/socket"),
    ] {
        let (status, text) = stderr(args);
        assert_eq!((status, text.lines().count()), (Some(2), 1), "{args:?}: {text}");
        assert!(text.starts_with("pen: ") && text.contains(words), "{args:?}: {words} is not in {text}");
    }
}

#[test]
fn every_error_is_told_not_the_first_alone() {
    let (status, text) = stderr(&["-t", "0", "-b", "x", "-O", "frobnicate", "80", "127.0.0.1:x"]);
    assert_eq!(status, Some(2));
    for words in ["-t", "-b", "'frobnicate'", "127.0.0.1:x"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}

#[test]
fn a_start_that_cannot_be_is_told_with_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let dir = directory();
    let nowhere = format!("{}/no/such", dir.path().display());
    for (args, words) in [
        (&["-f", "192.0.2.1:2222"][..], "192.0.2.1"),
        (&["-f", &taken], &*taken),
        (&["-f", "-l", &nowhere, "127.0.0.1:0"], &nowhere),
        (&["-f", "-p", &nowhere, "127.0.0.1:0"], &nowhere),
        (&["-f", "-j", &nowhere, "127.0.0.1:0"], &nowhere),
        (&["-f", "-u", "nosuchuser", "127.0.0.1:0"], "nosuchuser"),
        (&["-f", "nohost.invalid:1"], "nohost.invalid"),
        (&["-f", &nowhere], &nowhere),
    ] {
        let (status, text) = stderr(args);
        // What only warns comes before.
        let last = text.lines().last().unwrap_or_default();
        assert!(matches!(status, Some(1 | 2)), "{args:?}: {status:?}: {text}");
        assert!(last.starts_with("pen: ") && last.contains(words), "{args:?}: {words} is not in {text}");
    }
}

#[test]
fn a_second_pen_on_the_port_does_not_start() {
    let backends = greeters(1);
    let first = Setup::new().servers(&backends).start();
    let failure =
        Setup::new().listen(first.operand()).fixed_port().servers(&backends).try_start().unwrap_err();
    assert!(failure.stderr.contains("in use"), "{failure:?}");
    assert_eq!(failure.status.code(), Some(1));
    let failure = Setup::new()
        .listen(first.operand())
        .fixed_port()
        .daemon()
        .servers(&backends)
        .try_start()
        .unwrap_err();
    assert!(failure.stderr.contains("in use"), "{failure:?}");
    assert_eq!(first.choice(2), "A");
}

#[test]
fn a_second_pen_on_the_control_socket_does_not_start() {
    let first = Setup::new().start();
    let control = first.file("control");
    let failure = Setup::new().option("-C", &control).fixed_port().try_start().unwrap_err();
    assert!(failure.stderr.contains(&control), "{failure:?}");
    assert_eq!(first.control("pid"), format!("{}\n", first.pid()));
}

#[test]
fn what_is_obsolete_is_accepted_and_said_once() {
    let backends = greeters(1);
    let pen = Setup::new().options("-S 5 -P -Q -n -D -n").servers(&backends).start();
    for option in ["-S", "-P", "-Q", "-n", "-D"] {
        pen.says(&format!("{option}:"));
        let lines = pen.stderr().lines().filter(|l| l.contains(&format!("{option}:"))).count();
        assert_eq!(lines, 1, "{option}: {}", pen.stderr());
    }
    assert_eq!(pen.choice(2), "A");
}

#[test]
fn small_batches_and_queues_are_raised() {
    let pen = Setup::new().options("-m 0 -q 10").start();
    pen.says("-m");
    pen.says("-q");
}

#[test]
fn options_follow_operands_combine_and_the_last_counts() {
    let backends = greeters(3);
    let pen = Setup::new()
        .options("-t 5 -t 4 -x 100 -x7")
        .servers(&backends)
        .server("-rd")
        .server("-b")
        .server("11")
        .start();
    assert_eq!(pen.control("timeout"), "4\n");
    assert_eq!(pen.control("conn_max"), "7\n");
    assert_eq!(pen.control("blacklist"), "11\n");
    assert_eq!(pen.control("debug"), "1\n");
    assert_eq!(pen.choices([2, 2, 2]), "B C A");
}

#[test]
fn settings_of_options_are_those_of_commands() {
    let setup = Setup::new();
    let (page, log) = (setup.file("page"), setup.file("log"));
    let pen = setup
        .options(format!("-a -b 9 -c 99 -d -h -s -t 8 -T 7 -w {page} -l {log} -H -W"))
        .options("-e 127.0.0.1:9 -B 127.0.0.1:8")
        .option("-O", "client_acl 2")
        .option("-o", "control_acl 0")
        .start();
    pen.control(&format!("write {}", pen.file("written")));
    let written = pen.read("written");
    for line in [
        "ascii",
        "blacklist 9",
        "clients_max 99",
        "debug 1",
        "hash",
        "stubborn",
        "timeout 8",
        "tracking 7",
        &format!("web_stats {page}"),
        &format!("log {log}"),
        "http",
        "weight",
        "emergency 127.0.0.1:9",
        "abuse 127.0.0.1:8",
        "client_acl 2",
        "no roundrobin",
    ] {
        assert!(written.lines().any(|l| l == line), "{line} is not in {written}");
    }
}

#[test]
fn a_server_without_port_has_the_one_that_pen_listens_on() {
    let pen = Setup::new().server("127.0.0.9").server("[::1]").server("127.0.0.8:smtp:1:2:3:4").start();
    let port = pen.address.port();
    let shown: Vec<(String, u16)> = pen.servers().into_iter().map(|s| (s.address, s.port)).collect();
    assert_eq!(shown, [("127.0.0.9".into(), port), ("::1".into(), port), ("127.0.0.8".into(), 25)]);
    let last = &pen.servers()[2];
    assert_eq!((last.max, last.hard, last.weight, last.prio), (1, 2, 3, 4));
}

#[test]
fn every_form_of_listening_address_is_taken() {
    let backends = greeters(1);
    for (operand, at) in [
        ("%", "127.0.0.1"),
        ("localhost:%", "127.0.0.1"),
        ("0.0.0.0:%", "127.0.0.1"),
        ("::1:%", "[::1]"),
        ("[::1]:%", "[::1]"),
        (":::%", "127.0.0.1"),
        (":::%", "[::1]"),
        ("[::]:%", "127.0.0.1"),
    ] {
        let pen = Setup::new().listen(operand).servers(&backends).start();
        let address = format!("{at}:{}", pen.address.port()).parse().unwrap();
        assert_eq!(Client::to(address).line(), "A", "{operand}");
        assert_eq!(pen.control("listen"), format!("{}\n", pen.operand()));
    }
}

#[test]
fn a_bare_port_is_ipv4_only() {
    let backends = greeters(1);
    let pen = Setup::new().listen("%").servers(&backends).start();
    assert_eq!(pen.choice(2), "A");
    let v6 = format!("[::1]:{}", pen.address.port()).parse().unwrap();
    assert!(std::net::TcpStream::connect_timeout(&v6, crate::support::wait::DEADLINE).is_err());
}

#[test]
fn check_tells_every_error_and_binds_nothing() {
    let setup = Setup::new();
    let bad = setup.write("bad", "blacklist x\n\nroundrobin\nfrobnicate\nacl 1 permit\n");
    let output = run_pen(["--check", "-t", "9", "-F", &bad, "80", "127.0.0.1:x"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    for words in [format!("{bad}:1: "), format!("{bad}:4: "), format!("{bad}:5: "), "127.0.0.1:x".into()] {
        assert!(text.contains(&words), "{words} is not in {text}");
    }
    // The port is taken, and that is no matter.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let good = setup.write("good", "roundrobin\nserver 0 address 127.0.0.1 port 80\n");
    let output = run_pen(["--check", "-F", &good, &taken]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!setup.path().join("pid").exists());
}

#[test]
fn check_warns_of_what_bites_later_each_with_its_line() {
    let setup = Setup::new();
    let missing = setup.file("missing");
    let lines = [
        "listen 127.0.0.1:8080",
        "server 0 address 10.0.0.1 port 80 max 10 hard 5",
        "server 1 address 10.0.0.2",
        "server 2 address 10.0.0.1 port 80",
        "client_acl 3",
        &format!("log {missing}/log"),
        &format!("web_stats {missing}/page"),
        &format!("pidfile {missing}/pid"),
        &format!("control {missing}/control"),
        &format!("admin {missing}/admin"),
        "source 192.0.2.1",
        &format!("check program type exec program {missing}/program"),
        "admin_acl 4",
        "http_forwarded replace",
        "connection_log syslog://nohost.invalid",
    ];
    let file = setup.write("file", lines.join("\n"));
    let output = run_pen(["--check", "-F", &file]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    for warning in [
        "2: server 0: hard 5 has no effect: expected more than max 10",
        "3: server 1: it has no port",
        "4: server 2: it has the address and the port of server 0",
        "5: client_acl: access list 3 is empty",
        &format!("6: log: {missing}/log could not be written: No such file"),
        &format!("7: web_stats: {missing}/page could not be written: No such file"),
        &format!("8: pidfile: {missing}/pid could not be written: No such file"),
        &format!("9: control: the directory {missing} is not there"),
        &format!("10: admin: the directory {missing} is not there"),
        "11: source: no interface of this machine has the address 192.0.2.1 now",
        &format!("12: check program program: {missing}/program could not be run: No such file"),
        "13: admin_acl: access list 4 is empty",
        "14: http_forwarded: has no effect without http",
        "15: connection_log: nohost.invalid could not be looked up",
    ] {
        assert!(text.contains(&format!("pen: {file}:{warning}")), "{warning} is not in {text}");
    }
    assert_eq!(text.lines().count(), 14, "{text}");
    let elsewhere = setup.write("elsewhere", "listen 192.0.2.1:80\nserver 0 address 10.0.0.1 port 80\n");
    let output = run_pen(["--check", "-F", &elsewhere]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("pen: {elsewhere}:1: listen: no interface of this machine")), "{text}");
    let taken = setup.write("taken", "listen 8080\nadmin 8080\nserver 0 address 10.0.0.1 port 80\n");
    let output = run_pen(["--check", "-F", &taken]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("{taken}:2: admin: 8080 is taken by listen")), "{text}");
    // A start tells the same of what needs no look at the system.
    let output = run_pen(["-f", "-F", &file]);
    assert!(!output.status.success(), "there is no place for its log");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("{file}:3: server 1: it has no port")), "{text}");
}

/// The start fails then, in the same words.
#[test]
fn check_warns_of_a_file_that_is_where_a_socket_is_to_be() {
    let setup = Setup::new();
    let (regular, directory) = (setup.write("precious", "data"), setup.file("directory"));
    fs::create_dir(&directory).unwrap();
    let server = "server 0 address 10.0.0.1 port 80\n";
    for path in [&regular, &directory] {
        for (n, word) in ["listen", "control", "admin"].into_iter().enumerate() {
            let place = |other| if word == other { path.clone() } else { setup.file(other) };
            let lines = ["listen", "control", "admin"].map(|word| format!("{word} {}\n", place(word)));
            let file = setup.write("conf", lines.concat() + server);
            let output = run_pen(["--check", "-F", &file]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let reason = format!("cannot listen on {path}: the file exists and is not a socket");
            let warning = format!("pen: {file}:{}: {word}: {reason}\n", n + 1);
            assert_eq!(String::from_utf8_lossy(&output.stderr), warning);
            // Root may have no control socket, which is told first.
            if word != "control" {
                let lines = [format!("listen {}\n", place("listen")), format!("{word} {path}\n")];
                let file = setup.write("conf", lines.concat() + server);
                let output = run_pen(["-f", "-F", &file]);
                assert_eq!(output.status.code(), Some(1), "{output:?}");
                assert!(String::from_utf8_lossy(&output.stderr).contains(&reason), "{output:?}");
            }
        }
    }
    assert_eq!(fs::read_to_string(&regular).unwrap(), "data");
    // The socket of a running pen, or of one that is gone, is no reason.
    let (control, admin) = (setup.file("control"), setup.file("admin"));
    drop(UnixListener::bind(&control).unwrap());
    let running = UnixListener::bind(&admin).unwrap();
    running.set_nonblocking(true).unwrap();
    let file =
        setup.write("conf", format!("listen 127.0.0.1:8080\ncontrol {control}\nadmin {admin}\n{server}"));
    let output = run_pen(["--check", "-F", &file]);
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    assert_eq!(running.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody connects for that");
}

#[test]
fn check_refuses_a_server_that_is_pen_itself_with_its_line() {
    let setup = Setup::new();
    let socket = setup.file("socket");
    for (listen, server, status) in [
        ("8080", "127.0.0.1 port 8080", 2),
        ("[::]:8080", "::1 port 8080", 2),
        ("127.0.0.1:8080", "127.0.0.2 port 8080", 0),
        (&socket, &socket, 2),
        ("8080", "localhost port 8080", 0),
    ] {
        let file = setup.write("file", format!("listen {listen}\nserver 0 address {server}\n"));
        let output = run_pen(["--check", "-F", &file]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{listen} {server}: {text}");
        let told = text.contains(&format!("{file}:2: server 0: ")) && text.contains("pen's own address");
        assert_eq!(told, server != "127.0.0.2 port 8080", "{listen} {server}: {text}");
        assert!(!text.contains("port 1 "), "a Unix socket has no port: {text}");
    }
}

#[test]
fn check_tells_as_whom_it_may_not_read() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("check_tells_as_whom_it_may_not_read", "not root");
    }
    let setup = Setup::new();
    let secret = setup.write("secret", "hash\n");
    let page = setup.file("page");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    for directory in setup.path().ancestors().take(1) {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = setup
        .write("file", format!("server 0 address 10.0.0.1 port 80\nweb_stats {page}\ninclude {secret}\n"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = run_pen(["--check", "-u", "nobody", "-F", &file, "8080"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("{file}:3: {secret}: ")) && text.contains("(as user nobody"), "{text}");
    // Root reads it at start, and nobody on HUP; nor could nobody write the page.
    std::fs::write(&file, format!("user nobody\n{}", std::fs::read_to_string(&file).unwrap())).unwrap();
    let output = run_pen(["--check", "-F", &file, "8080"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("(as user nobody, which reads it on HUP)"), "{text}");
    assert!(
        text.contains(&format!("{file}:3: web_stats: {page} could not be written: Permission denied")),
        "{text}"
    );
}

#[test]
fn check_and_start_warn_of_weights_that_serve_nobody() {
    let output = run_pen(["--check", "-W", "8080", "127.0.0.1:80"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("weight"), "{output:?}");
}
