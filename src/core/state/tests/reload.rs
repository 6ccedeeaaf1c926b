//! Reloads: settings that the file names, and settings that it no longer names.

use super::*;

#[test]
fn what_a_file_no_longer_names_is_told() {
    let mut state = state("listen 80\n");
    let mut world = TestWorld::default();
    let mut reload = |text: &str| {
        world.files.insert("f".into(), text.into());
        state.reload(&mut world).map(|(reload, _)| reload.notices.clone())
    };
    let (one, two) = ("server 0 address 10.0.0.1 port 1\n", "server 1 address 10.0.0.2 port 1\n");
    assert_eq!(reload(&format!("{one}{two}")), Ok(Vec::new()));
    assert_eq!(reload(one), Ok(vec!["no longer in f, kept: server 1 address 10.0.0.2 port 1".into()]));
    assert_eq!(
        reload("udp\n"),
        Ok(vec![
            "f:1: udp: a change needs a restart of pen".into(),
            "no longer in f, kept: server 0 address 10.0.0.1 port 1".into(),
        ])
    );
    assert_eq!(reload("blacklist x\nhash on\n").unwrap_err().len(), 2);
}

#[test]
fn an_exact_reload_takes_back_what_nobody_names() {
    let file = "listen 80\nreload_mode exact\nblacklist 5\nconn_max 700\nuser nobody\nssl_option no_tlsv1\n\
                acl 1 deny 10.0.0.9\nserver 0 address 10.0.0.1 port 1 max 3\nserver 1 address 10.0.0.2 port 1\n";
    let mut state = state(file);
    state.command_line = config("timeout 7\nserver 4 address 10.0.0.5 port 5\n").into();
    let mut world = TestWorld::default();
    world.files.insert("f".into(), file.into());
    // At start the command line is in force too.
    let (reload, _) = state.reload(&mut world).unwrap();
    assert_eq!(reload.to_string(), "timeout 7\nserver 4 address 10.0.0.5 port 5\n");
    assert_eq!(*state.reload(&mut world).unwrap().0, Reload::default());
    for line in ["hash", "no server 4", "server 2 address 10.0.0.3 port 1", "timeout 9"] {
        apply(&mut state, &mut world, line).unwrap();
    }
    let file = "reload_mode exact\nserver 0 address 10.0.0.1 port 1\n";
    world.files.insert("f".into(), file.into());
    let before = state.config.clone();
    let changes = "no hash\nblacklist 30\ntimeout 7\nno ssl_option\nno acl 1\nserver 0 max 0\n\
                   server 4 address 10.0.0.5 port 5\nno server 1\nno server 2\n\
                   # not in f, kept until a restart: conn_max 700\n\
                   # not in f, kept until a restart: listen 80\n\
                   # not in f, kept until a restart: user nobody\n";
    assert_eq!(reply_of(&mut state, &mut world, "diff"), changes);
    assert_eq!(state.config, before);
    let mut forgotten = Vec::new();
    let (reload, effects) = state.reload(&mut world).unwrap();
    assert_eq!(reload.to_string(), changes);
    effects.iter().for_each(|effect| {
        if let Effect::Forget(n, _) = effect {
            forgotten.push(*n)
        }
    });
    assert_eq!(forgotten, [1, 2]);
    assert_eq!(reply(&mut state, "timeout"), "7\n");
    assert_eq!(reply(&mut state, "conn_max"), "700\n");
    // The mode itself is a setting that the file may name or not.
    world.files.insert("f".into(), "server 0 address 10.0.0.1 port 1\n".into());
    assert_eq!(state.reload(&mut world).unwrap().0.changes[0].to_string(), "reload_mode keep");
    apply(&mut state, &mut world, "hash").unwrap();
    assert_eq!(*state.reload(&mut world).unwrap().0, Reload::default());
    assert_eq!(refusal(&mut state, &mut world, "diff nowhere").lines().count(), 1);
    world.files.insert("g".into(), "server 0 port 0\nno server 4\nblacklist 9\n".into());
    assert_eq!(
        refusal(&mut state, &mut world, "diff g"),
        "g: no server would be left, and nobody would be served\n"
    );
}

#[test]
fn an_exact_reload_keeps_the_state_of_a_server_unless_the_file_names_it() {
    let file =
        "listen 80\nreload_mode exact\nserver 0 address 10.0.0.1 port 1\nserver a address 10.0.0.2 port 1\n";
    let mut state = state(file);
    let mut world = TestWorld::default();
    for line in ["server 0 state drain", "server a state maint"] {
        apply(&mut state, &mut world, line).unwrap();
    }
    world.files.insert("f".into(), file.into());
    assert_eq!(*state.reload(&mut world).unwrap().0, Reload::default());
    world.files.insert("f".into(), format!("{file}server a state ready\n"));
    let (reload, _) = state.reload(&mut world).unwrap();
    assert_eq!(reload.to_string(), "server 1 state ready\n");
    // One that the file names no longer leaves nothing to a new one with its number.
    let file = "listen 80\nreload_mode exact\nserver 1 name a address 10.0.0.2 port 1\n";
    world.files.insert("f".into(), file.into());
    let (reload, _) = state.reload(&mut world).unwrap();
    assert_eq!(reload.to_string(), "no server 0\n");
}

