//! Commands: their needs and their effects.

use super::*;

#[test]
fn what_can_fail_is_asked_first_and_tells_its_setting() {
    let mut state = state("listen 80\n");
    let mut world = TestWorld { refuses: Some(0), ..TestWorld::default() };
    assert_eq!(refusal(&mut state, &mut world, "listen 81"), "listen: refused\n");
    assert_eq!(refusal(&mut state, &mut world, "log /l"), "log: refused\n");
    assert_eq!(reply(&mut state, "listen"), "80\n");
    // In a file: the error names the line of the setting, and the rest is not applied.
    world.files.insert("g".into(), "blacklist 9\nlog /l\n".into());
    world.refuses = Some(0);
    assert_eq!(refusal(&mut state, &mut world, "include g"), "g:2: log: refused\n");
    assert_eq!(reply(&mut state, "blacklist"), "30\n");
}

#[test]
fn a_socket_is_bound_when_nothing_is_left_to_wait_for() {
    let mut state = state("listen 80\nssl_certfile /c\n");
    let mut world = TestWorld::default();
    world.files.insert("g".into(), "listen 81\nlog /l\nconnection_log /m\nssl_ciphers HIGH\n".into());
    apply(&mut state, &mut world, "include g").unwrap();
    assert!(matches!(&world.met[..], [Need::Tls(_), Need::Log(..), Need::Log(..), Need::Listener(..)]));
}

#[test]
fn an_address_written_differently_keeps_the_socket() {
    let mut state = state("listen 80\n");
    let mut world = TestWorld::default();
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
        let mut world = TestWorld::default();
        apply(&mut state, &mut world, line).unwrap();
        assert_eq!(matches!(&world.met[..], [Need::Tls(_)]), reads, "{line}");
    }
    let mut world = TestWorld { refuses: Some(0), ..TestWorld::default() };
    let error = refusal(&mut state, &mut world, "ssl_reload");
    assert_eq!(error, "ssl_reload: refused; the old files stay in use\n");
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
    let error = refusal(&mut state, &mut TestWorld::default(), "listen 81");
    assert_eq!(error, "listen: pen is stopping and takes no new clients\n");
    assert_eq!(reply(&mut state, "blacklist 5"), "5\n");
}

#[test]
fn exit_needs_leave() {
    for (lines, stops) in [("listen 80\n", false), ("listen 80\nenable_exit\n", true)] {
        let mut state = state(lines);
        let (reply, effects) = apply(&mut state, &mut TestWorld::default(), "exit").unwrap();
        assert_eq!(effects.iter().any(|effect| matches!(effect, Effect::Stop)), stops);
        let text = if stops { "" } else { "Exit is not enabled; restart with -X flag\n" };
        assert_eq!(reply, Answer::Text(text.into()));
    }
}

#[test]
fn a_pen_that_gave_up_programs_says_that_a_restart_is_needed() {
    let mut world = TestWorld::default();
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
