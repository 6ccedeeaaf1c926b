//! Commands that come while clients are served.

use std::fs;

use nix::sys::signal::Signal;

use super::Random;
use crate::support::{Pen, wait_until};

/// A command that changes which of three servers get clients, or one of these `modes`. Server 0 is always there.
pub(crate) fn selection(random: &mut Random, modes: &[&str]) -> String {
    match random.below(3) {
        0 => format!("server {} blacklist {}", 1 + random.below(2), random.below(2)),
        1 => format!("server {} weight {}", random.below(3), 1 + random.below(5)),
        _ => {
            let no = if random.one_in(2) { "no " } else { "" };
            format!("{no}{}", random.one_of(modes))
        }
    }
}

/// Has pen read its file `conf` again, with other times.
pub(crate) fn reload(pen: &Pen, random: &mut Random) {
    let n = random.below(3);
    fs::write(pen.file("conf"), format!("timeout {}\nblacklist {n}\n", 5 + n)).unwrap();
    pen.signal(Signal::SIGHUP);
}

/// Sends a command, which pen must carry out.
pub(crate) fn carry_out(pen: &Pen, command: &str) {
    wait_until(command, || {
        let reply = pen.control(command);
        // Until the last worker has left an address, pen itself still has it.
        let in_use = command.starts_with("listen ") && reply.contains("in use");
        assert!(!reply.starts_with("error: ") || in_use, "{command}: {reply}");
        !in_use
    });
}
