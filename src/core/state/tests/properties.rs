//! All commands and reloads apply completely or not at all, and `write` prints the configuration in force.

use proptest::prelude::*;

use super::*;
use crate::core::config::tests::line;
use crate::core::snapshot::{Backend, Snapshot, StatsTable};

#[derive(Debug, Clone)]
enum StateStep {
    Command(String),
    Reload(Vec<String>),
}

fn steps() -> impl Strategy<Value = Vec<(StateStep, Option<usize>)>> {
    let other = prop::sample::select(vec![
        "close 3",
        "close 999999",
        "connection 1",
        "servers",
        "mode",
        "exit",
        "status",
        "include g",
        "include nowhere",
        "ssl_reload",
        "reload",
        "diff",
        "diff g",
        "reload_mode exact",
        "server 1 blacklist 9",
        "server 2 address 10.0.0.9 port 1",
        "server 3 address a.example port 1",
        "emergency a.example:1",
        "no listen",
        "write",
    ]);
    let one = prop_oneof![4 => line(), 1 => other.prop_map(str::to_owned)];
    let bad = prop_oneof![20 => line(), 1 => Just("frobnicate".to_owned()), 1 => Just("servers".to_owned())];
    let step = prop_oneof![
        4 => one.prop_map(StateStep::Command),
        1 => prop::collection::vec(bad, 0..8).prop_map(StateStep::Reload),
    ];
    prop::collection::vec((step, prop::option::weighted(0.3, 0usize..3)), 0..30)
}

/// The servers of a snapshot, without their counters.
fn backends(snapshot: &Snapshot) -> Vec<Option<String>> {
    let text = |one: &Arc<Backend>| {
        let numbers = (one.port, one.max, one.hard, one.weight, one.prio, one.acl, one.identity);
        let words =
            (one.role, &one.name, &one.label, &one.addresses, one.admin_state, one.on_down, one.proxy);
        format!("{numbers:?} {words:?} {:?}", (&one.check, one.check_pauses, &one.tls))
    };
    snapshot.backends.iter().map(|one| one.as_ref().map(text)).collect()
}

proptest! {
    #[test]
    fn all_or_nothing_and_write_tells_all(steps in steps(), tls in any::<bool>()) {
        let mut state = state(if tls { "listen 80\nssl_certfile /c\n" } else { "listen 80\n" });
        let mut world = TestWorld::default();
        world.files.insert("g".into(), "roundrobin\nserver 3 address 10.0.0.3 port 3\n".into());
        for (step, refuses) in steps {
            world.now += 500;
            world.met.clear();
            world.refuses = refuses;
            let before = (state.config.clone(), Arc::clone(&state.snapshot), state.file_named.clone());
            let standings: Vec<Standing> = (0..6).map(|n| state.stats.server(n).standing(world.now)).collect();
            let failed = match step {
                StateStep::Command(line) => apply(&mut state, &mut world, &line).is_err(),
                StateStep::Reload(lines) => {
                    world.files.insert("f".into(), lines.join("\n"));
                    state.reload(&mut world).is_err()
                }
            };
            if failed {
                prop_assert_eq!(&state.config, &before.0);
                prop_assert!(Arc::ptr_eq(&state.snapshot, &before.1));
                prop_assert_eq!(&state.file_named, &before.2);
                let after: Vec<Standing> = (0..6).map(|n| state.stats.server(n).standing(world.now)).collect();
                prop_assert_eq!(standings, after);
            } else {
                // The next need would have been refused too: all needs are met before anything is in force.
                prop_assert!(refuses.is_none_or(|n| n >= world.met.len()));
            }
        }
        // Servers that stay the same are not made anew, and nobody sees a difference.
        let anew = Snapshot::new(&state.config, &mut StatsTable::default(), &state.resolved);
        prop_assert_eq!(backends(&state.snapshot), backends(&anew));
        prop_assert_eq!(&*state.names, &state.config.names());
        let mut now = Config::clone(&state.config);
        while now.servers.last() == Some(&Default::default()) {
            now.servers.pop();
        }
        prop_assert_eq!(config(&written(&mut state)), now);
    }
}
