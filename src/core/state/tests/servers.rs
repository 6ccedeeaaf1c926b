//! Servers: their addresses, their state, and the refusal of changes that leave none to serve.

use super::*;
use crate::core::command::server_keys::ServerConfig;
use crate::core::snapshot::Role;

#[test]
fn a_server_that_moves_is_no_longer_blacklisted() {
    let mut state = state("listen 80\nserver 0 address 10.0.0.1 port 1\nserver 1 address 10.0.0.2 port 1\n");
    let mut world = TestWorld::default();
    for line in ["server 0 blacklist 9", "server 1 blacklist 9", "server 0 port 2", "server 1 max 4"] {
        apply(&mut state, &mut world, line).unwrap();
    }
    let standing = |state: &mut State, n| state.stats.server(n).standing(5);
    assert_eq!(standing(&mut state, 0), Standing::Clear);
    assert_eq!(standing(&mut state, 1), Standing::Ordered(9000));
}

#[test]
fn a_server_that_is_removed_is_gone_with_its_last_connection() {
    let mut state = state("listen 80\nserver 0 address 10.0.0.1 port 1\nserver 1 address 10.0.0.2 port 1\n");
    let mut world = TestWorld::default();
    let held = Arc::clone(state.stats.server(1));
    assert!(held.acquire(None));
    let (_, effects) = apply(&mut state, &mut world, "no server 1").unwrap();
    let places: Vec<bool> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Publish(..) => Some(false),
            Effect::Forget(1, backend) => {
                // Until then whoever finds no other server is still served by it.
                assert!(!backend.stats.is_removed());
                Some(true)
            }
            _ => None,
        })
        .collect();
    assert_eq!(places, [false, true], "{effects:?}");
    let line = "1 addr 10.0.0.2 port 1 conn 1 max 0 hard 0 weight 0 prio 0 sx 0 rx 0\n";
    assert!(servers(&state).ends_with(line));
    // The slot holds another server by now.
    apply(&mut state, &mut world, "server 1 address 10.0.0.3 port 1").unwrap();
    let shown = servers(&state);
    let (_, shown) = shown.split_once(line).unwrap();
    assert!(shown.starts_with("1 addr 10.0.0.3 port 1 conn 0 "), "{shown}");
    held.release();
    assert_eq!(servers(&state).lines().count(), 2);
    apply(&mut state, &mut world, "no server 1").unwrap();
    assert!(!written(&mut state).contains("server 1"));
    let error = "no server: expected an existing server, got '1'\n";
    assert_eq!(refusal(&mut state, &mut world, "no server 1"), error);
    // In a file it says that there must be no such server.
    world.files.insert("g".into(), "no server 1\nno server 9\n".into());
    apply(&mut state, &mut world, "include g").unwrap();
}

#[test]
fn a_change_that_leaves_nobody_to_serve_is_refused_with_its_reason() {
    let one = "listen 80\nserver 0 address 10.0.0.1 port 1\n";
    let mut state = state(one);
    let mut world = TestWorld::default();
    let weights = "weight: every server has weight 0, and nobody would be served\n";
    assert_eq!(refusal(&mut state, &mut world, "weight"), weights);
    for line in ["server 0 port 0", "no server 0"] {
        let word = line.trim_end_matches(" port 0");
        let expected = format!("{word}: no server would be left, and nobody would be served\n");
        assert_eq!(refusal(&mut state, &mut world, line), expected);
    }
    world.files.insert("f".into(), format!("{one}weight\n"));
    let errors = state.reload(&mut world).unwrap_err();
    assert_eq!(
        errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("f:3: {}", weights.trim_end())]
    );
    // Allowed when another server still serves, and when none served before.
    for line in
        ["server 0 weight 1", "weight", "emergency 10.0.0.9:1", "server 0 weight 0", "server 0 port 0"]
    {
        apply(&mut state, &mut world, line).unwrap();
    }
    let error = "no emergency: no server would be left, and nobody would be served\n";
    assert_eq!(refusal(&mut state, &mut world, "no emergency"), error);
    let mut state = self::state("listen 80\n");
    for line in ["weight", "server 0 address 10.0.0.1", "server 0 port 1", "server 1 max 3"] {
        apply(&mut state, &mut world, line).unwrap();
    }
}

