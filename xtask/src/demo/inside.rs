//! The Solaris demo inside the sandbox: the commands of an administrator, from pkgadd to pkgrm.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::interrupt::Interrupt;
use super::server::Server;
use super::story::{self, step, tell};
use crate::Result;

/// The address of the service.
const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

const CONFIGURATION: &str = "/etc/pen/pen.conf";

/// On a machine with Solaris's own commands: whether there is nothing of pen that the demo could damage.
///
/// # Errors
/// What was found, in one line.
pub(super) fn untouched() -> std::result::Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root may install packages".into());
    }
    match ["/etc/pen", "/usr/bin/penctl"].iter().find(|path| Path::new(path).exists()) {
        Some(path) => Err(format!("{path} is there already, and stays as it is")),
        None => Ok(()),
    }
}

/// Installs the package and runs its service in front of two servers, then removes both. In a sandbox, `serving` is the
/// line on which the process outside prints hints for the user.
///
/// # Errors
/// A command that fails; see [`story::run`].
pub(super) fn run(package: &Path, once: bool, serving: Option<&str>, interrupt: &Interrupt) -> Result<()> {
    let package = package.to_str().ok_or("the package's name is not UTF-8")?;
    let mut servers = [Server::start("A")?, Server::start("B")?];
    step("Two web servers are up, embedded in this demo");
    servers.iter().for_each(|s| tell(&format!("server {} at {}", s.name, s.address)));

    step(match serving {
        Some(_) => "The package is installed, in a sandbox: nothing of it reaches this machine",
        None => "The package is installed",
    });
    shell(&["pkgadd", "-d", package, "SUNWpen"])?;

    step(&format!("A configuration: {CONFIGURATION}"));
    let mut lines = "listen 80\nroundrobin\nhttp\nblacklist 1\n".to_owned();
    for (n, server) in servers.iter().enumerate() {
        let address = server.address;
        lines += &format!("server {n} address {} port {}\n", address.ip(), address.port());
    }
    lines.lines().for_each(tell);
    fs::write(CONFIGURATION, lines)?;

    step("The service is enabled");
    shell(&["svcadm", "enable", "-s", "pen:default"])?;
    shell(&["svcs", "-p", "pen:default"])?;
    story::run(FRONT, &mut servers, interrupt)?;

    step("What pen says of its servers");
    shell(&["penctl", "/var/run/pen/default/control", "servers"])?;
    if !once {
        if let Some(serving) = serving {
            serve_outside()?;
            println!("{serving}");
        } else {
            step(&format!("The service goes on until you interrupt it (^C). Try: curl http://{FRONT}/"));
        }
        interrupt.wait();
    }
    step("The service is disabled and the package removed");
    shell(&["svcadm", "disable", "-s", "pen:default"])?;
    shell(&["svcs", "pen:default"])?;
    shell(&["pkgrm", "SUNWpen"])?;
    if !Path::new(CONFIGURATION).exists() || Path::new("/usr/bin/penctl").exists() {
        return Err("pkgrm did not remove what is the package's, and that alone".into());
    }
    tell(&format!("{CONFIGURATION} stays: it is the administrator's"));
    // In the demo we are the administrator.
    fs::remove_file(CONFIGURATION)?;
    Ok(())
}

/// Prints a command and runs it, answering yes to every question.
fn shell(words: &[&str]) -> Result<()> {
    let shown = if words[0] == "svcs" || words[0] == "penctl" { "$" } else { "#" };
    tell(&format!("{shown} {}", words.join(" ")));
    let mut command = Command::new(words[0]);
    let mut child = command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut answers) = child.stdin.take() {
        // A command without questions may have ended already.
        _ = answers.write_all(b"y\ny\ny\ny\n");
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = said.lines().filter(|line| !line.is_empty());
    // The list of files is long.
    let (paths, words): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with('/'));
    words.iter().for_each(|line| tell(&format!("  {line}")));
    if !paths.is_empty() {
        tell(&format!("  ... and {} paths, one a line", paths.len()));
    }
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{}: {}", words.join(" "), output.status).into())
    }
}

/// Accepts connections of the socket on standard input, which belongs to the network outside, and passes them on to
/// pen.
fn serve_outside() -> io::Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            // A connection that cannot be passed on is closed.
            _ = pass_on(client);
        }
    });
    Ok(())
}

fn pass_on(client: TcpStream) -> io::Result<()> {
    let pen = TcpStream::connect(FRONT)?;
    let back = (pen.try_clone()?, client.try_clone()?);
    for (mut from, mut to) in [(client, pen), back] {
        thread::spawn(move || {
            _ = io::copy(&mut from, &mut to);
            _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
