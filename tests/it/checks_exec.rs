//! Checks by programs, which are called as Solaris ILB calls a test.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::backend::greeters;
use crate::support::schema::valid;
use crate::support::{Pen, Setup, process, wait_for, wait_until};

/// A program in the directory of `setup`.
fn program(setup: &Setup, name: &str, script: &str) -> String {
    let path = setup.write(name, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn reason(pen: &Pen, server: usize) -> String {
    wait_for("a result", || {
        let checks = valid("checks", &pen.control("json checks"));
        checks["checks"][server]["reason"].as_str().map(str::to_owned)
    })
}

#[test]
fn a_program_is_told_the_server_and_says_how_it_is() {
    let backends = greeters(3);
    let setup = Setup::new();
    let well = program(
        &setup,
        "well",
        &format!(
            "echo \"$@\" >>{0}/args; ls /proc/self/fd >{0}/open.$$; mv {0}/open.$$ {0}/open; id -u >{0}/user; echo 250",
            setup.path().display()
        ),
    );
    let dead = program(&setup, "dead", "echo -1");
    let odd = program(&setup, "odd", "echo 0; exit 3");
    let mut setup = setup.options("-r");
    for (name, path) in [("well", &well), ("dead", &dead), ("odd", &odd)] {
        setup = setup.command(format!("check {name} type exec program {path} timeout 5.5 every 0.1"));
    }
    // Whoever starts pen has something open that is for nobody else.
    let leaky = program(&setup, "leaky", "exec 9</dev/null\nexec \"$@\"");
    let pen = setup.wrapper(&leaky).servers(&backends).start();
    for (n, check) in ["well", "dead", "odd"].iter().enumerate() {
        assert_eq!(pen.control(&format!("server {n} check {check}")), "");
    }
    assert_eq!(pen.control("wait 0 up 20"), "");
    assert_eq!(reason(&pen, 0), "the program measured 250 microseconds");
    assert_eq!(reason(&pen, 1), "the program says that it is dead");
    assert_eq!(reason(&pen, 2), "the program ended with exit status: 3");
    assert_eq!(pen.choices([2, 3, 4]), "A A A");
    let args = pen.read("args");
    let expected = format!("127.0.0.1 127.0.0.1 TCP {} 5.5", backends[0].port());
    assert_eq!(args.lines().next(), Some(expected.as_str()));
    // Standard input, output and error, the directory that ls reads, and the script that the shell reads (10 or 255).
    let open = pen.read("open");
    let foreign = |fd: &&str| !["0", "1", "2", "3", "10", "255"].contains(fd);
    assert_eq!(open.lines().filter(foreign).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(pen.control("check well program /nonexistent"), "");
    pen.says("cannot check server 0 (127.0.0.1:");
    // That is not the server's fault.
    assert_eq!(pen.control("wait 0 down 0").lines().count(), 1);
}

#[test]
fn a_program_whose_time_is_over_is_killed_with_all_that_it_has_started() {
    let backends = greeters(1);
    let setup = Setup::new();
    let path = setup.path().display().to_string();
    let hung = program(&setup, "hung", &format!("sleep 1000 &\necho $$ $! >>{path}/pids\nwait"));
    let pen = setup
        .command(format!("check hung type exec program {hung} timeout 0.5 every 30 fall 1"))
        .command("check_default hung")
        .servers(&backends)
        .start();
    assert_eq!(pen.control("wait 0 down 20"), "");
    assert_eq!(reason(&pen, 0), "no end of the program after 0.5 s");
    let pids: Vec<i32> =
        pen.read("pids").lines().next().unwrap().split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    wait_until("both to be gone", || pids.iter().all(|pid| !process::is_alive(*pid)));
}

#[test]
fn programs_are_few_at_a_time() {
    let setup = Setup::new();
    let path = setup.path().display().to_string();
    // Each waits to be let go.
    let slow = program(
        &setup,
        "slow",
        &format!(
            "touch {path}/run.$$; while [ ! -e {path}/go ]; do sleep 0.05; done; rm {path}/run.$$; echo 0"
        ),
    );
    let running = |setup: &std::path::Path| {
        let names = fs::read_dir(setup).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("run.")).count()
    };
    let mut setup = setup
        .command(format!("check slow type exec program {slow} timeout 60 every 30"))
        .command("check_default slow");
    for n in 0..20 {
        setup = setup.command(format!("server {n} address 127.0.0.1 port 9"));
    }
    let pen = setup.start();
    wait_until("16 programs", || running(pen.path()) == 16);
    assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
    assert_eq!(running(pen.path()), 16);
    pen.write("go", "");
    (0..20).for_each(|n| assert_eq!(pen.control(&format!("wait {n} up 30")), ""));
}
