//! The log suite compared with the C programs: `pen-bench logs [DIRECTORY]`, where our programs are in DIRECTORY.
//!
//! mergelogs runs on generated logs of many kinds; penlogd gets entries and lines.

mod kinds;
mod penlogd;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::stats::median;
use crate::verdict;
use kinds::{Compared, KINDS, LogKind};

/// The time limit for a run: C's mergelogs searches a list for each line.
const PATIENCE: Duration = Duration::from_secs(20);

/// The number of runs of our mergelogs and of C's, of which the median counts: ours is short.
const RUNS: [usize; 2] = [5, 1];

/// Measures, and prints a markdown section.
///
/// # Errors
/// A program is missing or fails.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    match args {
        [word, program, rest @ ..] if word == "time" => time(program, rest),
        [] => report(Path::new("target/release"), ""),
        [directory] => report(Path::new(directory), ""),
        [directory, kinds] => report(Path::new(directory), kinds),
        _ => {
            Err("logs: allowed are a directory, that of our programs, and a part of the names of kinds"
                .into())
        }
    }
}

fn report(ours: &Path, wanted: &str) -> Result<(), String> {
    let programs = |name: &str| [("pen's", ours.join(name)), ("C's", PathBuf::from("/usr/bin").join(name))];
    let mut text = String::from(
        "## mergelogs\n\n| logs | lines | pen's lines/CPU s | C's | ratio | pen's peak KB | C's |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let mut verdicts = String::new();
    for kind in KINDS.iter().filter(|kind| kind.name.contains(wanted)) {
        let [(_, ours), (_, c)] = programs("mergelogs");
        let (row, verdict) = merge_row(kind, &ours, &c)?;
        text += &row;
        verdicts.extend(verdict.map(|line| format!("- {line}\n")));
    }
    text += &format!("\n{verdicts}");
    if wanted.is_empty() {
        let dir = tempfile::tempdir().map_err(|e| format!("temporary directory: {e}"))?;
        text += "\n## penlogd\n\n| | lines/s | lost | CPU us a line | peak KB |\n| --- | ---: | ---: | ---: | ---: |\n";
        for (who, program) in programs("penlogd") {
            text += &penlogd::row(who, &program, dir.path())?;
        }
    }
    println!("{text}");
    Ok(())
}

/// The row of a kind in the table, and the verdict on it.
fn merge_row(kind: &LogKind, ours: &Path, c: &Path) -> Result<(String, Option<String>), String> {
    eprintln!("mergelogs: {}", kind.name);
    let dir = tempfile::tempdir().map_err(|e| format!("temporary directory: {e}"))?;
    kind.generate(dir.path()).map_err(|e| format!("generated logs: {e}"))?;
    let measure = |program: &Path, runs: usize| {
        let runs = (0..runs).map(|_| merge(kind, program, dir.path())).collect::<Result<Vec<_>, _>>()?;
        let cpu = median(&runs.iter().map(|run| run.cpu).collect::<Vec<_>>()).unwrap_or_default();
        let peak = runs.iter().map(|run| run.peak).fold(0.0, f64::max);
        Ok::<_, String>(Usage { cpu, peak, late: runs.iter().any(|run| run.late) })
    };
    let own = measure(ours, RUNS[0])?;
    let LogKind { name, lines, .. } = kind;
    let rate = |cpu: f64| *lines as f64 / cpu;
    let start = format!("| {name} | {lines} | {:.0} |", rate(own.cpu));
    let compared = match kind.compared {
        Compared::No(why) => return Ok((format!("{start} {why} | | {:.0} | |\n", own.peak), None)),
        compared => compared,
    };
    let theirs = measure(c, RUNS[1])?;
    let (less, more) = if theirs.late { ("< ", "> ") } else { ("", "") };
    let ratio = theirs.cpu / own.cpu;
    let row = format!(
        "{start} {less}{:.0} | {more}{ratio:.1} | {:.0} | {:.0} |\n",
        rate(theirs.cpu),
        own.peak,
        theirs.peak
    );
    let verdict = match compared {
        Compared::Bound => Some(format!("{name}: {}", verdict::at_least("lines a CPU second", ratio, 10.0))),
        Compared::Unlike(why) => Some(format!("{name}: no bound ({ratio:.1} times C's): {why}")),
        Compared::No(_) => None,
    };
    Ok((row, verdict))
}

/// What a run took.
struct Usage {
    cpu: f64,
    peak: f64,
    late: bool,
}

fn merge(kind: &LogKind, program: &Path, dir: &Path) -> Result<Usage, String> {
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let out = File::create(dir.join("out")).map_err(|e| format!("out: {e}"))?;
    let child = Command::new(me)
        .args(["logs", "time"])
        .arg(program)
        .arg("-p")
        .arg(dir.join("pen"))
        .args(kind.args)
        .args(
            (0..kind.servers).map(|n| format!("{}:{}", kinds::server(n), dir.join(kinds::log(n)).display())),
        )
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
    let [cpu, peak] = row[..] else { return Err(format!("{}: {said}", program.display())) };
    Ok(Usage { cpu, peak, late: said.contains("late") })
}

/// Runs a program to its end, in a process that has no other child, and prints its resource usage on standard error.
fn time(program: &str, args: &[String]) -> Result<(), String> {
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
    eprintln!("{cpu} {}{late}", usage.max_rss());
    Ok(())
}
