//! Files that give servers by number and by name: what a reload makes of them is what a restart would.

use proptest::prelude::*;

use super::*;
use crate::core::command::ServerRef;

/// A line: the server by number or by name, whether it has an address, the name that it gives.
type FileLine = (Result<usize, &'static str>, bool, Option<&'static str>);

fn file() -> impl Strategy<Value = Vec<FileLine>> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let numbered = (0usize..4, prop::option::weighted(0.3, name())).prop_map(|(n, name)| (Ok(n), true, name));
    let named =
        (name(), prop::bool::weighted(0.8)).prop_map(|(name, has_address)| (Err(name), has_address, None));
    prop::collection::vec(prop_oneof![numbered, named], 1..6)
}

/// The text of a file, in which no two addresses are the same.
fn text(version: usize, lines: &[FileLine]) -> String {
    let line = |(n, (server, has_address, name)): (usize, &FileLine)| {
        let server = server.map_or_else(str::to_owned, |number| number.to_string());
        let address =
            if *has_address { format!(" address 10.0.{version}.{n} port 1") } else { String::new() };
        let name = name.map_or_else(|| format!(" max {n}"), |name| format!(" name {name}"));
        format!("server {server}{address}{name}\n")
    };
    lines.iter().enumerate().map(line).collect()
}

/// The servers of a configuration that have an address: the name if there is one, and the address.
fn servers(config: &Config) -> Vec<(Option<String>, String)> {
    let used =
        config.servers.iter().filter_map(|server| Some((server.name.clone(), server.address.as_ref()?)));
    used.map(|(name, address)| (name, address.to_string())).collect()
}

proptest! {
    #[test]
    fn a_reload_makes_the_servers_of_a_restart_and_then_nothing_is_new(
        versions in prop::collection::vec(file(), 1..5),
        exact in any::<bool>(),
    ) {
        let mode = if exact { "reload_mode exact\n" } else { "" };
        let mut state = state(&format!("listen 80\n{mode}"));
        let mut world = TestWorld::default();
        for (version, lines) in versions.iter().enumerate() {
            let text = format!("{mode}{}", text(version, lines));
            world.files.insert("f".into(), text.clone());
            if state.reload(&mut world).is_err() {
                continue;
            }
            let (mut wanted, mut has) = (servers(&config(&text)), servers(&state.config));
            for (name, address) in &wanted {
                let is_there = |(other, at): &(Option<String>, String)| {
                    address == at && (name.is_none() || name == other)
                };
                prop_assert!(has.iter().any(is_there), "{text}{name:?} {address} is not in {has:?}");
            }
            if exact {
                // In other slots, perhaps: those of names that were there stay.
                wanted.sort();
                has.sort();
                prop_assert_eq!(&wanted, &has);
            }
            let again = state.diff(None, &mut world).unwrap();
            prop_assert_eq!(&again.changes, &Vec::new(), "{}", text);
        }
    }
}

/// What reloads of these files, one after the other, have changed.
fn reloads(state: &mut State, files: &[&str]) -> Vec<String> {
    let mut world = TestWorld::default();
    let mut reload = |file: &&str| {
        world.files.insert("f".into(), (*file).to_owned());
        let (reload, _) = state.reload(&mut world).unwrap();
        assert_eq!(reply_of(state, &mut world, "diff"), "# no setting changes\n", "{file}");
        reload.to_string()
    };
    files.iter().map(&mut reload).collect()
}

#[test]
fn a_server_by_number_does_not_become_one_that_the_file_names() {
    let (www1, www2) = ("server www1 address 10.0.0.1 port 1\n", "server www2 address 10.0.0.2 port 1\n");
    let before = format!("{www1}{www2}");
    let after = format!("{www1}server 1 address 10.0.0.9 port 21003\n{www2}");
    for mode in ["listen 80\n", "listen 80\nreload_mode exact\n"] {
        let [before, after] = [&before, &after].map(|file| format!("{mode}{file}"));
        let mut state = state(&before);
        let mut world = TestWorld::default();
        apply(&mut state, &mut world, "server www2 state drain").unwrap();
        let told = reloads(&mut state, &[&before, &after]);
        assert_eq!(told[0], "# no setting changes\n");
        let names: Vec<_> = state.config.servers.iter().map(|s| s.name.as_deref().unwrap_or("-")).collect();
        assert_eq!(names, ["www1", "-", "www2"], "{mode}{}", told[1]);
        assert_eq!(servers(&state.config), servers(&config(&after)), "as after a restart");
        // The state that an administrator has set stays with its server.
        let states = [1, 2].map(|n| state.config.servers[n].state);
        assert_eq!(states, [AdminState::Ready, AdminState::Drain], "{mode}");
    }
}

