//! What checks cost: `pen-bench checks [PEN]`, where PEN is our program.
//!
//! A thousand servers, each checked every second, and no client. They are addresses of loopback with one process behind them.
//! Beside pen: HAProxy with the same checks, and a loop that opens and closes as many connections and does nothing else.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::contender::{control, find, write};
use crate::process::{self, Backend, Running};
use crate::watch::ask;
use crate::{about, netns, procfs, verdict};

/// The number of servers.
const SERVERS: u16 = 1000;
/// How long CPU time is measured.
const LENGTH: Duration = Duration::from_secs(10);
/// How many checks the loop without pen does at a time.
const TOGETHER: u16 = 50;
const REQUEST: &[u8] = b"GET /close HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
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
    let server = backend.addr.port();
    for kind in ["tcp", "http"] {
        let alone = loop_alone(server, kind)?;
        let _ = writeln!(
            table,
            "| system calls alone, {kind} | {:.2} | {:.1} | - |",
            percent(alone),
            micros(alone)
        );
    }
    let mut verdicts = String::new();
    for (port, (name, keys)) in (10_000..).zip(KINDS) {
        let cost = observe(&ours, dir.path(), port, server, keys)?;
        let met = percent(cost.all) <= MOST * 100.0 && cost.workers <= Duration::from_millis(1);
        let _ = writeln!(verdicts, "- {name}: {}", verdict::word(met));
        let each = if keys.is_empty() { "-".into() } else { format!("{:.1}", micros(cost.all)) };
        let (share, workers) = (percent(cost.all), cost.workers.as_secs_f64() * 1e3);
        let _ = writeln!(table, "| pen, {name} | {share:.2} | {each} | {workers:.1} |");
    }
    for (port, (name, option)) in (11_000..).zip([("tcp", ""), ("http", "  option httpchk GET /close\n")]) {
        let row = match observe_haproxy(dir.path(), port, server, option) {
            Ok(cost) => format!(" {:.2} | {:.1} | - |", percent(cost), micros(cost)),
            Err(why) => format!(" skipped: {why} | | |"),
        };
        let _ = writeln!(table, "| HAProxy, {name} |{row}");
    }
    let most = MOST * 100.0;
    println!("{table}\nAt most {most:.0} % of one core, and no time of a worker:\n\n{verdicts}");
    Ok(())
}

/// In percent of one core.
fn percent(cost: Duration) -> f64 {
    cost.as_secs_f64() / LENGTH.as_secs_f64() * 100.0
}

/// In microseconds a check.
fn micros(cost: Duration) -> f64 {
    cost.as_secs_f64() * 1e6 / (f64::from(SERVERS) * LENGTH.as_secs_f64())
}

fn address(n: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + u32::from(n) + 1)
}

/// The CPU time of a process that makes as many connections.
fn loop_alone(server: u16, kind: &str) -> Result<Duration, String> {
    let out = process::held_self(&["checks-alone", &server.to_string(), kind])?.output();
    let out = out.map_err(|e| format!("system calls alone: {e}"))?;
    let nanos = String::from_utf8_lossy(&out.stdout).trim().parse();
    nanos.map(Duration::from_nanos).map_err(|_| "system calls alone: no result".into())
}

/// The program of [`loop_alone`]: `pen-bench checks-alone PORT tcp|http`. Prints its CPU time.
///
/// As pen does, it wakes up for several checks at a time, and connects without waiting: over loopback, the connection is there when the
/// call returns.
pub(crate) fn alone(args: &[String]) -> Result<(), String> {
    let [port, kind] = args else { return Err("checks-alone: a port and a kind".into()) };
    let asks = kind == "http";
    let port: u16 = port.parse().map_err(|_| "checks-alone: a port".to_owned())?;
    let pause = Duration::from_secs(1) * u32::from(TOGETHER) / u32::from(SERVERS);
    let (me, begin) = (std::process::id(), Instant::now());
    let before = procfs::cpu_ns(&[me]);
    let mut at = begin;
    let mut servers = (0..SERVERS).cycle();
    while at < begin + LENGTH {
        process::sleep_until(at);
        let mut open = Vec::with_capacity(TOGETHER.into());
        for n in servers.by_ref().take(TOGETHER.into()) {
            let target = SocketAddr::from((address(n), port));
            let mut stream = TcpStream::connect(target).map_err(|e| format!("{target}: {e}"))?;
            if asks {
                stream.write_all(REQUEST).map_err(|e| format!("{target}: {e}"))?;
            }
            open.push(stream);
        }
        for mut stream in open {
            if asks {
                stream.read(&mut [0; 1024]).map_err(|e| format!("checks-alone: {e}"))?;
            }
        }
        at += pause;
    }
    println!("{}", procfs::cpu_ns(&[me]).saturating_sub(before));
    Ok(())
}

fn observe_haproxy(dir: &Path, port: u16, server: u16, option: &str) -> Result<Duration, String> {
    let mut text = format!(
        "global\n  maxconn 2000\n\
         defaults\n  mode tcp\n  timeout connect 1s\n  timeout check 1s\n  timeout client 1m\n  timeout server 1m\n\
         frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
         backend b\n  balance roundrobin\n{option}"
    );
    for n in 0..SERVERS {
        let _ = writeln!(text, "  server s{n} {}:{server} check inter 1s", address(n));
    }
    let file = dir.join(format!("checks-haproxy-{port}.cfg"));
    write(&file, &text)?;
    let mut command = Command::new(find("haproxy")?);
    command.arg("-db").arg("-f").arg(&file);
    let running = Running::serve(&command, dir, port, false)?;
    // Its first checks are spread over an interval.
    process::sleep_until(Instant::now() + Duration::from_secs(2));
    let before = procfs::cpu_ns(&running.pids);
    process::sleep_until(Instant::now() + LENGTH);
    Ok(Duration::from_nanos(procfs::cpu_ns(&running.pids).saturating_sub(before)))
}

/// CPU time, of all threads and of the workers.
struct Cost {
    all: Duration,
    workers: Duration,
}

fn observe(ours: &Path, dir: &Path, port: u16, server: u16, keys: &str) -> Result<Cost, String> {
    let (file, control) = (dir.join(format!("checks-{port}.conf")), control(dir, port));
    let mut text = String::new();
    if !keys.is_empty() {
        text += &format!("check it {keys} every 1\ncheck_default it\n");
    }
    for n in 0..SERVERS {
        text += &format!("server {n} address {} port {server}\n", address(n));
    }
    write(&file, &text)?;
    let mut command = Command::new(ours);
    command.args(["-f", "-u", "root", "-S", "1000", "-C"]).arg(&control).arg("-F").arg(&file);
    command.arg(format!("127.0.0.1:{port}"));
    let running = Running::serve(&command, dir, port, false)?;
    if !keys.is_empty() {
        process::wait_for("all servers to be up", || {
            ask(&control, "json checks").is_ok_and(|all| {
                String::from_utf8_lossy(&all).matches(r#""health":"up""#).count() == SERVERS.into()
            })
        })?;
    }
    let pid = running.pids[0];
    let main = || procfs::thread_ns(pid, pid).ok_or("without schedstat the time of workers is unknown");
    let before = (procfs::cpu_ns(&[pid]), main()?);
    process::sleep_until(Instant::now() + LENGTH);
    let after = (procfs::cpu_ns(&[pid]), main()?);
    let all = after.0.saturating_sub(before.0);
    let main = after.1.saturating_sub(before.1);
    Ok(Cost { all: Duration::from_nanos(all), workers: Duration::from_nanos(all.saturating_sub(main)) })
}
