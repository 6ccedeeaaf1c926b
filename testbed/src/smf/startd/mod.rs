//! A restarter in place of svc.startd(1M): runs methods, watches contracts, restarts failed services.
//!
//! One loop owns all instances. Requests of the commands come through the door, reports of the holders through threads
//! that read them; each becomes an event. Between events every instance is moved step by step towards its target state,
//! until none changes.

pub(crate) mod broker;
pub(crate) mod contract;
pub(crate) mod depend;
mod engine;
mod instance;
mod log;
mod method;
mod outcome;
mod steps;

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, bail};

use super::RESTARTER;
use super::door::DOOR;
use super::fmri::Fmri;
use super::repo::{Group, Property, Repository};
use contract::Report;

/// An event of the loop.
pub(crate) enum Event {
    Request(String, UnixStream),
    Report(u64, Report),
}

const DAEMON: &str = "--daemon";

/// Services that manifests depend on and that every Solaris system has: here they are only marked online.
const PLACEHOLDERS: [&str; 10] = [
    "milestone/network",
    "milestone/name-services",
    "milestone/multi-user",
    "milestone/multi-user-server",
    "network/loopback",
    "network/physical",
    "system/filesystem/local",
    "system/filesystem/minimal",
    "system/filesystem/usr",
    "system/system-log",
];

/// The method of system/rbac, on systems that have that service.
const RBAC: &str = "/lib/svc/method/svc-rbac";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let words = args.raw_args()?.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    match words.first().map(String::as_str) {
        Some(contract::ARGUMENT) => contract::hold(words.get(1..).unwrap_or_default()),
        Some(DAEMON) => daemon(),
        None => launch(),
        Some(_) => bail!("svc.startd takes no arguments"),
    }
}

/// Starts the daemon and returns once it listens.
fn launch() -> anyhow::Result<u8> {
    if UnixStream::connect(DOOR).is_ok() {
        return Ok(0);
    }
    fs::create_dir_all("/var/svc/log")?;
    let log = File::options().create(true).append(true).open("/var/svc/log/svc.startd.log")?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(DAEMON)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .process_group(0);
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    if line.trim() != "ready" {
        bail!("the daemon did not start: see /var/svc/log/svc.startd.log");
    }
    Ok(0)
}

fn daemon() -> anyhow::Result<u8> {
    _ = fs::remove_file(DOOR);
    let listener = UnixListener::bind(DOOR).context(DOOR)?;
    fs::set_permissions(DOOR, Permissions::from_mode(0o666))?;
    Repository::update(|repo| {
        for name in PLACEHOLDERS {
            placeholder(repo, name, ":true");
        }
        placeholder(repo, &Fmri::parse(RESTARTER)?.service, ":true");
        if Path::new(RBAC).exists() {
            placeholder(repo, "system/rbac", &format!("{RBAC} %m"));
        }
        Ok(())
    })?;
    let (sender, events) = channel();
    let mut engine = engine::Engine::new(sender.clone());
    engine.boot();
    thread::spawn(move || listen(&listener, &sender));
    println!("ready");
    std::io::stdout().flush()?;
    engine.run(&events);
    Ok(0)
}

fn placeholder(repo: &mut Repository, name: &str, exec: &str) {
    let service = repo.services.entry(name.to_owned()).or_default();
    for method in ["start", "stop"] {
        let mut group = Group::new("method");
        group.set("exec", Property::one("astring", exec));
        group.set("timeout_seconds", Property::one("count", "0"));
        service.groups.insert(method.to_owned(), group);
    }
    let mut startd = Group::new("framework");
    startd.set("duration", Property::one("astring", "transient"));
    service.groups.insert("startd".to_owned(), startd);
    let mut text = Group::new("template");
    text.set("C", Property::one("ustring", "placeholder of the testbed"));
    service.groups.insert("tm_common_name".to_owned(), text);
    let mut general = Group::new("framework");
    general.set("enabled", Property::one("boolean", "true"));
    service.instances.entry("default".to_owned()).or_default().groups.insert("general".to_owned(), general);
}

/// Reads a request line from each connection.
fn listen(listener: &UnixListener, events: &Sender<Event>) {
    for stream in listener.incoming().flatten() {
        let events = events.clone();
        thread::spawn(move || {
            let mut line = String::new();
            let Ok(reader) = stream.try_clone() else { return };
            if BufReader::new(reader).read_line(&mut line).is_err() {
                return;
            }
            if let Some(request) = line.strip_prefix(broker::VERB) {
                _ = writeln!(&stream, "{}", broker::serve(request.trim_end(), &stream));
            } else {
                _ = events.send(Event::Request(line.trim_end().to_owned(), stream));
            }
        });
    }
}
