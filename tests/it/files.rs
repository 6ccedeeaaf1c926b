//! Files that pen is told of and that are not what they should be.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::Setup;
use crate::support::backend::greeters;
use crate::support::directory::directory;
use crate::support::pen::run_pen;

/// What has no end, or begins only when somebody writes, is refused by name and holds nothing up.
#[test]
fn fifos_and_devices_are_not_read_while_pen_serves() {
    let backends = greeters(1);
    let setup = Setup::new();
    let fifo = setup.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let mut pen = setup.servers(&backends).start();
    let fifo = fifo.to_str().unwrap();
    for file in [fifo, "/dev/zero", "/dev/full"] {
        let reply = pen.control(&format!("include {file}"));
        assert!(reply.contains(file) && reply.contains("expected a regular file"), "{reply}");
        assert_eq!(pen.choice(2), "A");
    }
    assert!(pen.terminate().unwrap().success());
}

#[test]
fn the_file_of_the_start_may_be_a_fifo_of_bounded_size() {
    let dir = directory();
    let fifo = dir.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let check = |file: &str| run_pen(["--check", "-F", file, "127.0.0.1:8080", "127.0.0.1:8081"]);
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, "roundrobin\nfrobnicate\n")
    });
    let output = check(fifo.to_str().unwrap());
    writer.join().unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("fifo:2: 'frobnicate'"), "{text}");
    let output = check("/dev/zero");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("/dev/zero: cannot be read: expected at most 16 MiB"), "{text}");
}