#[test]
fn a_server_added_by_name_gets_no_number_that_another_line_gives_an_address() {
    let first = "server 0 address 10.0.0.1 port 1\n";
    let c = "server c address 10.0.0.2 port 1\n";
    let d = "server 1 address 10.0.0.3 port 1 name d\n";
    // At the start, and at a reload where c has that number.
    let all = format!("{first}{c}{d}");
    let names = |config: &Config| config.servers.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    let expected = [None, Some("d".to_owned()), Some("c".to_owned())];
    assert_eq!(names(&config(&all)), expected);
    let mut state = state(&format!("listen 80\n{first}{c}"));
    reloads(&mut state, &[&format!("{first}{c}"), &all]);
    assert_eq!(names(&state.config), expected);
    // A number without an address is that of the server that has it, and so is one that gets the name.
    let file = "server a address 10.0.0.1 port 1\nserver 0 max 5\n\
                server 1 address 10.0.0.2 port 1 name b\nserver b max 7\n";
    assert_eq!(config(file).servers.iter().map(|s| s.max).collect::<Vec<_>>(), [5, 7]);
    reloads(&mut state, &["reload_mode exact\n", file].map(|_| file));
}

#[test]
fn what_a_file_no_longer_says_of_a_server_that_has_moved_is_told() {
    let mut state = state("listen 80\nserver 0 address 10.0.0.9 port 1\n");
    let told = reloads(
        &mut state,
        &[
            "server a address 10.0.0.1 port 1 max 5\n",
            "server a address 10.0.0.1 port 1\nserver 1 address 10.0.0.2 port 1\n",
        ],
    );
    assert!(told[1].contains("\n# no longer in f, kept: server 2 max 5\n"), "{}", told[1]);
}

#[test]
fn a_name_that_lines_give_to_a_number_is_the_server_of_that_number_in_any_order() {
    let (named, numbered) =
        ("server a address 10.0.0.1 port 1\n", "server 1 address 10.0.0.2 port 1 name a\n");
    for text in [format!("{named}{numbered}"), format!("{numbered}{named}")] {
        let made = config(&text);
        let wanted = if text.starts_with(named) { "10.0.0.2" } else { "10.0.0.1" };
        assert_eq!(servers(&made), [(Some("a".into()), wanted.into())], "{text}");
        assert_eq!(made.servers[1].name.as_deref(), Some("a"));
        // A reload that finds it there leaves it.
        let mut state = state(&format!("listen 80\n{text}"));
        assert_eq!(reloads(&mut state, &[&text, &text]), ["# no setting changes\n"; 2]);
    }
}

#[test]
fn a_name_that_a_number_has_gets_the_line_that_adds_it_also_when_the_number_is_in_use() {
    let text = "server 0 address 10.0.0.1 port 1\nserver a address 10.0.0.2 port 1\n\
                server 0 address 10.0.0.3 port 1 name a\n";
    assert_eq!(servers(&config(text)), [(Some("a".into()), "10.0.0.3".into())]);
    reloads(&mut state(&format!("listen 80\n{text}")), &[text, text]);
}

#[test]
fn a_name_given_by_the_name_before_is_that_of_the_number_too() {
    let text = "server 2 address 10.0.0.1 port 1 name x\nserver x name z\nserver z address 10.0.0.2\n";
    assert_eq!(servers(&config(text)), [(Some("z".into()), "10.0.0.2".into())]);
    let told = reloads(&mut state(&format!("listen 80\n{text}")), &[text, text]);
    assert_eq!(told, ["# no setting changes\n"; 2]);
}

