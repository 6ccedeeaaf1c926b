//! The command `write`: what it saves starts the same pen.

use proptest::prelude::*;

use crate::support::backend::greeters;
use crate::support::{Pen, Setup};

use super::reload::hup;

#[test]
fn what_write_saves_starts_the_same_pen() {
    let backends = greeters(2);
    let dir = crate::support::directory::directory();
    let setup = Setup::new();
    let (log, page) = (setup.file("a log"), setup.file("page"));
    let socket = dir.path().join("server");
    let pen = setup
        .options("-r -c 3000 -x 700 -b 20 -T 8 -t 7 -e 127.0.0.1:9991 -B 127.0.0.1:9992 -W -X")
        .option("-l", &log)
        .option("-w", &page)
        .server(format!("{}:5:10:3:1", backends[0].address()))
        .server(format!("[::1]:{}:1", backends[1].port()))
        .server(socket.display())
        .start();
    for line in [
        "acl 1 permit 1.2.3.4",
        "acl 1 deny 10.0.0.0 255.0.0.0",
        "acl 2 permit ::1",
        "acl 2 deny fe80::/10",
        "server 1 acl 2",
        "server 5 address 127.0.0.1 port 1234 max 3 hard 4 weight 5 prio 6",
        "client_acl 1",
        "tcp_fastclose both",
        "idle_timeout 90",
        "pending_max 12",
        "source 127.0.0.1",
        "keepalive",
        "tcp_nodelay",
    ] {
        assert_eq!(pen.control(line).strip_prefix("error"), None, "{line}");
    }
    let written = pen.file("written");
    assert_eq!(pen.control(&format!("write {written}")), "");
    let text = pen.read("written");
    // What C pen left out, or cut.
    for line in
        ["idle_timeout 90", "pending_max 12", "source 127.0.0.1", "keepalive", &format!("log \"{log}\"")]
    {
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    }
    assert!(text.contains("weight 3 prio 1"), "{text}");
    let servers = pen.control("servers");
    drop(pen);
    // Only the addresses of the first pen are its own.
    let start = |text: &str| {
        let setup = Setup::new();
        let (control, pid) = (setup.file("control"), setup.file("pid"));
        let text: String = text
            .lines()
            .filter(|l| !l.starts_with("listen "))
            .map(|l| match l {
                l if l.starts_with("control ") => format!("control {control}\n"),
                l if l.starts_with("pidfile ") => format!("pidfile {pid}\n"),
                // Nobody needs the old files.
                l => format!("{l}\n"),
            })
            .collect();
        let file = setup.write("again", text);
        std::fs::create_dir_all(std::path::Path::new(&log).parent().unwrap()).unwrap();
        setup.options(format!("-F {file}")).start()
    };
    let again = start(&text);
    assert_eq!(again.control("servers"), servers);
    assert_eq!(again.control(&format!("write {}", again.file("rewritten"))), "");
    let settings = |text: &str| {
        let own = ["listen ", "control ", "pidfile ", "#"];
        text.lines().filter(|l| !own.iter().any(|o| l.starts_with(o))).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(settings(&again.read("rewritten")), settings(&text));
    _ = std::fs::remove_dir_all(std::path::Path::new(&log).parent().unwrap());
}

/// What a running pen may be told, in every form that `write` has to bring back.
fn command() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "ascii",
        "dummy",
        "hash",
        "http",
        "keepalive",
        "nomemory",
        "prio",
        "roundrobin",
        "stubborn",
        "tcp_nodelay",
        "weight",
        "abort_on_error",
    ]);
    let switch = (word, any::<bool>()).prop_map(|(w, on)| format!("{}{w}", if on { "" } else { "no " }));
    let word = prop::sample::select(vec![
        ("blacklist", 0),
        ("client_acl", 0),
        ("control_acl", 0),
        ("clients_max", 4000),
        ("conn_max", 500),
        ("idle_timeout", 0),
        ("pending_max", 1),
        ("timeout", 1),
        ("tracking", 0),
        ("multi_accept", 1),
    ]);
    let number = (word, 0..9).prop_map(|((word, least), n)| format!("{word} {}", least + n));
    let text = prop::sample::select(vec![
        "source 127.0.0.1",
        "source ::1",
        "no source",
        "emergency [::1]:80",
        "emergency /run/x y",
        "no emergency",
        "abuse 127.0.0.1:99",
        "no abuse",
        "log 127.0.0.1:514",
        "log ::1:514",
        "no log",
        "web_stats \"/tmp/a b\"",
        "no web_stats",
        "tcp_fastclose up",
        "tcp_fastclose down",
        "tcp_fastclose off",
        "acl 1 permit country SE",
    ])
    .prop_map(str::to_owned);
    let acl =
        (0..10, any::<bool>(), any::<[u8; 4]>(), any::<u16>(), 0..=128).prop_map(|(n, v4, ip, word, len)| {
            let verdict = if word % 2 == 0 { "permit" } else { "deny" };
            match (v4, std::net::Ipv4Addr::from(ip)) {
                (true, ip) => format!("acl {n} {verdict} {ip} 255.0.{}.0", word % 256),
                (false, ip) => format!("acl {n} {verdict} {word:x}::{:x}/{len}", ip.octets()[0]),
            }
        });
    let key = prop::sample::select(vec!["acl", "port", "max", "hard", "weight", "prio"]);
    let address =
        prop::sample::select(vec!["127.0.0.1", "::1", "[::1]", "/run/a", "\"/run/a b\"", "h.invalid"]);
    let server = (0..5, key, 0..10).prop_map(|(n, key, value)| format!("server {n} {key} {value}"));
    let move_server = (0..5, address).prop_map(|(n, address)| format!("server {n} address {address}"));
    prop_oneof![switch, number, text, acl, server, move_server]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_it_was_told_write_brings_it_back(commands in prop::collection::vec(command(), 0..40)) {
        let pen = Setup::new().start();
        let settings = |pen: &Pen| {
            pen.control(&format!("write {}", pen.file("written")));
            let text = pen.read("written");
            let own = ["listen ", "control ", "pidfile ", "#"];
            text.lines().filter(|l| !own.iter().any(|o| l.starts_with(o))).map(|l| format!("{l}\n")).collect::<String>()
        };
        commands.iter().for_each(|command| _ = pen.control(command));
        let (written, servers, mode) = (settings(&pen), pen.control("servers"), pen.control("mode"));
        let setup = Setup::new();
        let file = setup.write("file", &written);
        let again = setup.options(format!("-F {file}")).start();
        prop_assert_eq!(again.control("servers"), servers);
        prop_assert_eq!(again.control("mode"), mode);
        prop_assert_eq!(settings(&again), written.clone());
        // Read once more, it changes nothing.
        hup(&again);
        prop_assert_eq!(settings(&again), written);
        prop_assert!(!again.stderr().contains("restart"), "{}", again.stderr());
    }
}

#[test]
fn write_without_a_name_goes_to_the_file_and_keeps_its_mode_and_link() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let setup = Setup::new();
    let real = setup.write("real", "blacklist 5\n");
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = setup.file("link");
    symlink(&real, &link).unwrap();
    let pen = setup.options(format!("-F {link}")).start();
    pen.control("blacklist 6");
    assert_eq!(pen.control("write"), "");
    assert!(pen.read("real").lines().any(|l| l == "blacklist 6"));
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    hup(&pen);
    assert!(pen.stderr().contains("read again"), "{}", pen.stderr());
}
