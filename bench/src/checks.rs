//! What checks cost: `pen-bench checks [PEN]`, where PEN is our program.
//!
//! A thousand servers, each checked every second, and no client. They are addresses of loopback with one process behind them.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{self, Backend, Running};
use crate::{about, netns, procfs};

/// The number of servers.
const SERVERS: u16 = 1000;
/// How long CPU time is measured.
const LENGTH: Duration = Duration::from_secs(20);
/// How much of one core it may take.
const MOST: f64 = 0.05;

/// The checks: a name, and the keys.
const KINDS: [(&str, &str); 4] = [
    ("none", ""),
    ("tcp", "type tcp"),
    ("http", "type http path /close expect 200"),
    ("send", "type send send \"GET /close HTTP/1.1\\r\\n\\r\\n\" expect 200"),
];

/// Measures, and prints a table.
///
/// # Errors
/// A network namespace is impossible, pen does not serve, or a program of the bench itself fails.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let ours = match args {
        [] => process::own_program()?.with_file_name("pen"),
        [program] => PathBuf::from(program),
        _ => return Err("checks: allowed is the path of a pen".into()),
    };
    netns::enter()?;
    crate::raise_descriptors()?;
    println!("# Measured by `make bench`\n\n{}", about::platform(&ours));
    let dir = tempfile::tempdir().map_err(|e| format!("temporary directory: {e}"))?;
    let backend = Backend::start()?;
    let mut table = format!(
        "## {SERVERS} servers, each checked every second\n\n\
         | check | of one core, % | us a check | workers, ms of CPU in {} s |\n| --- | ---: | ---: | ---: |\n",
        LENGTH.as_secs()
    );
    let mut verdict = "met";
    for (port, (name, keys)) in (10_000..).zip(KINDS) {
        let cost = observe(&ours, dir.path(), port, backend.addr.port(), keys)?;
        let share = cost.all.as_secs_f64() / LENGTH.as_secs_f64();
        if share > MOST || cost.workers > Duration::from_millis(1) {
            verdict = "NOT MET";
        }
        let checks = if keys.is_empty() { 0.0 } else { f64::from(SERVERS) * LENGTH.as_secs_f64() };
        let each =
            if checks > 0.0 { format!("{:.1}", cost.all.as_micros() as f64 / checks) } else { "-".into() };
        let workers = cost.workers.as_secs_f64() * 1e3;
        let _ = writeln!(table, "| {name} | {:.2} | {each} | {workers:.1} |", share * 100.0);
    }
    let most = MOST * 100.0;
    println!("{table}\nAt most {most:.0} % of one core, and no time of a worker: {verdict}");
    Ok(())
}

/// CPU time, of all threads and of the workers.
struct Cost {
    all: Duration,
    workers: Duration,
}

fn observe(ours: &Path, dir: &Path, port: u16, server: u16, keys: &str) -> Result<Cost, String> {
    let (file, control) = (dir.join(format!("checks-{port}.conf")), dir.join(format!("control-{port}")));
    let mut text = String::new();
    if !keys.is_empty() {
        text += &format!("check it {keys} every 1\ncheck_default it\n");
    }
    for n in 0..SERVERS {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + u32::from(n) + 1);
        text += &format!("server {n} address {address} port {server}\n");
    }
    fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut command = Command::new(ours);
    command.args(["-f", "-u", "root", "-S", "1000", "-C"]).arg(&control).arg("-F").arg(&file);
    command.arg(format!("127.0.0.1:{port}"));
    let running = Running::serve(&command, dir, port, false)?;
    if !keys.is_empty() {
        process::wait_for("all servers to be up", || {
            ask(&control, "json checks")
                .is_ok_and(|all| all.matches(r#""health":"up""#).count() == SERVERS.into())
        })?;
    }
    let pid = running.pids[0];
    let before = (procfs::cpu_ns(&[pid]), procfs::thread_ns(pid, pid));
    process::sleep_until(Instant::now() + LENGTH);
    let after = (procfs::cpu_ns(&[pid]), procfs::thread_ns(pid, pid));
    let all = after.0.saturating_sub(before.0);
    let main = after.1.saturating_sub(before.1);
    Ok(Cost { all: Duration::from_nanos(all), workers: Duration::from_nanos(all.saturating_sub(main)) })
}

fn ask(control: &Path, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(control)?;
    writeln!(stream, "{command}")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
