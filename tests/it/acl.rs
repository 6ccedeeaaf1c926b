//! Access lists: of clients, of servers, of the control socket.

use crate::support::backend::greeters;
use crate::support::{Client, Setup};

#[test]
fn the_first_match_decides_and_else_the_opposite_of_the_last_entry() {
    let backends = greeters(1);
    let pen = Setup::new().options("-r").servers(&backends).start();
    pen.control("client_acl 1");
    // An empty list permits.
    assert_eq!(pen.choices([2, 3]), "A A");
    pen.control("acl 1 permit 127.0.0.2");
    assert_eq!(pen.choices([2, 3, 4]), "A EOF EOF");
    pen.control("no acl 1");
    pen.control("acl 1 deny 127.0.0.2");
    assert_eq!(pen.choices([2, 3, 4]), "EOF A A");
    pen.control("acl 1 permit 127.0.0.0 255.0.0.0");
    pen.control("acl 1 deny 127.0.0.3");
    assert_eq!(pen.choices([2, 3, 4]), "EOF A A");
    pen.control("no acl 1");
    assert_eq!(pen.choices([2, 3]), "A A");
}

#[test]
fn a_mask_takes_a_network() {
    let backends = greeters(1);
    let pen = Setup::new().options("-r").servers(&backends).start();
    pen.control("acl 3 deny 127.0.0.8 255.255.255.248");
    pen.control("client_acl 3");
    assert_eq!(pen.choices([7, 8, 15, 16]), "A EOF EOF A");
}

#[test]
fn a_server_with_a_list_serves_only_whom_it_permits() {
    let backends = greeters(3);
    let pen = Setup::new().options("-r").servers(&backends).start();
    pen.control("acl 1 permit 127.0.0.2");
    pen.control("server 1 acl 1");
    assert_eq!(pen.choices([2, 2, 2]), "B C A");
    assert_eq!(pen.choices([3, 3, 3, 3]), "C A C A");
}

#[test]
fn a_list_that_denies_a_remembered_client_moves_it() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    assert_eq!(pen.choices([2, 3, 2]), "B A B");
    pen.control("acl 1 deny 127.0.0.2");
    pen.control("server 1 acl 1");
    assert_eq!(pen.choices([2, 3, 2]), "A A A");
}

#[test]
fn ipv4_clients_of_an_ipv6_socket_are_judged_as_ipv4() {
    let backends = greeters(2);
    let pen = Setup::new()
        .listen(":::%")
        .command("acl 1 deny 127.0.0.2")
        .command("client_acl 1")
        .servers(&backends)
        .start();
    let port = pen.address.port();
    let line = |source: &str, to: &str| Client::from(source, format!("{to}:{port}").parse().unwrap()).line();
    // C pen served .2: the entry did not catch ::ffff:127.0.0.2.
    assert_eq!(line("127.0.0.2", "127.0.0.1"), "");
    assert_eq!(line("127.0.0.3", "127.0.0.1"), "B");
    assert_eq!(line("::1", "[::1]"), "A");
    assert_eq!(line("127.0.0.3", "127.0.0.1"), "B");
    assert!(pen.control("recent").contains("127.0.0.3 connects 2"));
}

#[test]
fn ipv6_entries_judge_ipv6_clients() {
    let backends = greeters(1);
    let pen = Setup::new().listen("[::1]:%").servers(&backends).start();
    let port = pen.address.port();
    let line = || Client::to(format!("[::1]:{port}").parse().unwrap()).line();
    assert_eq!(line(), "A");
    pen.control("acl 1 deny ::/64");
    pen.control("client_acl 1");
    assert_eq!(line(), "");
    pen.control("no acl 1");
    pen.control("acl 1 deny fd00::/8");
    assert_eq!(line(), "A");
}

#[test]
fn countries_are_refused_with_a_reason() {
    let pen = Setup::new().start();
    let reply = pen.control("acl 1 deny country SE");
    assert!(reply.starts_with("error: acl") && reply.contains("country"), "{reply}");
}

