//! What this program does when it is started in a role. A role ends with what its test looks at: a status, a line.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use nix::unistd::{alarm, getgroups, getpid, getppid, getsid};
use pen::sys::daemon::{Fork, Ready, detach};
use pen::sys::log::{self, Target};
use pen::sys::pidfile::PidFile;
use pen::sys::privileges::{Account, confine};
use pen::sys::{crash, listen, socket, splice};

/// Ends what a failing test would leave behind.
fn limit_life() {
    alarm::set(60);
}

fn argument(number: usize) -> PathBuf {
    env::args_os().nth(number).expect("argument").into()
}

pub(crate) fn play(role: &str) -> ExitCode {
    limit_life();
    match role {
        "serves" => serves(),
        "fails" => child(|ready| ready.fail("no such thing")),
        "fails with a status" => child(|_| ExitCode::from(3)),
        "ends in silence" => child(|_| ExitCode::SUCCESS),
        "crashes" => child(|_| process::abort()),
        "loses its starter" => child(loses_its_starter),
        "has a thread" => has_a_thread(),
        "confined" => confined(),
        "confined by nobody" => {
            become_user("nobody");
            confined()
        }
        "cores" => cores(),
        "syslog" => syslog(),
        "syslog restarts" => syslog_restarts(),
        "stderr" => stderr(),
        "stderr is stuck" => stderr_is_stuck(),
        "panics" => panics(),
        "portable" => portable(),
        other => panic!("no role {other}"),
    }
}

/// Detaches; the child then does `then`.
fn child(then: impl FnOnce(Ready) -> ExitCode) -> ExitCode {
    match detach().expect("nothing is in the way") {
        Fork::Parent(status) => status,
        Fork::Child(ready) => {
            limit_life();
            then(ready)
        }
    }
}

/// A whole daemon: its socket is bound before it detaches; it tells its first client what it is, and ends.
fn serves() -> ExitCode {
    let (listener, _file) = listen::bind_unix(&argument(1), Some(0o600), 5).expect("binds");
    listener.set_nonblocking(false).expect("waits here");
    println!("from the parent, once");
    child(move |ready| {
        let _pid = PidFile::write(&argument(2)).expect("pid file");
        ready.release().expect("somebody waits");
        println!("nobody sees this");
        let (mut client, _) = listener.accept().expect("a client");
        let leader = getsid(None) == Ok(getpid());
        let directory = env::current_dir().expect("directory");
        writeln!(client, "{} {leader} {}", process::id(), directory.display()).expect("writes");
        ExitCode::SUCCESS
    })
}

/// Waits until the test has ended the starter, then tries to say that it serves.
fn loses_its_starter(ready: Ready) -> ExitCode {
    let mut test = UnixStream::connect(argument(1)).expect("the test listens");
    let starter = getppid();
    writeln!(test, "{starter}").expect("writes");
    test.read_exact(&mut [0]).expect("the test has done it");
    let error = ready.release().expect_err("nobody waits");
    writeln!(test, "{error}").expect("writes");
    ExitCode::FAILURE
}

fn has_a_thread() -> ExitCode {
    let (_stay, gate) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || gate.recv());
    println!("{}", detach().expect_err("unsound"));
    ExitCode::SUCCESS
}

fn become_user(user: &str) {
    confine(None, Some(&Account::lookup(user).expect("a user")), false).expect("becomes that user");
}

/// Becomes the user of the first argument, in the directory of the second if there is one; tells what it is then.
fn confined() -> ExitCode {
    let user = argument(1);
    let account = Account::lookup(user.to_str().expect("text")).expect("a user");
    let jail = env::args_os().nth(2).map(PathBuf::from);
    match confine(jail.as_deref(), Some(&account), false) {
        Err(error) => println!("error: {error}"),
        Ok(()) => {
            let groups =
                getgroups().expect("groups").iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let directory = env::current_dir().expect("directory");
            let passwd = Path::new("/etc/passwd").exists();
            println!("uid {} gid {} groups {groups}", nix::unistd::geteuid(), nix::unistd::getegid());
            println!("directory {} passwd {passwd}", directory.display());
            if !nix::unistd::geteuid().is_root() {
                println!("root again {}", nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).is_ok());
            }
        }
    }
    ExitCode::SUCCESS
}

/// Changes its user, which forbids a core file, and asks for one.
fn cores() -> ExitCode {
    if let Some(user) = env::args().nth(1) {
        become_user(&user);
    }
    crash::allow_core(true);
    crash::abort()
}

/// Logs through the /dev/log of its first jail from inside a second one, where there is none.
fn syslog() -> ExitCode {
    nix::unistd::chroot(&argument(1)).expect("root may");
    log::set_identity(Some("edge"), "local3");
    log::connect();
    confine(Some(Path::new("/jail")), None, false).expect("root may");
    assert!(!Path::new("/dev/log").exists());
    log::start(Target::Syslog).expect("thread");
    log::set_debug_level(1);
    log::error(format_args!("an error"));
    log::warn(format_args!("100%s sure\nand no second line"));
    log::info(format_args!("information"));
    log::flush(Duration::from_secs(30));
    log::line("a line of another log");
    log::debug(1, format_args!("first level"));
    log::debug(2, format_args!("second level"));
    log::flush(Duration::from_secs(30));
    ExitCode::SUCCESS
}

/// Logs once to each of two syslogds that come after each other.
fn syslog_restarts() -> ExitCode {
    nix::unistd::chroot(&argument(1)).expect("root may");
    let (mut test, _) =
        UnixListener::bind("/steps").and_then(|steps| steps.accept()).expect("the test connects");
    log::connect();
    log::start(Target::Syslog).expect("thread");
    for name in ["first", "second"] {
        log::warn(format_args!("{name}"));
        log::flush(Duration::from_secs(30));
        test.write_all(b"x").expect("writes");
        test.read_exact(&mut [0]).expect("the test has restarted it");
    }
    ExitCode::SUCCESS
}

fn stderr() -> ExitCode {
    log::warn(format_args!("before"));
    log::start(Target::Stderr).expect("thread");
    log::warn(format_args!("after\nand more"));
    log::flush(Duration::from_secs(30));
    ExitCode::SUCCESS
}

/// Writes far more than a pipe holds to a standard error that nobody reads.
fn stderr_is_stuck() -> ExitCode {
    log::start(Target::Stderr).expect("thread");
    for number in 0..20_000 {
        log::warn(format_args!("message {number} of many that nobody reads"));
    }
    log::flush(Duration::ZERO);
    ExitCode::SUCCESS
}

fn panics() -> ExitCode {
    log::start(Target::Stderr).expect("thread");
    crash::log_panics();
    crash::abort_on_panic(env::args().nth(1).is_some());
    panic!("the unthinkable");
}

fn portable() -> ExitCode {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
    let error = socket::transparent(&socket, "127.0.0.1".parse().expect("address")).expect_err("not here");
    println!("{} {error}", splice::Pool::new(1).take().is_none());
    fs::metadata("/dev/null").map_or(ExitCode::FAILURE, |_| ExitCode::SUCCESS)
}
