//! Whatever commands and reloads do: all or nothing, and what is written is what is in force.

use std::collections::HashMap;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::core::backend::Standing;
use crate::core::command::Command;
use crate::core::config::Phase;
use crate::core::config::tests::line;
use crate::core::config_file;
use crate::core::report::model::Status;
use crate::core::report::replies;

/// A world that has files, and refuses the need of that number.
#[derive(Debug, Default)]
struct Model {
    files: HashMap<String, String>,
    refuses: Option<usize>,
    met: Vec<Need>,
    now: Millis,
}

impl World for Model {
    fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        self.files.get(file).map(|text| text.clone().into()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn meet(&mut self, need: &Need) -> Result<(), Error> {
        if self.refuses == Some(self.met.len()) {
            return Err(Error::new("refused"));
        }
        self.met.push(need.clone());
        Ok(())
    }

    fn is_own(&self, listening: &Endpoint, host: &Host, port: u16) -> bool {
        listening.host == *host && listening.port == port
    }

    fn now(&self) -> Millis {
        self.now
    }
}

fn config(lines: &str) -> Config {
    let read = |_: &str| Ok(lines.into());
    let lines = config_file::load("f", &Services::default(), &read).unwrap();
    let mut config = Config::default();
    assert_eq!(config_file::apply(&mut config, &lines, Phase::Start).unwrap().notices, []);
    while config.servers.last() == Some(&Default::default()) {
        config.servers.pop();
    }
    config
}

fn state(lines: &str) -> State {
    let start = Start {
        config: config(lines),
        file: Some("f".into()),
        descriptors: 1000,
        pid: 7,
        tls: lines.contains("ssl_certfile"),
        ..Start::default()
    };
    State::new(start, 1)
}

/// What `write` prints.
fn written(state: &mut State) -> String {
    let mut world = Model::default();
    state.apply(&Command::Write(None), &mut world).unwrap();
    match world.met.pop() {
        Some(Need::Write(file, lines)) => {
            assert_eq!(file, std::path::PathBuf::from("f"));
            lines
        }
        other => panic!("{other:?}"),
    }
}

fn apply(state: &mut State, world: &mut Model, line: &str) -> Result<(Answer, Vec<Effect>), Vec<Error>> {
    let command = Command::parse(line, &Services::default()).unwrap().unwrap();
    state.apply(&command, world)
}

/// The reply to a command that is one text.
fn reply(state: &mut State, line: &str) -> String {
    reply_of(state, &mut Model::default(), line)
}

fn reply_of(state: &mut State, world: &mut Model, line: &str) -> String {
    match apply(state, world, line) {
        Ok((Answer::Text(text), _)) => text,
        other => panic!("{other:?}"),
    }
}

/// The reply to `servers`.
fn servers(state: &State) -> String {
    Status::servers(state.snapshot(), 1).iter().map(replies::server).collect()
}

fn refusal(state: &mut State, world: &mut Model, line: &str) -> String {
    let errors = apply(state, world, line).unwrap_err();
    errors.iter().map(|e| format!("{e}\n")).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Command(String),
    Reload(Vec<String>),
}

fn steps() -> impl Strategy<Value = Vec<(Step, Option<usize>)>> {
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
        "no listen",
        "write",
    ]);
    let one = prop_oneof![4 => line(), 1 => other.prop_map(str::to_owned)];
    let bad = prop_oneof![20 => line(), 1 => Just("frobnicate".to_owned()), 1 => Just("servers".to_owned())];
    let step = prop_oneof![
        4 => one.prop_map(Step::Command),
        1 => prop::collection::vec(bad, 0..8).prop_map(Step::Reload),
    ];
    prop::collection::vec((step, prop::option::weighted(0.3, 0usize..3)), 0..30)
}

