//! Which server a client gets, and who serves it when servers fail.

use super::compare::{Transcript, compare};
use crate::support::Setup;
use crate::support::backend::{Backend, Refusing, greeters};

/// Selection: options, limits of the servers behind their ports, and steps; `-` stands before control commands.
const SELECTIONS: &[(&str, &str, &[&str], &[&str])] = &[
    ("default", "", &["", "", "", ""], &["2 3 4 5 6 7", "2 3 4 5 6 7", "7 6 5 4 3 2", "2 2 2"]),
    ("a returning client", "", &["", "", "", ""], &["2 3 2 4 2 2 5"]),
    ("round robin", "-r", &["", "", "", ""], &["2 2 2 2 2 3 4 5 6 7"]),
    ("small table", "-c 2", &["", "", "", ""], &["2 3 4", "4 3", "2"]),
    ("weight held", "-W", &[":0:0:1", ":0:0:2", ":0:0:3", ""], &["held 2 3 4 5 6 7 8 9 10 11 12 13"]),
    ("weight and round robin held", "-W -r", &[":0:0:1", ":0:0:1", ":0:0:1"], &["held 2 2 2 3 3 4"]),
    ("weights of zero", "-W", &["", ""], &["2 3"]),
    (
        "prio",
        "-r -O prio",
        &[":0:0:0:4", ":0:0:0:1", ":0:0:0:3", ":0:0:0:2"],
        &[
            "2 2 2",
            "- server 1 blacklist 99",
            "2 2",
            "- server 3 blacklist 99",
            "2 2",
            "- server 2 blacklist 99",
            "2 2",
        ],
    ),
    ("prio and weight", "-W -O prio", &[":0:0:9:2", ":0:0:1:1"], &["held 2 3 4"]),
    (
        "prio and memory",
        "-O prio",
        &[":0:0:0:3", ":0:0:0:1", ":0:0:0:4", ":0:0:0:2"],
        &["2 3", "- server 1 blacklist 99", "2", "4"],
    ),
    (
        "blacklist",
        "-r",
        &["", "", "", ""],
        &["- server 1 blacklist 99", "2 2 2 2 2 2", "- server 1 blacklist 0", "2 2 2 2"],
    ),
    (
        "blacklist and memory",
        "",
        &["", "", "", ""],
        &["2 3 4 5", "- server 1 blacklist 99", "2 3 2", "- server 1 blacklist 0", "2 3"],
    ),
    ("soft limit", "", &[":1", ""], &["held 2 3 4 5 6"]),
    ("soft and hard limit", "", &[":1:2", ":1:2"], &["held 2 3 2 3 4 2"]),
    ("soft limits full", "", &[":1", ":1"], &["held 2 3 2 4"]),
    ("stubborn full", "-s", &[":1", ":1"], &["held 2 2 3 4"]),
    (
        "client_acl",
        "",
        &["", "", ""],
        &[
            "- acl 1 deny 127.0.0.3",
            "- client_acl 1",
            "2 3 4",
            "- no acl 1",
            "- acl 1 permit 127.0.0.2",
            "2 3 4",
        ],
    ),
    (
        "acl with mask",
        "-r",
        &["", ""],
        &[
            "- acl 2 deny 127.0.0.8 255.255.255.248",
            "- acl 2 permit 127.0.0.0 255.0.0.0",
            "- client_acl 2",
            "7 8 15 16",
        ],
    ),
    (
        "acl of a server",
        "",
        &["", "", ""],
        &["- acl 1 permit 127.0.0.2", "- server 1 acl 1", "2 2", "3 3", "4 2"],
    ),
    ("port 0", "", &["", "", ""], &["2 3", "- server 1 port 0", "2 3 2"]),
    ("modes live", "", &["", "", ""], &["2 2", "- roundrobin", "2 2 2", "- no roundrobin", "2 2"]),
    ("hash", "-h", &["", "", "", ""], &["2", "2 2"]),
];

#[test]
fn choices() {
    compare("choices", |side| {
        let mut transcript = Transcript::new();
        for (name, options, limits, steps) in SELECTIONS {
            let backends = greeters(limits.len());
            let pen = side.pen(options, &backends, limits);
            for (n, step) in steps.iter().enumerate() {
                let clients = |text: &str| text.split(' ').map(|c| c.parse().unwrap()).collect::<Vec<u8>>();
                let value = if let Some(command) = step.strip_prefix("- ") {
                    pen.control(command)
                } else if let Some(held) = step.strip_prefix("held ") {
                    pen.choices_held(clients(held))
                } else {
                    pen.choices(clients(step))
                };
                transcript.insert(format!("{name}, step {n}: {step}"), value);
            }
        }
        transcript
    });
}

#[test]
fn failover() {
    compare("failover", |side| {
        let mut transcript = Transcript::new();
        let dead = [Refusing::new(), Refusing::new()];
        let backends = greeters(2);
        let emergency = Backend::greeter("E");
        for poll in ["", " -O poll"] {
            // C pen fails over from a refused connect only with poll and select.
            let name = if poll.is_empty() { "epoll" } else { "poll" };
            let setup = || side.setup().options(poll);
            let pen = setup().options("-r").server(dead[0].address()).servers(&backends).start();
            transcript.insert(format!("{name}, dead A B, round robin"), pen.choices([2; 6]));
            let pen =
                setup().servers(&backends[..1]).server(dead[0].address()).servers(&backends[1..]).start();
            transcript.insert(format!("{name}, A dead B"), pen.choices([2, 3, 4, 5, 2, 3, 4, 5]));
            let setup_of_dead = || dead.iter().map(Refusing::address).fold(setup(), Setup::server);
            let pen = setup_of_dead().start();
            transcript.insert(format!("{name}, all dead"), pen.choices([2, 3]));
            let pen = setup_of_dead().option("-e", emergency.address().to_string()).start();
            transcript.insert(format!("{name}, all dead with emergency"), pen.choices([2, 3]));
            let pen = setup().options("-s").servers(&backends[..1]).server(dead[0].address()).start();
            transcript.insert(format!("{name}, stubborn, A dead"), pen.choices([2, 3, 2, 3]));
        }
        let pen = side
            .setup()
            .options(format!("-e {}", emergency.address()))
            .command("acl 1 deny 127.0.0.3")
            .command("client_acl 1")
            .servers(&backends)
            .start();
        transcript.insert("denied, with emergency".into(), pen.choices([2, 3]));
        let pen = side
            .setup()
            .options(format!("-B {}", emergency.address()))
            .command("acl 1 deny 127.0.0.3")
            .command("client_acl 1")
            .servers(&backends)
            .start();
        transcript.insert("denied, with abuse".into(), pen.choices([2, 3, 3]));
        transcript
    });
}
