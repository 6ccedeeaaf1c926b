//! A pen that is killed while a client of its control socket waits for a reply.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use nix::sys::signal::Signal;

use crate::it::penctl::text;
use crate::support::backend::greeters;
use crate::support::client::End;
use crate::support::pen::{penctl_program, run_penctl};
use crate::support::port::reserve;
use crate::support::{Backend, Client, Pen, Setup, wait_until};

/// The number of commands that may wait, and what all of them wait for in vain.
const PLACES: usize = 16;
const DOWN: &str = "wait 1 down 86400";

/// A penctl that waits.
fn penctl(target: &str) -> Child {
    let mut command = Command::new(penctl_program());
    command.arg(target).args(DOWN.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Kills a pen for whose replies these wait. Returns what penctl has said.
#[track_caller]
fn killed(mut pen: Pen, connect: impl Fn() -> Client, target: &str) -> Output {
    let sends = |line: &str| {
        let mut client = connect();
        client.send(format!("{line}\n"));
        client
    };
    let mut clients: Vec<Client> = (1..PLACES).map(|_| sends(DOWN)).collect();
    let penctl = penctl(target);
    wait_until("all commands to wait", || sends("wait 1 up 0").text().contains("16 commands wait already"));
    pen.signal(Signal::SIGKILL);
    pen.wait();
    let output = penctl.wait_with_output().unwrap();
    // Elsewhere a Unix socket tells nothing.
    if cfg!(target_os = "linux") {
        for client in &mut clients {
            assert_eq!(client.end(), End::Reset);
        }
        let reason = "pen has ended the connection before the reply was complete";
        assert_eq!(text(&output.stderr), format!("penctl: {target}: {reason}\n"));
    }
    output
}

#[test]
fn no_reply_of_a_killed_pen_looks_like_success() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    let path = pen.control_path();
    let output = killed(pen, || Client::to_path(&path), path.to_str().unwrap());
    assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(1)));

    let pen = Setup::new().no_probe().options("-C 127.0.0.1:%").servers(&backends).start();
    let control = SocketAddr::from((Ipv4Addr::LOCALHOST, pen.second_port));
    let output = killed(pen, || Client::to(control), &control.to_string());
    assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(1)));
}

/// A pen that ends the connection of its first client without a reply, and is gone then.
fn gone() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, reserve(Ipv4Addr::LOCALHOST))).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut client: Client = socket2::Socket::from(listener.accept().unwrap().0).into();
        drop(listener);
        client.line();
    });
    address
}

#[test]
fn after_an_empty_reply_penctl_finds_out_whether_there_is_a_pen() {
    let output = run_penctl([&gone().to_string(), "blacklist", "1"]);
    assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(1)));
    let reason = "an empty reply, and no pen after it: the command may have had no effect: ";
    assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
    // It ends as it was told to.
    let output = run_penctl([&gone().to_string(), "exit"]);
    assert_eq!((text(&output.stderr), output.status.code()), (String::new(), Some(0)));
    // It may be that the answer is no.
    for (answer, status) in [("17\n", 0), ("error: control_acl does not permit 127.0.0.1\n", 0), ("", 1)] {
        let pen = Backend::new(move |mut client| match &*client.line() {
            "pid" => client.send(answer),
            line => assert_eq!(line, "roundrobin"),
        });
        let output = run_penctl([&pen.address().to_string(), "roundrobin"]);
        assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(status)), "{answer}");
    }
}