proptest! {
    #[test]
    fn all_or_nothing_and_write_tells_all(steps in steps(), tls in any::<bool>()) {
        let mut state = state(if tls { "listen 80\nssl_certfile /c\n" } else { "listen 80\n" });
        let mut world = Model::default();
        world.files.insert("g".into(), "roundrobin\nserver 3 address 10.0.0.3 port 3\n".into());
        for (step, refuses) in steps {
            world.now += 500;
            world.met.clear();
            world.refuses = refuses;
            let before = (state.config.clone(), Arc::clone(&state.snapshot), state.file_named.clone());
            let standings: Vec<Standing> = (0..6).map(|n| state.stats.server(n).standing(world.now)).collect();
            let failed = match step {
                Step::Command(line) => apply(&mut state, &mut world, &line).is_err(),
                Step::Reload(lines) => {
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
                // The next need would have been refused too: whatever is asked for is asked before anything is in force.
                prop_assert!(refuses.is_none_or(|n| n >= world.met.len()));
            }
        }
        let mut now = state.config.clone();
        while now.servers.last() == Some(&Default::default()) {
            now.servers.pop();
        }
        prop_assert_eq!(config(&written(&mut state)), now);
    }
}

#[test]
fn what_can_fail_is_asked_first_and_tells_its_setting() {
    let mut state = state("listen 80\n");
    let mut world = Model { refuses: Some(0), ..Model::default() };
    assert_eq!(refusal(&mut state, &mut world, "listen 81"), "listen: refused\n");
    assert_eq!(refusal(&mut state, &mut world, "log /l"), "log: refused\n");
    assert_eq!(reply(&mut state, "listen"), "80\n");
    // In a file: the line of the setting, and nothing of the rest.
    world.files.insert("g".into(), "blacklist 9\nlog /l\n".into());
    world.refuses = Some(0);
    assert_eq!(refusal(&mut state, &mut world, "include g"), "g:2: log: refused\n");
    assert_eq!(reply(&mut state, "blacklist"), "30\n");
}

#[test]
fn an_address_written_differently_keeps_the_socket() {
    let mut state = state("listen 80\n");
    let mut world = Model::default();
    apply(&mut state, &mut world, "listen 0.0.0.0:80").unwrap();
    assert_eq!(world.met, []);
    assert_eq!(reply(&mut state, "listen"), "0.0.0.0:80\n");
    let (_, effects) = apply(&mut state, &mut world, "listen 81").unwrap();
    assert!(matches!(&world.met[..], [Need::Listener(..)]), "{world:?}");
    assert!(matches!(effects[0], Effect::UseListener), "{effects:?}");
}

#[test]
fn files_of_tls_are_read_when_that_is_asked_for() {
    let mut state = state("listen 80\nssl_certfile /c\n");
    for (line, reads) in [
        ("blacklist 5", false),
        ("ssl_ciphers HIGH", true),
        ("ssl_ciphers HIGH", false),
        ("ssl_sni_path /d", true),
        ("ssl_sni_path /d", true),
        ("no ssl_sni_path", true),
        ("no ssl_sni_path", false),
        ("ssl_reload", true),
    ] {
        let mut world = Model::default();
        apply(&mut state, &mut world, line).unwrap();
        assert_eq!(matches!(&world.met[..], [Need::Tls(_)]), reads, "{line}");
    }
    let mut world = Model { refuses: Some(0), ..Model::default() };
    let error = refusal(&mut state, &mut world, "ssl_reload");
    assert_eq!(error, "ssl_reload: refused; what is in use stays\n");
}

#[test]
fn a_server_that_moves_is_no_longer_blacklisted() {
    let mut state = state("listen 80\nserver 0 address 10.0.0.1 port 1\nserver 1 address 10.0.0.2 port 1\n");
    let mut world = Model::default();
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
    let mut world = Model::default();
    let held = Arc::clone(state.stats.server(1));
    assert!(held.acquire(None));
    let (_, effects) = apply(&mut state, &mut world, "no server 1").unwrap();
    let places: Vec<bool> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Publish(..) => Some(false),
            Effect::Forget(1) => Some(true),
            _ => None,
        })
        .collect();
    assert_eq!(places, [false, true], "{effects:?}");
    let line = "1 addr 10.0.0.2 port 1 conn 1 max 0 hard 0 weight 0 prio 0 sx 0 rx 0\n";
    assert!(servers(&state).ends_with(line));
    // The slot has another server meanwhile.
    apply(&mut state, &mut world, "server 1 address 10.0.0.3 port 1").unwrap();
    let shown = servers(&state);
    let (_, shown) = shown.split_once(line).unwrap();
    assert!(shown.starts_with("1 addr 10.0.0.3 port 1 conn 0 "), "{shown}");
    held.release();
    assert_eq!(servers(&state).lines().count(), 2);
    apply(&mut state, &mut world, "no server 1").unwrap();
    assert!(!written(&mut state).contains("server 1"));
    let error = "no server: expected a server that there is, got '1'\n";
    assert_eq!(refusal(&mut state, &mut world, "no server 1"), error);
    // In a file it says that there is to be none.
    world.files.insert("g".into(), "no server 1\nno server 9\n".into());
    apply(&mut state, &mut world, "include g").unwrap();
}