#[test]
fn names_that_are_given_are_looked_up_again() {
    let mut state = state("listen 80\nserver 0 address a.example port 1\n");
    let mut world = TestWorld::default();
    let mut lookups = |line: &str| {
        let (_, effects) = apply(&mut state, &mut world, line).unwrap();
        let lookups = effects.into_iter().find_map(|effect| match effect {
            Effect::LookUp(lookups) => Some(lookups),
            _ => None,
        });
        let Lookups { names, again } = lookups.unwrap();
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        (list(&names), list(&again))
    };
    assert_eq!(lookups("blacklist 3"), ("a.example".into(), String::new()));
    assert_eq!(
        lookups("server 0 address 10.0.0.1 address a.example"),
        ("a.example".into(), "a.example".into())
    );
    assert_eq!(lookups("server 0 address b.example address 10.0.0.1"), (String::new(), String::new()));
    assert_eq!(lookups("emergency c.example:1"), ("c.example".into(), "c.example".into()));
    // What was left out as pen's own address is another's now, and the other way round.
    let (all, own) = ("c.example d.example".to_owned(), "d.example".to_owned());
    assert_eq!(lookups("server 0 address d.example port 80"), (all.clone(), own.clone()));
    assert_eq!(lookups("server 0 port 81"), (all.clone(), own.clone()));
    assert_eq!(lookups("server 0 port 82"), (all.clone(), String::new()));
    assert_eq!(lookups("listen 81"), (all.clone(), String::new()));
    assert_eq!(lookups("listen 82"), (all.clone(), own.clone()));
    assert_eq!(lookups("listen 80"), (all, own));
}

#[test]
fn addresses_are_published_together_when_one_is_news() {
    let lines = "listen 80\nserver 0 address a.example port 1\nserver 1 address b.example port 1\n";
    let mut state = state(lines);
    let mut found = |found: &[(&str, &str)]| {
        let found = found.iter().map(|(name, ip)| ((*name).to_owned(), vec![ip.parse().unwrap()]));
        let effects = state.found(found.collect());
        let published = effects.iter().filter(|effect| matches!(effect, Effect::Publish(..))).count();
        let address = |n: usize| state.snapshot().backends[n].as_ref().unwrap().label.clone();
        (published, address(0), address(1))
    };
    let expected = |published: usize, a: &str, b: &str| (published, a.to_owned(), b.to_owned());
    let both = [("a.example", "10.0.0.1"), ("b.example", "10.0.0.2")];
    assert_eq!(found(&both), expected(1, "10.0.0.1", "10.0.0.2"));
    assert_eq!(found(&both), expected(0, "10.0.0.1", "10.0.0.2"));
    assert_eq!(found(&[both[0], ("b.example", "10.0.0.3")]), expected(1, "10.0.0.1", "10.0.0.3"));
}

#[test]
fn a_server_that_is_pen_itself_is_refused_by_its_name_too() {
    let mut state = state("listen 10.0.0.9:80\nserver 0 address 10.0.0.1 port 1\n");
    let mut world = TestWorld::default();
    apply(&mut state, &mut world, "server 1 address a.example port 1").unwrap();
    let addresses = ["10.0.0.8", "10.0.0.9"].map(|ip| ip.parse().unwrap());
    state.found([("a.example".to_owned(), addresses.to_vec())].into());
    let reason = |what: &str, address: &str| {
        format!("{what}: {address} is pen's own address: pen would be its own client\n")
    };
    for (line, what, address) in [
        ("server 2 address 10.0.0.9 port 80", "server 2", "10.0.0.9 port 80"),
        ("server 1 port 80", "server 1", "a.example port 80"),
        ("emergency 10.0.0.9:80", "emergency", "10.0.0.9:80"),
        ("listen 10.0.0.1:1", "server 0", "10.0.0.1 port 1"),
    ] {
        assert_eq!(refusal(&mut state, &mut world, line), reason(what, address), "{line}");
    }
    world.files.insert("f".into(), "blacklist 3\nserver 1 port 80\n".into());
    let errors = state.reload(&mut world).unwrap_err();
    assert_eq!(format!("{}\n", errors[0]), reason("f:2: server 1", "a.example port 80"));
}

#[test]
fn a_server_without_a_port_is_not_checked() {
    let checks = |port: &str| {
        let lines = format!("listen 80\ncheck c type tcp\nserver 0 address {port} check c\n");
        let state = state(&lines);
        let snapshot = state.snapshot();
        snapshot.backend(Role::Regular(0)).is_some_and(|backend| backend.check.is_some())
    };
    assert_eq!(["10.0.0.1 port 1", "10.0.0.1 port 0", "/run/x"].map(checks), [true, false, true]);
}