#[test]
fn each_setting_that_stays_is_told_when_the_file_names_it_no_longer() {
    let mut state = state("listen 80\n");
    let mut world = TestWorld::default();
    let mut reload = |text: &str| {
        world.files.insert("f".into(), text.into());
        state.reload(&mut world).map(|(reload, _)| reload.notices.clone()).unwrap()
    };
    let server = "server 0 address 10.0.0.1 port 1";
    let all = format!("{server} max 5\nblacklist 5\nhash\nclients_max 2048\nacl 2 permit 10.0.0.1\nlog /l\n");
    assert_eq!(reload(&all), Vec::<String>::new());
    let kept = reload(&format!("{server}\n"));
    let told: Vec<&str> =
        kept.iter().map(|line| line.strip_prefix("no longer in f, kept: ").unwrap()).collect();
    assert_eq!(
        told,
        ["hash", "blacklist 5", "log /l", "acl 2 permit 10.0.0.1 255.255.255.255", "server 0 max 5"]
    );
    // Reported once.
    assert_eq!(reload(&format!("{server}\n")), Vec::<String>::new());
}

#[test]
fn a_reload_tells_what_has_become_odd_with_its_line() {
    let mut state = state("listen 80\nserver 0 address 10.0.0.1 port 1\n");
    let mut world = TestWorld::default();
    let file = "server 0 address 10.0.0.1 port 1\nserver 1 address 10.0.0.1 port 1\n";
    world.files.insert("f".into(), file.into());
    let (reload, _) = state.reload(&mut world).unwrap();
    assert_eq!(reload.notices, ["f:2: server 1: it has the address and the port of server 0"]);
    assert_eq!(*state.reload(&mut world).unwrap().0, Reload::default());
}

#[test]
fn a_reload_tells_that_it_blacklists() {
    let mut state = state("listen 80\nserver 0 address 10.0.0.1 port 1\n");
    let mut world = TestWorld { now: 5, ..TestWorld::default() };
    world.files.insert("f".into(), "server 0 blacklist 10\n".into());
    for command in ["diff", "reload", "reload"] {
        assert_eq!(reply_of(&mut state, &mut world, command), "server 0 blacklist 10\n");
    }
    assert!(matches!(state.stats.server(0).standing(6), Standing::Ordered(_)));
}

/// The commands that `diff` shows, given one by one, do what a reload does.
fn can_be_typed(old: &str, new: &str) -> Vec<String> {
    let mut state = state(old);
    let mut world = TestWorld::default();
    world.files.insert("f".into(), format!("{new}reload_mode exact\n"));
    let shown = reply_of(&mut state, &mut world, "diff");
    let commands: Vec<String> =
        shown.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    for command in &commands {
        if let Err(errors) = apply(&mut state, &mut world, command) {
            panic!("{command}: {}\n{shown}", errors[0]);
        }
    }
    let rest = reply_of(&mut state, &mut world, "diff");
    assert!(rest.ends_with("# no setting changes\n"), "{rest} is left of {shown}");
    commands
}

#[test]
fn what_diff_shows_can_be_typed_line_by_line() {
    let base = "listen 80\nreload_mode exact\n";
    let case = |old: &str, new: &str| can_be_typed(&format!("{base}{old}"), &format!("listen 80\n{new}"));
    let (one, two) = ("server 0 address 10.0.0.1 port 1", "server 1 address 10.0.0.2 port 1");
    assert_eq!(
        case(&format!("check c1\ncheck_default c1\n{one}\n"), &format!("{one}\n")),
        ["no check_default", "no check c1"]
    );
    assert_eq!(case(&format!("{one}\n"), &format!("{two}\n"))[1], "no server 0");
    // The name moves with it.
    assert_eq!(
        case(&format!("{one} name a\nsni_server x.y a\n"), &format!("{two} name a\nsni_server x.y a\n")),
        [
            "no sni_server",
            "server 1 address 10.0.0.2 port 1 max 0 hard 0 weight 0 prio 0",
            "no server 0",
            "server 1 name a",
            "sni_server x.y a",
        ]
        .map(str::to_owned)
        .map(|line| line.replace(" max 0 hard 0 weight 0 prio 0", ""))
    );
    assert_eq!(
        case(&format!("{one} name a tls_name b\n"), &format!("{one}\n")),
        ["server 0 name \"\" tls_name \"\""]
    );
    assert_eq!(
        case(
            &format!("check c host h\ncheck_default c\n{one} check c\n"),
            &format!("check c\ncheck_default c\n{one} check c\n")
        ),
        ["check c host \"\""]
    );
    assert_eq!(
        case(&format!("weight\n{one} weight 5\n{two}\n"), &format!("weight\n{one}\n{two} weight 5\n")),
        ["server 1 weight 5", "server 0 weight 0"]
    );
    assert_eq!(case("emergency 10.0.0.9:1\n", &format!("{one}\n"))[1], "no emergency");
}