#[test]
fn what_a_file_no_longer_names_is_told() {
    let mut state = state("listen 80\n");
    let mut world = Model::default();
    let mut reload = |text: &str| {
        world.files.insert("f".into(), text.into());
        state.reload(&mut world).map(|(reload, _)| reload.notices)
    };
    let (one, two) = ("server 0 address 10.0.0.1 port 1\n", "server 1 address 10.0.0.2 port 1\n");
    assert_eq!(reload(&format!("{one}{two}")), Ok(Vec::new()));
    assert_eq!(
        reload(one),
        Ok(vec!["f names no longer, and pen keeps: server 1 address 10.0.0.2 port 1".into()])
    );
    assert_eq!(
        reload("udp\n"),
        Ok(vec![
            "f:1: udp: a change needs a restart of pen".into(),
            "f names no longer, and pen keeps: server 0 address 10.0.0.1 port 1".into(),
        ])
    );
    assert_eq!(reload("blacklist x\nhash on\n").unwrap_err().len(), 2);
}

#[test]
fn an_exact_reload_takes_back_what_nobody_names() {
    let file = "listen 80\nreload_mode exact\nblacklist 5\nconn_max 700\nuser nobody\nssl_option no_tlsv1\n\
                acl 1 deny 10.0.0.9\nserver 0 address 10.0.0.1 port 1 max 3\nserver 1 address 10.0.0.2 port 1\n";
    let mut state = state(file);
    state.command_line = config("timeout 7\nserver 4 address 10.0.0.5 port 5\n");
    let mut world = Model::default();
    world.files.insert("f".into(), file.into());
    // At start the command line is in force too.
    let (reload, _) = state.reload(&mut world).unwrap();
    assert_eq!(reload.to_string(), "timeout 7\nserver 4 address 10.0.0.5 port 5\n");
    assert_eq!(state.reload(&mut world).unwrap().0, Reload::default());
    for line in ["hash", "no server 4", "server 2 address 10.0.0.3 port 1", "timeout 9"] {
        apply(&mut state, &mut world, line).unwrap();
    }
    let file = "reload_mode exact\nserver 0 address 10.0.0.1 port 1\n";
    world.files.insert("f".into(), file.into());
    let before = state.config.clone();
    let changes = "no hash\nblacklist 30\ntimeout 7\nno ssl_option\nno acl 1\nserver 0 max 0\nno server 1\n\
                   no server 2\nserver 4 address 10.0.0.5 port 5\n\
                   # f does not name, and pen keeps until a restart: conn_max 700\n\
                   # f does not name, and pen keeps until a restart: listen 80\n\
                   # f does not name, and pen keeps until a restart: user nobody\n";
    assert_eq!(reply_of(&mut state, &mut world, "diff"), changes);
    assert_eq!(state.config, before);
    let mut forgotten = Vec::new();
    let (reload, effects) = state.reload(&mut world).unwrap();
    assert_eq!(reload.to_string(), changes);
    effects.iter().for_each(|effect| {
        if let Effect::Forget(n) = effect {
            forgotten.push(*n)
        }
    });
    assert_eq!(forgotten, [1, 2]);
    assert_eq!(reply(&mut state, "timeout"), "7\n");
    assert_eq!(reply(&mut state, "conn_max"), "700\n");
    // That mode, too, is a setting that the file names or not.
    world.files.insert("f".into(), "server 0 address 10.0.0.1 port 1\n".into());
    assert_eq!(state.reload(&mut world).unwrap().0.changes[0].to_string(), "reload_mode keep");
    apply(&mut state, &mut world, "hash").unwrap();
    assert_eq!(state.reload(&mut world).unwrap().0, Reload::default());
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
    let mut world = Model::default();
    for line in ["server 0 state drain", "server a state maint"] {
        apply(&mut state, &mut world, line).unwrap();
    }
    world.files.insert("f".into(), file.into());
    assert_eq!(state.reload(&mut world).unwrap().0, Reload::default());
    world.files.insert("f".into(), format!("{file}server a state ready\n"));
    let (reload, _) = state.reload(&mut world).unwrap();
    assert_eq!(reload.to_string(), "server 1 state ready\n");
}

#[test]
fn each_setting_that_stays_is_told_when_the_file_names_it_no_longer() {
    let mut state = state("listen 80\n");
    let mut world = Model::default();
    let mut reload = |text: &str| {
        world.files.insert("f".into(), text.into());
        state.reload(&mut world).map(|(reload, _)| reload.notices).unwrap()
    };
    let server = "server 0 address 10.0.0.1 port 1";
    let all = format!("{server} max 5\nblacklist 5\nhash\nclients_max 2048\nacl 2 permit 10.0.0.1\nlog /l\n");
    assert_eq!(reload(&all), Vec::<String>::new());
    let kept = reload(&format!("{server}\n"));
    let told: Vec<&str> =
        kept.iter().map(|line| line.strip_prefix("f names no longer, and pen keeps: ").unwrap()).collect();
    assert_eq!(
        told,
        ["hash", "blacklist 5", "log /l", "acl 2 permit 10.0.0.1 255.255.255.255", "server 0 max 5"]
    );
    // Once.
    assert_eq!(reload(&format!("{server}\n")), Vec::<String>::new());
}

