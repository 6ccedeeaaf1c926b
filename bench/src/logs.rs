//! The log suite compared with the C programs: `pen-bench logs [DIRECTORY]`, where our programs are in DIRECTORY.
//!
//! mergelogs runs on generated logs of two servers at 100 requests per second; penlogd gets entries and lines as fast
//! as one sender can send.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};

use crate::procfs;

/// The number of lines for each run of mergelogs.
const LINES: [u64; 2] = [100_000, 2_000_000];

/// Requests per second in the generated logs.
const RATE: u64 = 100;

/// The time limit for C's mergelogs, which searches a list for each line.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long datagrams are sent to penlogd.
const FLOOD: Duration = Duration::from_secs(3);

/// Measures, and prints a markdown section.
///
/// # Errors
/// A program is missing or fails.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    match args {
        [word, program, rest @ ..] if word == "time" => time(program, rest),
        [] => report(Path::new("target/release")),
        [directory] => report(Path::new(directory)),
        _ => Err("logs: allowed is one directory, that of our programs".into()),
    }
}

fn report(ours: &Path) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| format!("temporary directory: {e}"))?;
    let programs = |name: &str| [("pen's", ours.join(name)), ("C's", PathBuf::from("/usr/bin").join(name))];
    let mut text = String::from(
        "## mergelogs\n\n| | lines | seconds | CPU s | lines/CPU s | peak KB |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for lines in LINES {
        generate(dir.path(), lines).map_err(|e| format!("generated logs: {e}"))?;
        for (who, program) in programs("mergelogs") {
            text += &merge_row(who, &program, dir.path(), lines)?;
        }
    }
    text += "\n## penlogd\n\n| | lines/s | lost | CPU us a line | peak KB |\n| --- | ---: | ---: | ---: | ---: |\n";
    for (who, program) in programs("penlogd") {
        text += &flood_row(who, &program, dir.path())?;
    }
    println!("{text}");
    Ok(())
}

/// Writes pen's log and those of two servers.
fn generate(dir: &Path, lines: u64) -> std::io::Result<()> {
    let create = |name: &str| File::create(dir.join(name)).map(BufWriter::new);
    let (mut pen, mut webs) = (create("pen")?, [create("web1")?, create("web2")?]);
    // A small built-in generator: the same logs every time.
    let mut random = 88_172_645_463_325_252_u64;
    for n in 0..lines {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (at, server) = (1_700_000_000 + n / RATE, (n % 2) as usize);
        let request = format!("GET /shop/item/{n}?session={random:x} HTTP/1.1");
        writeln!(pen, "192.0.{}.{} {at} 10.0.0.{} {request}", random % 256, random / 256 % 256, server + 1)?;
        let stamp = Timestamp::from_second((at + random % 2) as i64).unwrap_or_default();
        let date = stamp.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36";
        let bytes = random % 100_000;
        let web = &mut webs[server];
        writeln!(
            web,
            r#"10.9.9.9 - - [{date}] "{request}" 200 {bytes} "http://www.example.com/start" "{agent}""#
        )?;
    }
    webs.iter_mut().try_for_each(BufWriter::flush)?;
    pen.flush()
}

fn merge_row(who: &str, program: &Path, dir: &Path, lines: u64) -> Result<String, String> {
    let name = |file: &str| dir.join(file).display().to_string();
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let out = File::create(dir.join("out")).map_err(|e| format!("out: {e}"))?;
    let child = Command::new(me)
        .args(["logs", "time"])
        .arg(program)
        .args([
            "-p",
            &name("pen"),
            &format!("10.0.0.1:{}", name("web1")),
            &format!("10.0.0.2:{}", name("web2")),
        ])
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {said}", program.display()));
    }
    let row: Vec<f64> = said.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [wall, cpu, peak] = row[..] else { return Err(format!("{}: {said}", program.display())) };
    let (more, less) = if said.contains("late") { (">", "<") } else { ("", "") };
    let rate = lines as f64 / cpu;
    Ok(format!(
        "| {who} mergelogs | {lines} | {more} {wall:.2} | {more} {cpu:.2} | {less} {rate:.0} | {peak:.0} |\n"
    ))
}