#[test]
fn a_setting_that_leaves_nobody_served_says_so() {
    let lines = "listen 80\nserver 0 address 10.0.0.1 port 1\nemergency 10.0.0.2:1\nacl 4 default deny\n";
    for command in ["no emergency", "stubborn", "client_acl 4"] {
        let (mut state, mut world) = (state(lines), TestWorld::default());
        assert_eq!(reply_of(&mut state, &mut world, "server 0 state maint"), "");
        let reply = reply_of(&mut state, &mut world, command);
        assert!(reply.contains("no server takes new clients"), "{command}: {reply}");
    }
}

#[test]
fn a_walk_visits_each_server_that_stays_once_while_others_change() {
    let line = |n: usize| format!("server {n} address 10.0.0.{n} port 1\n");
    let walked = |order| {
        let mut state = state(&format!("listen 80\n{}{}{}emergency 10.0.1.1:1\n", line(0), line(1), line(3)));
        let removed = Arc::clone(state.stats.server(1));
        assert!(removed.acquire(None));
        for command in ["no server 1", "server 1 address 10.0.0.9 port 1"] {
            apply(&mut state, &mut TestWorld::default(), command).unwrap();
        }
        removed.remove();
        let mut walk = ServerWalk::new(order);
        let mut seen = Vec::new();
        loop {
            let some = walk.step(state.snapshot(), 1);
            let Some(backend) = some.first() else { break };
            seen.push(backend.label.clone());
            // The one that was visited changes, one behind it is removed, and one is added.
            if seen.len() == 1 {
                for command in ["server 0 max 3", "no server 3", "server 4 address 10.0.0.4 port 1"] {
                    apply(&mut state, &mut TestWorld::default(), command).unwrap();
                }
            }
        }
        seen
    };
    let present = ["10.0.0.0", "10.0.0.9", "10.0.0.4", "10.0.1.1"];
    assert_eq!(walked(WalkOrder::Present), present);
    assert_eq!(walked(WalkOrder::All), [&present[..], &["10.0.0.1"]].concat());
    assert_eq!(walked(WalkOrder::ByNumber), ["10.0.0.0", "10.0.0.1", "10.0.0.9", "10.0.0.4"]);
}

/// With thousands of servers, all else takes much longer than the change.
#[test]
fn a_change_of_one_server_leaves_the_others_as_they_are() {
    const COUNT: usize = 50;
    let lines: String =
        (0..COUNT).map(|n| format!("server {n} address h{}.example port 1 name s{n}\n", n % 9)).collect();
    let mut state = state(&format!("listen 80\n{lines}"));
    let at = |n: usize, ip: &str| (format!("h{n}.example"), vec![ip.parse().unwrap()]);
    state.found((0..9).map(|n| at(n, "10.0.0.1")).collect());
    let mut changed = |change: &dyn Fn(&mut State)| {
        let (config, snapshot) = (Arc::clone(&state.config), Arc::clone(state.snapshot()));
        let names = Arc::clone(&state.names);
        change(&mut state);
        assert!(Arc::ptr_eq(&names, &state.names));
        let slots = |old: &[Arc<ServerConfig>], new: &[Arc<ServerConfig>]| {
            old.iter().zip(new).filter(|(old, new)| !Arc::ptr_eq(old, new)).count()
        };
        let servers = snapshot.backends.iter().flatten().zip(state.snapshot().backends.iter().flatten());
        let servers = servers.filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
        (Arc::ptr_eq(&config, &state.config), slots(&config.servers, &state.config.servers), servers)
    };
    let command = |line: &'static str| {
        move |state: &mut State| _ = apply(state, &mut TestWorld::default(), line).unwrap()
    };
    assert_eq!(changed(&command("server 7 blacklist 3")), (true, 0, 0));
    assert_eq!(changed(&command("server s7 weight 3")), (false, 1, 1));
    assert_eq!(changed(&command("idle_timeout 3")), (false, 0, 0));
    let found = |state: &mut State| _ = state.found([at(8, "10.0.1.1")].into());
    assert_eq!(changed(&found), (true, 0, COUNT / 9));
}