#[test]
fn nonsense_changes_no_list() {
    let backends = greeters(1);
    let pen = Setup::new().options("-r").servers(&backends).start();
    pen.control("acl 1 deny 127.0.0.2");
    pen.control("client_acl 1");
    for line in [
        "acl 1 allow 1.2.3.4",
        "acl 1 permit nonsense",
        "acl 1 permit",
        "acl 1",
        "acl",
        "acl 10 permit 1.2.3.4",
        "acl -1 permit 1.2.3.4",
        "acl x permit 1.2.3.4",
        "acl 1 permit 1.2.3.4 nomask",
        "acl 1 permit ::1/200",
        "no acl",
        "no acl 10",
        "no acl x",
        "client_acl 10",
        "client_acl x",
        "server 0 acl 10",
    ] {
        let reply = pen.control(line);
        assert!(
            reply.starts_with("error: ") && reply.ends_with('\n') && reply.lines().count() == 1,
            "{line}: {reply}"
        );
    }
    assert_eq!(pen.choices([2, 3]), "EOF A");
    assert_eq!(pen.control("client_acl"), "1\n");
}

#[test]
fn a_default_holds_where_no_entry_fits() {
    let backends = greeters(1);
    let setup = Setup::new().options("-r").servers(&backends);
    let conf = setup
        .write("conf", "client_acl 1\nacl 1 default deny\nacl 1 deny 127.0.0.3\nacl 1 permit 127.0.0.2\n");
    let pen = setup.option("-F", &conf).start();
    // The opposite of the last entry would deny too: not so with the next one.
    assert_eq!(pen.choices([2, 3, 4]), "A EOF EOF");
    assert_eq!(pen.control("acl 1 deny 127.0.0.5"), "");
    assert_eq!(pen.choices([2, 3, 4, 5]), "A EOF EOF EOF");
    assert!(
        pen.control("why 127.0.0.4")
            .starts_with("client 127.0.0.4: list 1 denies it by its default deny, no entry matches\n")
    );
    pen.control("write");
    assert!(pen.read("conf").contains("acl 1 deny 127.0.0.5 255.255.255.255\nacl 1 default deny\n"));
    assert_eq!(pen.control("acl 1 default permit"), "");
    assert_eq!(pen.choices([2, 3, 4, 5]), "A EOF A EOF");
    // An emptied list has no default, and the file that names the list replaces all of it.
    pen.control("no acl 1");
    pen.control("acl 1 permit 127.0.0.2");
    assert_eq!(pen.choices([2, 4]), "A EOF");
    for (bad, words) in [("acl 1 default", "permit or deny"), ("acl 1 default x", "got 'x'")] {
        assert!(pen.control(bad).contains(words), "{bad}: {}", pen.control(bad));
    }
}

#[test]
fn a_family_that_is_left_open_is_told() {
    let setup = Setup::new().servers(&greeters(1));
    let conf = setup.write("conf", "acl 2 permit ::2\nacl 2 deny 0.0.0.0/0\n");
    let told = "acl 2: IPv6 clients that no entry matches are permitted";
    let checked = crate::support::pen::run_pen(["--check", "-F", &conf, "8080", "127.0.0.1:80"]);
    assert!(String::from_utf8_lossy(&checked.stderr).contains(told), "{checked:?}");
    let pen = setup.option("-F", &conf).start();
    pen.says(told);
    assert_eq!(pen.control("acl 1 permit 10.0.0.0/8"), "");
    let reply = pen.control("acl 1 deny ::/0");
    assert!(reply.starts_with("acl 1: IPv4 clients that no entry matches are permitted"), "{reply}");
    // It is done all the same, and the list is closed as the reply says.
    assert_eq!(pen.control("acl 1 default deny"), "");
    pen.control("client_acl 1");
    assert_eq!(pen.choice(2), "EOF");
}