#[test]
fn a_change_that_leaves_nobody_to_serve_is_refused_with_its_reason() {
    let one = "listen 80\nserver 0 address 10.0.0.1 port 1\n";
    let mut state = state(one);
    let mut world = Model::default();
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
    // Not where somebody serves all the same, and not where nobody did before.
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
    let mut world = Model::default();
    let mut lookups = |line: &str| {
        let (_, effects) = apply(&mut state, &mut world, line).unwrap();
        let lookups = effects.into_iter().find_map(|effect| match effect {
            Effect::LookUp(lookups) => Some(lookups),
            _ => None,
        });
        let Lookups { names, again } = lookups.unwrap();
        let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
        (list(names), list(again))
    };
    assert_eq!(lookups("blacklist 3"), ("a.example".into(), String::new()));
    assert_eq!(
        lookups("server 0 address 10.0.0.1 address a.example"),
        ("a.example".into(), "a.example".into())
    );
    assert_eq!(lookups("server 0 address b.example address 10.0.0.1"), (String::new(), String::new()));
    assert_eq!(lookups("emergency c.example:1"), ("c.example".into(), "c.example".into()));
}

#[test]
fn addresses_are_published_when_they_are_news() {
    let mut state = state("listen 80\nserver 0 address a.example port 1\n");
    let found = vec!["10.0.0.1".parse().unwrap()];
    assert!(!state.found("a.example".into(), found.clone()).is_empty());
    assert_eq!(servers(&state).split(' ').nth(2), Some("10.0.0.1"));
    assert!(state.found("a.example".into(), found).is_empty());
}

#[test]
fn limits_of_the_system_show() {
    let mut state = state("listen 80\nconn_max 2000\n");
    assert_eq!(reply(&mut state, "conn_max"), "1000\n");
    assert_eq!(reply(&mut state, "connection 1000"), "Connection 1000 out of range\n");
    assert!(state.begin().iter().any(|effect| matches!(effect, Effect::ShortOfDescriptors(1000))));
}

#[test]
fn a_pen_that_stops_does_not_move() {
    let mut state = state("listen 80\nstop_timeout 1\n");
    assert_eq!(state.stop(), Some(Duration::from_secs(1)));
    let error = refusal(&mut state, &mut Model::default(), "listen 81");
    assert_eq!(error, "listen: pen is stopping and takes no new clients\n");
    assert_eq!(reply(&mut state, "blacklist 5"), "5\n");
}

#[test]
fn a_server_that_is_pen_itself_is_refused_by_its_name_too() {
    let mut state = state("listen 10.0.0.9:80\nserver 0 address 10.0.0.1 port 1\n");
    let mut world = Model::default();
    apply(&mut state, &mut world, "server 1 address a.example port 1").unwrap();
    state.found("a.example".into(), vec!["10.0.0.8".parse().unwrap(), "10.0.0.9".parse().unwrap()]);
    let reason = |what: &str, address: &str| {
        format!("{what}: {address} is where pen listens: it would be its own client\n")
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
fn a_reload_tells_what_has_become_odd_with_its_line() {
    let mut state = state("listen 80\nserver 0 address 10.0.0.1 port 1\n");
    let mut world = Model::default();
    let file = "server 0 address 10.0.0.1 port 1\nserver 1 address 10.0.0.1 port 1\n";
    world.files.insert("f".into(), file.into());
    let (reload, _) = state.reload(&mut world).unwrap();
    assert_eq!(reload.notices, ["f:2: server 1: it has the address and the port of server 0"]);
    assert_eq!(state.reload(&mut world).unwrap().0, Reload::default());
}

#[test]
fn exit_needs_leave() {
    for (lines, stops) in [("listen 80\n", false), ("listen 80\nenable_exit\n", true)] {
        let mut state = state(lines);
        let (reply, effects) = apply(&mut state, &mut Model::default(), "exit").unwrap();
        assert_eq!(effects.iter().any(|effect| matches!(effect, Effect::Stop)), stops);
        let text = if stops { "" } else { "Exit is not enabled; restart with -X flag\n" };
        assert_eq!(reply, Answer::Text(text.into()));
    }
}

#[test]
fn a_pen_that_gave_up_programs_says_that_a_restart_is_needed() {
    let mut world = Model::default();
    let mut state =
        state("listen 80\nserver 0 address 10.0.0.1 port 1\ncheck db type exec program /bin/true\n");
    let refused = refusal(&mut state, &mut world, "server 0 check db");
    assert_eq!(
        refused,
        "a check of the type exec in a pen that was started without one: a change needs a restart of pen\n"
    );
    state.programs = true;
    apply(&mut state, &mut world, "server 0 check db").unwrap();
}