/// Runs a program to its end, in a process that has no other child, and prints its resource usage on standard error.
fn time(program: &str, args: &[String]) -> Result<(), String> {
    let begun = Instant::now();
    let mut child =
        Command::new(program).args(args).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let watch = std::thread::spawn(move || {
        let late = told.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if late {
            // It has not been waited for, so its number cannot belong to another process.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        late
    });
    let status = child.wait().map_err(|e| e.to_string())?;
    drop(tell);
    let late = watch.join().unwrap_or(false);
    if !status.success() && !late {
        return Err(format!("{program}: {status}"));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|e| e.to_string())?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    let late = if late { " late" } else { "" };
    eprintln!("{} {cpu} {}{late}", begun.elapsed().as_secs_f64(), usage.max_rss());
    Ok(())
}

fn flood_row(who: &str, program: &Path, dir: &Path) -> Result<String, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", program.display());
    let log = dir.join("penlogd.log");
    let _ = fs::remove_file(&log);
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).map_err(fail)?.port();
    let mut child = Command::new(program)
        .args(["-f", "-l"])
        .arg(&log)
        .arg(port.to_string())
        .stderr(Stdio::null())
        .spawn()
        .map_err(fail)?;
    let row = flood(who, child.id(), port, &log);
    let _ = child.kill();
    let _ = child.wait();
    row.map_err(fail)
}

fn flood(who: &str, pid: u32, port: u16, log: &Path) -> std::io::Result<String> {
    let (pen, web) = (UdpSocket::bind("127.0.0.9:0")?, UdpSocket::bind("127.0.0.2:0")?);
    let to = ("127.0.0.1", port);
    let line = |n: u64| {
        format!(
            "10.9.9.9 - - [10/Oct/2000:13:55:36 +0300] \"GET /shop/item/{n} HTTP/1.1\" 200 2326 \"-\" \"Mozilla/5.0\"\n"
        )
    };
    let size = || fs::metadata(log).map_or(0, |m| m.len());
    let begun = Instant::now();
    // C's log is written 4,096 bytes at a time.
    while size() == 0 && begun.elapsed() < Duration::from_secs(10) {
        web.send_to(line(0).as_bytes(), to)?;
    }
    let settle = || {
        let mut last = (size(), Instant::now());
        while last.1.elapsed() < Duration::from_millis(500) {
            if size() != last.0 {
                last = (size(), Instant::now());
            }
            std::thread::yield_now();
        }
        last
    };
    let before = settle().0;
    let cpu = procfs::cpu_ns(&[pid]);
    let begun = Instant::now();
    let (mut sent, mut text) = (0_u64, String::new());
    while begun.elapsed() < FLOOD {
        sent += 1;
        text.clear();
        let _ = writeln!(text, "+ 192.0.2.77 127.0.0.2 GET /shop/item/{sent} HTTP/1.1");
        pen.send_to(text.as_bytes(), to)?;
        web.send_to(line(sent).as_bytes(), to)?;
    }
    let (after, end) = settle();
    let cpu = procfs::cpu_ns(&[pid]) - cpu;
    let bytes = fs::read(log)?;
    let lines = bytes[before as usize..after as usize].iter().filter(|&&b| b == b'\n').count() as f64;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .map_or("", |l| l.trim().trim_end_matches(" kB"));
    Ok(format!(
        "| {who} penlogd | {:.0} | {:.1} % | {:.2} | {peak} |\n",
        lines / end.duration_since(begun).as_secs_f64(),
        100.0 - 100.0 * lines / sent as f64,
        cpu as f64 / lines / 1000.0,
    ))
}
