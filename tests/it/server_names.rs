//! Names of servers: they stand for the number wherever a server is meant, and everything that tells of servers tells them.

use nix::sys::signal::Signal;

use crate::support::backend::{Refusing, greeters};
use crate::support::{Setup, wait_until};

#[test]
fn a_name_stands_for_the_number() {
    let backends = greeters(3);
    let address = |n: usize| format!("address 127.0.0.1 port {}", backends[n].port());
    let pen = Setup::new()
        .options("-r")
        .command(format!("server web1 {}", address(0)))
        .command(format!("server 1 {} name web2", address(1)))
        .start();
    let before = pen.control("servers");
    assert!(before.starts_with("0 addr 127.0.0.1 port ") && before.contains("\n1 addr "), "{before}");
    assert_eq!(pen.control("server web1 blacklist 60"), "");
    assert_eq!(pen.choices([2, 3]), "B B");
    assert_eq!(pen.control("server web1 blacklist 0"), "");
    // A third one, added under load by nothing but its name.
    assert_eq!(pen.control(&format!("server web3 {}", address(2))), "");
    let mut served: Vec<_> = (0..3).map(|n| pen.choice(n + 2)).collect();
    served.sort();
    assert_eq!(served, ["A", "B", "C"]);
    assert_eq!(pen.servers()[2].port, backends[2].port());
    for (line, error) in [
        (
            "server web4 max 3",
            "server web4: expected the name of a server, or an address for a new one, got 'web4'",
        ),
        (
            "server web1 name web2",
            "server 1 name: expected a name that no other server has, as server 0 has, got 'web2'",
        ),
        (
            "server web1 port x",
            "server web1 port: expected a number from 0 to 65535 or a service name, got 'x'",
        ),
        (
            "server 1 name 1x",
            "server 1 name: expected a name of at most 64 letters, digits, '.', '_' and '-', the first a letter, got '1x'",
        ),
    ] {
        assert_eq!(pen.control(line), format!("error: {error}\n"));
    }
    assert_eq!(pen.penctl("server web4 max 3").status.code(), Some(1));
}

#[test]
fn names_are_written_and_told() {
    let dead = Refusing::new();
    let backends = greeters(1);
    let pen = Setup::new()
        .command(format!("server dead address 127.0.0.1 port {}", dead.address().port()))
        .command(format!("server alive address 127.0.0.1 port {}", backends[0].port()))
        .options("-r")
        .start();
    assert_eq!(pen.choices([2, 3]), "A A");
    pen.says(&format!("blacklisting server dead (127.0.0.1:{})", dead.address().port()));
    let text = pen.control("why 127.0.0.9");
    assert!(
        text.contains("server dead (127.0.0.1:") && text.contains("it would get server alive ("),
        "{text}"
    );
    let rows: serde_json::Value = serde_json::from_str(&pen.control("json servers")).unwrap();
    assert_eq!((&rows["servers"][0]["name"], &rows["servers"][1]["name"]), (&"dead".into(), &"alive".into()));
    let file = pen.file("saved");
    assert_eq!(pen.control(&format!("write {file}")), "");
    let saved = std::fs::read_to_string(&file).unwrap();
    let line = format!(
        "server 1 acl 0 address 127.0.0.1 port {} max 0 hard 0 weight 0 prio 0 name alive\n",
        backends[0].port()
    );
    assert!(saved.contains(&line), "{saved}");
}

/// Names may be exchanged by a file, but not be given twice: that is told with its line, and nothing changes.
#[test]
fn a_reload_judges_names_as_a_whole() {
    let setup = Setup::new();
    let lines = |first: &str, second: &str| {
        format!(
            "server 0 address 127.0.0.1 port 9 name {first}\nserver 1 address 127.0.0.1 port 10 name {second}\n"
        )
    };
    let file = setup.write("file", lines("a", "b"));
    let pen = setup.options(format!("-F {file}")).start();
    let reload = |text: String, said: &str| {
        std::fs::write(&file, text).unwrap();
        let before = pen.stderr().matches(said).count();
        pen.signal(Signal::SIGHUP);
        wait_until(said, || pen.stderr().matches(said).count() > before);
    };
    reload(lines("b", "a"), "read again");
    assert_eq!(pen.control("server a port 11"), "");
    assert_eq!(pen.servers()[1].port, 11);
    reload(lines("b", "b"), &format!("{file}:2: server 1 name: expected a name that no other server has"));
    assert_eq!((pen.control("server a port 12"), pen.servers()[1].port), (String::new(), 12));
}
