//! `make bench`: pen side by side with no proxy, C pen, HAProxy, nginx stream and hitch, in one run.
//!
//! The program is also its own server (`backend`), client (`load`) and lower bound (`bare`), each in a separate
//! process.

mod about;
mod args;
mod backend;
mod bare;
mod checks;
mod contender;
mod failover;
mod filling;
mod load;
mod logs;
mod netns;
mod process;
mod procfs;
mod report;
mod rows;
mod stats;
mod tls_backend;
mod verdict;
mod watch;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((word, _)) if word == "backend" => backend::serve().map_err(|e| format!("server: {e}")),
        Some((word, rest)) if word == "tls-backend" => tls_backend::serve(rest),
        Some((word, rest)) if word == "load" => {
            load::Task::from_args(rest).and_then(|task| load::run(&task)).map(|outcome| println!("{outcome}"))
        }
        Some((word, rest)) if word == "bare" => bare::run(rest),
        Some((word, rest)) if word == "hold" => process::hold(rest),
        Some((word, rest)) if word == "logs" => logs::run(rest),
        Some((word, rest)) if word == "checks" => checks::run(rest),
        Some((word, rest)) if word == "checks-alone" => checks::alone(rest),
        Some((word, rest)) if word == "filling" => filling::run(rest),
        Some((word, rest)) if word == "failover" => failover::run(rest),
        Some((word, rest)) if word == "failover-server" => failover::serve(rest),
        _ => args::parse().and_then(|options| bench(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("pen-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The descriptors of each process, if they are allowed.
const DESCRIPTORS: u64 = 110_000;

/// Measures every row asked for and prints the report.
fn bench(options: &args::Options) -> Result<(), String> {
    netns::enter()?;
    raise_descriptors()?;
    let dir = tempfile::tempdir().map_err(|e| format!("temporary directory: {e}"))?;
    let backend = process::Backend::start()?;
    let mut setup = contender::Setup {
        dir: dir.path().to_owned(),
        backend: backend.addr,
        tls_backends: Vec::new(),
        ours: options.ours.clone(),
        c_pen: options.c_pen.clone(),
        before: options.before.clone(),
        clients: options.clients,
        workers: std::thread::available_parallelism().map_or(1, usize::from),
    };
    setup.certify()?;
    let tls_backend = process::Backend::start_tls(&setup.pair())?;
    setup.tls_backends = std::iter::once(tls_backend.addr).chain(tls_backend.resuming).collect();
    // Below the range that the namespace gives to clients.
    let mut ports = 10_000..20_000u16;
    let mut notes = String::new();
    let mut rows = options.rows.clone();
    if let Some(why) = without_tls(&rows, &setup, &mut ports) {
        rows.retain(|row| !row.has_tls());
        notes = format!("TLS rows are left out: pen with -E: {why}\n\n");
        println!("{notes}");
    }
    let mut all = Vec::new();
    for row in rows {
        eprintln!("{}: {} rounds", row.title, options.effort.rounds);
        let measured = rows::measure(row, &setup, &options.effort, &mut ports);
        println!("{}", measured.section());
        if !row.has_tls() && measured.find(contender::Role::Ours).is_none() {
            return Err(format!("{} does not serve: see the table", setup.ours.display()));
        }
        all.push(measured);
    }
    let verdicts: String = verdict::lines(&all).iter().map(|line| format!("- {line}\n")).collect();
    println!("## Verdict\n\n{verdicts}");
    if let Some(path) = &options.out {
        let sections: Vec<String> = all.iter().map(rows::Measured::section).collect();
        let text = format!(
            "# Measured by `make bench`\n\n{}\n{notes}## Verdict\n\n{verdicts}\n{}",
            about::head(&setup, &options.effort),
            sections.join("\n")
        );
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Why TLS rows, if requested, cannot be measured.
fn without_tls(
    rows: &[&rows::Row],
    setup: &contender::Setup,
    ports: &mut impl Iterator<Item = u16>,
) -> Option<String> {
    rows.iter().find(|row| row.has_tls())?;
    let row = rows::ROWS.iter().find(|row| row.tls.is_some())?;
    let tls = load::Tls { ca: setup.ca(), resume: false };
    let pen = contender::Contender::new(contender::Role::Ours);
    process::Running::start(setup, &pen, ports.next()?, row, Some(&tls)).err()
}

/// 50,000 connections cost a proxy 100,000 descriptors; contenders inherit the limit. Root may raise it.
fn raise_descriptors() -> Result<(), String> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let fail = |e| format!("descriptor limit: {e}");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(fail)?;
    if setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, hard.max(DESCRIPTORS)).is_ok() {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(DESCRIPTORS), hard).map_err(fail)
}