#[test]
fn a_server_that_a_file_adds_by_name_has_no_other_name_in_it() {
    let added = "server 0 address 10.0.0.1 port 1\nserver a address 10.0.0.2 port 1\n";
    for (line, got) in [("server 1 name b", "b"), ("server a name b", "b"), ("server 1 name \"\"", "")] {
        let text = format!("listen 80\n{added}{line}\n");
        let subject = line.rsplit_once(" name").unwrap().0;
        let expected =
            format!("f:4: {subject} name: expected the name by which this file adds it, 'a', got '{got}'");
        for mode in ["", "reload_mode exact\n"] {
            let mut state = state(&format!("listen 80\n{mode}{added}"));
            let mut world = TestWorld::default();
            world.files.insert("f".into(), format!("{text}{mode}"));
            let errors = state.reload(&mut world).unwrap_err();
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected.as_str()]);
        }
        let lines =
            config_file::tests::load("f", &Services::default(), &|_| Ok(text.clone().into())).unwrap();
        let start = config_file::tests::apply(&mut Config::default(), &lines, Phase::Start);
        assert_eq!(start.unwrap_err()[0].to_string(), expected);
        // What is read once may do so, and so may what adds another one afterwards.
        let mut state = state(&format!("listen 80\n{added}"));
        let mut world = TestWorld::default();
        world.files.insert("g".into(), format!("{line}\n"));
        apply(&mut state, &mut world, "include g").unwrap();
        let again = format!("listen 80\n{added}no server a\nserver 1 name c address 10.0.0.4 port 1\n");
        world.files.insert("f".into(), again);
        state.reload(&mut world).unwrap();
    }
}

#[test]
fn an_exact_reload_leaves_servers_with_names_where_they_are_whatever_the_order_of_the_lines() {
    let head = "listen 80\nreload_mode exact\n";
    let line = |name: &str, port: usize| format!("server {name} address 10.0.0.{port} port 1\n");
    let [a, b, c, d] = [("a", 1), ("b", 2), ("c", 3), ("d", 4)].map(|(name, port)| line(name, port));
    let mut state = state(&format!("{head}{a}{b}{c}"));
    let mut world = TestWorld::default();
    let stats = |state: &mut State, name: &str| {
        let n = state.config.slot(&ServerRef::Name(name.into())).unwrap();
        (n, Arc::clone(state.stats.server(n)))
    };
    let known = ["a", "b", "c"].map(|name| stats(&mut state, name));
    let same = |state: &mut State, names: &[&str]| {
        names.iter().all(|name| {
            let at = ["a", "b", "c"].iter().position(|known| known == name).unwrap();
            let (n, own) = stats(state, name);
            n == known[at].0 && Arc::ptr_eq(&own, &known[at].1)
        })
    };
    // Exchanged, one more in front, one removed, and a new one in its slot.
    for (file, kept, others) in [
        (format!("{c}{a}{b}"), &["a", "b", "c"][..], ""),
        (format!("{d}{b}{c}{a}"), &["a", "b", "c"], "d"),
        (format!("{b}{c}"), &["b", "c"], ""),
        (format!("{d}{c}{b}"), &["b", "c"], "d"),
    ] {
        world.files.insert("f".into(), format!("{head}{file}"));
        state.reload(&mut world).unwrap();
        assert!(same(&mut state, kept), "{file}: {:?}", servers(&state.config));
        assert_eq!(servers(&state.config).len(), kept.len() + others.len(), "{file}");
        assert_eq!(reply_of(&mut state, &mut world, "diff"), "# no setting changes\n", "{file}");
    }
    let (n, new) = stats(&mut state, "d");
    assert!(n == 0 && !Arc::ptr_eq(&new, &known[0].1), "a new server in the slot of a removed one");
}

#[test]
fn a_number_that_goes_to_another_server_has_none_of_the_counts_of_the_one_that_moves_in_both_modes() {
    for mode in ["", "reload_mode exact\n"] {
        let head = format!("listen 80\n{mode}");
        let named = "server c address 10.0.0.1 port 1\nserver x address 10.0.0.2 port 1\n";
        let mut state = state(&format!("{head}{named}"));
        let mut world = TestWorld::default();
        let held = Arc::clone(state.stats.server(0));
        assert!(held.acquire(None));
        let file = format!("{head}{named}server 0 address 10.0.0.3 port 1 name d\n");
        world.files.insert("f".into(), file);
        let (reload, _) = state.reload(&mut world).unwrap();
        assert!(reload.to_string().contains("# server 0: d has the place of c\n"), "{reload}");
        assert!(held.is_removed() || !Arc::ptr_eq(state.stats.server(0), &held), "{mode}");
        assert_eq!(state.stats.server(0).connections(), 0, "{mode}");
    }
}
