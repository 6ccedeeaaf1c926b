//! penlogd with entries and lines as fast as one sender can send.

use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::procfs;

/// How long datagrams are sent.
const FLOOD: Duration = Duration::from_secs(3);

/// A row of the table.
pub(super) fn row(who: &str, program: &Path, dir: &Path) -> Result<String, String> {
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
