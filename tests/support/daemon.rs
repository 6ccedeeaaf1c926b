//! Server programs of others, run by a test: on a port of its own, with files of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::port::reserve;
use super::wait::wait_until;

/// A program that serves, with its children; killed when dropped.
pub(crate) struct Daemon {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    command: Command,
    child: Option<Child>,
}

/// The path of a program that Debian may install; `None` if it is not there.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let directories = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/lib/postfix/sbin"];
    directories.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.exists())
}

/// An address with a port that no other test gets.
pub(crate) fn free_address(ip: Ipv4Addr) -> SocketAddr {
    (ip, reserve(ip)).into()
}

impl Daemon {
    /// Starts a command that stays in the foreground and listens at `address`, and waits until it does.
    #[track_caller]
    pub(crate) fn start(address: SocketAddr, mut command: Command) -> Daemon {
        // A group of its own, so that a signal reaches its children too.
        command.process_group(0);
        let mut daemon = Daemon { address, command, child: None };
        daemon.start_again();
        daemon
    }

    /// Starts it at its address, after [`Daemon::kill`].
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        let Daemon { address, command, child } = self;
        wait_until("a server to serve", || {
            // A database refuses to start as long as a child of the one before it is there.
            let ended = child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
            if ended {
                *child = Some(command.spawn().unwrap());
            }
            TcpStream::connect(*address).is_ok()
        });
    }

    /// Its process ID.
    fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().expect("a process").id()).unwrap()
    }

    /// Sends a signal to it and its children.
    pub(crate) fn signal(&self, signal: Signal) {
        killpg(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills it and its children.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let group = i32::try_from(child.id()).unwrap();
            // It may have ended by itself.
            _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            _ = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
