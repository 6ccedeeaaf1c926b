//! A file is refused with all its errors, of whatever kind, each with its line and in the order of the lines.

use super::*;

/// What reload and diff, which agree, tell of a file.
fn told(state: &mut State, world: &mut TestWorld, text: &str) -> Vec<String> {
    world.files.insert("f".into(), text.into());
    let texts = |errors: Vec<Error>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let reload = texts(apply(state, world, "reload").unwrap_err());
    assert_eq!(texts(apply(state, world, "diff").unwrap_err()), reload);
    let include: Vec<_> = texts(apply(state, world, "include f").unwrap_err());
    if state.config.settings.reload_mode == ReloadMode::Keep {
        assert_eq!(include, reload);
    }
    reload
}

const GOOD: &str = "listen 80\nserver 0 address 10.0.0.1 port 1\n";

#[test]
fn errors_of_all_kinds_are_told_at_once_in_the_order_of_the_lines() {
    for mode in ["keep", "exact"] {
        let mut state = state(&format!("{GOOD}reload_mode {mode}\n"));
        let mut world = TestWorld::default();
        let log = |log, path: &str| Need::Log(log, Some(LogTarget::File(path.into())));
        world.impossible = vec![log(Log::Requests, "/n/y"), log(Log::Connections, "/n/x")];
        let text = format!(
            "{GOOD}connection_log /n/x\ntimeout 0\nstatus\nserver 0 check nosuch\nlog /n/y\n\
             server 8 name www1 address 10.0.0.2 port 1\nserver 9 address 10.0.0.3 port 1 name www1\n\
             check_default zz\nserver 3 address /run/s tls on\nsni_server a.b nobody 0\n\
             check udp type udp\nlisten 10.0.0.1:1\nreload_mode {mode}\n"
        );
        let errors = told(&mut state, &mut world, &text);
        let expected = [
            "f:2: server 0: 10.0.0.1 port 1 is pen's own address",
            "f:3: connection_log: impossible",
            "f:4: timeout: expected ",
            "f:5: 'status' is for the control socket; expected a setting",
            "f:6: server 0 check: expected the name of a check, got 'nosuch'",
            "f:7: log: impossible",
            "f:9: server 9 name: expected a name that no other server has, as server 8 has, got 'www1'",
            "f:10: check_default: expected the name of a check, got 'zz'",
            "f:11: server 3 tls_name: expected a host name or an IP address, since ",
            "f:12: sni_server a.b: expected the name of a server, got 'nobody'",
            "f:13: check udp send: expected what to send, since type is udp, got nothing",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.starts_with(expected), "{error} is not {expected}");
        }
        assert_eq!(world.met, []);
    }
}

#[test]
fn what_follows_from_another_error_is_not_told_as_well() {
    let mut state = state(GOOD);
    let mut world = TestWorld::default();
    let text = format!(
        "{GOOD}check web typ http\nserver 0 check web\ncheck_default web\nserver a address 10.0.0.2 prot 1\n\
         server a weight 2\nserver 4 name b port x\nsni_server a.b a b\n"
    );
    let errors = told(&mut state, &mut world, &text);
    let lines: Vec<_> = errors.iter().filter_map(|error| error.split(": ").next()).collect();
    assert_eq!(lines, ["f:3", "f:6", "f:8"], "{errors:#?}");
    // Without the rest of a file, nobody knows what it would have added.
    let text = "include nowhere\nserver 0 check web\nserver a weight 2\nstatus\nno server 0\n";
    let errors = told(&mut state, &mut world, text);
    let lines: Vec<_> = errors.iter().filter_map(|error| error.split(": ").next()).collect();
    assert_eq!(lines, ["f:1", "f:4"], "{errors:#?}");
}

#[test]
fn a_hundred_of_all_errors_are_told_and_the_rest_is_counted() {
    let mut state = state(GOOD);
    let mut world = TestWorld::default();
    let mut lines: Vec<String> = (0..150).map(|n| format!("server {n} check nosuch")).collect();
    lines.insert(50, "status".into());
    let errors = told(&mut state, &mut world, &format!("{GOOD}{}", lines.join("\n")));
    assert_eq!(errors.len(), 101);
    assert!(errors[50].starts_with("f:53: 'status'"), "{}", errors[50]);
    assert_eq!(errors[100], "f:153: 51 more errors are not shown");
}

#[test]
fn nothing_is_met_when_a_need_cannot_be() {
    let mut state = state(GOOD);
    let listen = Need::Listener(
        Endpoint { host: Host::parse("0.0.0.0").unwrap(), port: 81 },
        Box::new(config(&format!("{GOOD}listen 81\nconnection_log /c\n")).settings),
    );
    let mut world = TestWorld { impossible: vec![listen], ..TestWorld::default() };
    let text = format!("{GOOD}listen 81\nconnection_log /c\n");
    assert_eq!(told(&mut state, &mut world, &text), ["f:3: listen: impossible"]);
    assert_eq!(world.met, [], "the log would be created");
}