mod properties {
    use super::*;
    use crate::core::config::tests::line;
    use proptest::prelude::*;

    /// Lines whose order counts.
    fn linked() -> impl Strategy<Value = String> {
        let of_server = prop::sample::select(vec![
            "name a",
            "name b",
            "name c",
            "name d",
            "check web",
            "check dns",
            "check none",
            "check default",
            "weight 0",
            "weight 3",
            "port 0",
            "port 7",
            "address 10.0.0.7",
            "address /run/s",
            "tls_name h",
        ]);
        let of_server = (0usize..5, of_server).prop_map(|(n, key)| format!("server {n} {key}"));
        let used = (0usize..5).prop_map(|n| format!("server {n} address 10.0.0.{n} port 9 weight 1"));
        let other = prop::sample::select(vec![
            "no server 0",
            "no server 5",
            "check_default web",
            "check_default dns",
            "no check_default",
            "sni_server x.y a",
            "sni_server x.z b 2",
            "sni_server x.z a 2",
            "weight",
            "no weight",
            "prio",
            "emergency 10.0.0.8:1",
            "no emergency",
            "check web type http host h",
            "check dns type dns name n",
            "check web type tcp",
            "listen 81",
        ])
        .prop_map(str::to_owned);
        prop_oneof![3 => of_server, 2 => used, 3 => other, 1 => line()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn what_diff_shows_can_be_typed(
            both in prop::collection::vec(linked(), 0..6),
            old in prop::collection::vec(linked(), 0..14),
            new in prop::collection::vec(linked(), 0..14),
        ) {
            let base = ["listen 80", "check web", "check dns type dns", "server 5 address 10.0.0.5 port 9 weight 1"];
            let text = |own: &[String]| {
                let lines = base.iter().map(|line| (*line).to_owned());
                lines.chain(both.iter().chain(own).cloned()).map(|line| line + "\n").collect::<String>()
            };
            let (old, new) = (format!("{}reload_mode exact\n", text(&old)), text(&new));
            let mut state = state(&old);
            let mut world = TestWorld::default();
            world.files.insert("f".into(), format!("{new}reload_mode exact\n"));
            let serves = state.config.errors().is_empty() && state.config.nobody().is_none();
            if serves && apply(&mut state, &mut world, "diff").is_ok() {
                can_be_typed(&old, &new);
            }
        }
    }
}

#[test]
fn a_slot_with_another_name_and_another_address_has_another_server() {
    let head = "listen 80\nreload_mode exact\n";
    let [one, two, three] = [("www1", 1), ("www2", 2), ("www3", 3)]
        .map(|(name, port)| format!("server {name} address 10.0.0.{port} port 1\n"));
    let mut state = state(&format!("{head}{one}{two}"));
    let mut world = TestWorld::default();
    apply(&mut state, &mut world, "server www1 state maint").unwrap();
    let held = Arc::clone(state.stats.server(0));
    assert!(held.acquire(None));
    world.files.insert("f".into(), format!("{head}{three}{two}"));
    let (reload, effects) = state.reload(&mut world).unwrap();
    let notice = "# server 0: www3 has the place of www1\n";
    assert!(reload.to_string().contains(notice), "{reload}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Forget(0, backend)
        if Arc::ptr_eq(&backend.stats, &held))));
    // It inherits neither the state nor the connections.
    assert_eq!(state.config.servers[0].state, AdminState::Ready);
    assert!(!Arc::ptr_eq(state.stats.server(0), &held) && state.stats.server(0).id() != held.id());
    assert_eq!(reply_of(&mut state, &mut world, "diff"), "# no setting changes\n");
    // Another name alone, or another address alone, is the same server.
    for text in [three.replace("www3", "www4"), three.replace("www3", "www4").replace("0.3", "0.4")] {
        let before = Arc::clone(state.stats.server(0));
        world.files.insert("f".into(), format!("{head}{text}{two}"));
        state.reload(&mut world).unwrap();
        assert!(Arc::ptr_eq(state.stats.server(0), &before), "{text}");
    }
}
