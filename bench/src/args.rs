//! The command line of the bench.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};

use crate::contender::Contender;
use crate::process;
use crate::rows::{Effort, ROWS, Row};

pub(crate) struct Options {
    pub(crate) ours: PathBuf,
    pub(crate) c_pen: PathBuf,
    pub(crate) before: Option<PathBuf>,
    pub(crate) clients: u32,
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) effort: Effort,
    pub(crate) out: Option<PathBuf>,
}

fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let keys: Vec<&str> = ROWS.iter().map(|r| r.key).collect();
    let path = value_parser!(PathBuf);
    Command::new("pen-bench")
        .about("pen side by side with no proxy, C pen, HAProxy, nginx stream and hitch")
        .arg(text("ours", "PATH", "the pen to measure [target/release/pen]").value_parser(path.clone()))
        .arg(
            text("c-pen", "PATH", "the C pen to compare with")
                .value_parser(path.clone())
                .default_value("/usr/bin/pen"),
        )
        .arg(
            text("before", "PATH", "a build of pen from before a change, to compare with")
                .value_parser(path.clone()),
        )
        .arg(text("rows", "ROW,...", "measure these rows alone").value_delimiter(',').value_parser(keys))
        .arg(text("rounds", "N", "rounds a row [21]").value_parser(value_parser!(u32).range(1..)))
        .arg(text("seconds", "S", "length of a round [0.5]").value_parser(value_parser!(f64)))
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("3 rounds of 0.2 s: does it run at all?"),
        )
        .arg(
            text(
                "clients",
                "N",
                "clients that pen knows in the rows watched and asked [1000000; 20000 with --quick]",
            )
            .value_parser(value_parser!(u32).range(1..=8_000_000)),
        )
        .arg(
            text(
                "variant",
                "NAME=ARG|ARG...",
                "measure our pen with more arguments too, e.g. 'one worker=-O|workers 1'",
            )
            .action(ArgAction::Append)
            .value_parser(Contender::variant),
        )
        .arg(text("out", "FILE", "write the report there").value_parser(path))
}

/// Reads the command line. Help and usage errors end the program.
pub(crate) fn parse() -> Result<Options, String> {
    let found = command().get_matches();
    let quick = found.get_flag("quick");
    let rounds = found.get_one::<u32>("rounds").copied().unwrap_or(if quick { 3 } else { 21 });
    let seconds = found.get_one::<f64>("seconds").copied().unwrap_or(if quick { 0.2 } else { 0.5 });
    if !(0.01..=60.0).contains(&seconds) {
        return Err(format!("--seconds {seconds}: from 0.01 to 60"));
    }
    let wanted: Vec<&String> = found.get_many("rows").into_iter().flatten().collect();
    let rows = ROWS.iter().filter(|r| wanted.is_empty() || wanted.iter().any(|w| *w == r.key)).collect();
    Ok(Options {
        ours: found.get_one::<PathBuf>("ours").cloned().map_or_else(default_pen, Ok)?,
        c_pen: found.get_one::<PathBuf>("c-pen").cloned().unwrap_or_default(),
        before: found.get_one::<PathBuf>("before").cloned(),
        clients: found.get_one("clients").copied().unwrap_or(if quick { 20_000 } else { 1_000_000 }),
        rows,
        effort: Effort {
            rounds: rounds as usize,
            length: Duration::from_secs_f64(seconds),
            before: found.contains_id("before"),
            variants: found.get_many("variant").into_iter().flatten().cloned().collect(),
        },
        out: found.get_one("out").cloned(),
    })
}

/// `pen` in the directory of this program: `cargo build --release` builds both.
fn default_pen() -> Result<PathBuf, String> {
    process::own_program().map(|own| own.with_file_name("pen"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn command_line_is_sound() {
        super::command().debug_assert();
    }
}
