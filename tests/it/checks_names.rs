//! Checks of servers that are names with several addresses.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use crate::support::namespace::inside;
use crate::support::udp::{Server, choices};
use crate::support::{Pen, Setup};

use super::checks::{becomes, failure};
use super::names::{ASK_HERE, with_etc};

/// At 127.0.0.41 nobody is, at 43 one who is silent, and at 42 one who answers.
const HOSTS: &str = "127.0.0.1 localhost\n\
    127.0.0.41 away.example\n127.0.0.42 away.example\n\
    127.0.0.43 mute.example\n127.0.0.42 mute.example\n\
    127.0.0.41 none.example\n127.0.0.43 none.example\n";

/// The checks are tried with each of the names; the servers are in this order.
fn pen(setup: Setup, port: u16, checks: &[&str]) -> Pen {
    let mut setup = with_etc(setup, &[("resolv.conf", ASK_HERE), ("hosts", HOSTS)]);
    for (n, check) in checks.iter().enumerate() {
        setup = setup.command(format!("check c{n} {check} every 0.1 timeout 1 fall 1"));
    }
    let names = ["away", "mute", "none"].iter().enumerate();
    for (at, name) in names {
        for n in 0..checks.len() {
            let slot = at * checks.len() + n;
            setup = setup.command(format!("server {slot} address {name}.example port {port} check c{n}"));
        }
    }
    setup.start()
}

#[test]
fn a_check_by_datagrams_tries_each_address() {
    if !inside("it::checks_names::a_check_by_datagrams_tries_each_address") {
        return;
    }
    let well = Server::on(([127, 0, 0, 42], 0).into(), |question| {
        let mut answer = question.to_vec();
        match answer.get_mut(2..4) {
            Some(flags) if question.len() > 12 => flags.copy_from_slice(&[0x80, 0]),
            _ => answer = b"A".to_vec(),
        }
        vec![answer]
    });
    let port = well.address.port();
    let mute = Server::on(SocketAddr::from(([127, 0, 0, 43], port)), |_| Vec::new());
    let pen = pen(Setup::new().options("-U -r"), port, &["type udp send x expect A", "type dns"]);
    (0..4).for_each(|n| becomes(&pen, n, "up"));
    mute.peers(1);
    // The one that is asked last is silent.
    (4..6).for_each(|n| assert_eq!(failure(&pen, n), "no answer after 1 s"));
    // What answers the check is what clients get.
    for n in [0, 1, 3] {
        pen.control(&format!("server {n} state maint"));
    }
    assert_eq!(choices(pen.address, [2, 3]), "A A");
}

#[test]
fn a_program_is_run_for_each_address() {
    if !inside("it::checks_names::a_program_is_run_for_each_address") {
        return;
    }
    let setup = Setup::new();
    let script = "#!/bin/sh\ncase $2,$5 in *.42,0.5) echo 0;; *.43,*) sleep 1000;; *) echo -1;; esac\n";
    let program = setup.write("program", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let pen = pen(setup, 9, &[&format!("type exec program {program}")]);
    becomes(&pen, 0, "up");
    becomes(&pen, 1, "up");
    assert_eq!(failure(&pen, 2), "no end of the program after 1 s");
}
