//! mergelogs: merges pen's log with the logs of the web servers, after the fact.
//!
//! It runs in one pass, in order of time: memory holds the lines and the entries of twice the jitter.

mod access_log;
mod compression;
mod counts;
mod doubt;
mod frontier;
mod gzip;
mod input;
mod lines;
mod merge;
mod output;
mod pen_log;
mod progress;
mod reorder;
#[cfg(test)]
mod tests;
mod window;
mod zstd;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::key::{KeyMaker, ServerName};
use super::timestamp::Zone;
use crate::core::error::{SystemReason, one_line};
use access_log::AccessLog;
use frontier::Frontier;
use input::{BytesRead, InputLog};
use merge::{Merge, Rules};
use output::{Output, about};
use pen_log::PenLog;
use progress::Progress;

/// The minimum number of seconds over which lines are sorted, however small the jitter is.
const SLACK_LEAST: i64 = 60;

/// How many bytes may be read ahead, of all logs together, to decide whether a stamp is correct; and the minimum for
/// each log.
const AHEAD: (u64, u64) = (64 << 20, 1 << 20);

/// The options of mergelogs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergelogsOptions {
    /// `-p`: pen's log.
    pub pen: PathBuf,
    /// `-d`: 1 reports each line that matches nothing, 2 also each match.
    pub debug: u32,
    /// `-j`: the maximum difference between the stamps of pen and of a web server, in seconds.
    pub jitter: i64,
    /// `-o`: the output file; standard output if `None`.
    pub output: Option<PathBuf>,
    /// `--utc`: convert the stamps to UTC.
    pub utc: bool,
    /// `--zone`: the time zone of stamps without a zone.
    pub zone: Option<Zone>,
    /// The servers, named as in pen's log, and their logs.
    pub logs: Vec<(String, PathBuf)>,
}

/// Merges the logs. Returns the exit status.
pub fn run(options: &MergelogsOptions) -> ExitCode {
    let mut tell = |text: &str| {
        // An error here could not be reported anywhere.
        let _ = writeln!(io::stderr(), "mergelogs: {}", one_line(text.to_owned()));
    };
    match merge(options, &mut tell) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tell(&SystemReason(&error).to_string());
            }
            ExitCode::FAILURE
        }
    }
}

/// False if a log could not be read to its end.
fn merge(options: &MergelogsOptions, tell: &mut dyn FnMut(&str)) -> io::Result<bool> {
    let (keys, bytes_read) = (KeyMaker::default(), BytesRead::default());
    let open = |path: &Path| InputLog::open(path, &bytes_read).map_err(|error| about(path, &error));
    let pen = open(&options.pen)?;
    let mut files: Vec<_> = pen.metadata.into_iter().collect();
    let slack = options.jitter.max(SLACK_LEAST);
    let ahead = AHEAD.1.max(AHEAD.0 / options.logs.len().max(1) as u64);
    let mut logs = Vec::new();
    for (server, path) in &options.logs {
        let InputLog { lines, metadata } = open(path)?;
        files.extend(metadata);
        let (frontier, keys) = (Frontier::new(slack, ahead), keys.server(&ServerName::parse(server)));
        logs.push(AccessLog::new(server, path, lines, frontier, options.zone.clone(), keys));
    }
    let out = Output::open(options.output.as_deref(), files.iter())?;
    let progress = Progress::new(bytes_read, files.iter().map(std::fs::Metadata::len).sum());
    let servers = options.logs.iter().map(|(server, _)| server.as_str());
    let pen = PenLog::new(pen.lines, slack, &keys, servers);
    let rules = Rules { jitter: options.jitter, slack, utc: options.utc, debug: options.debug };
    let mut merge = Merge::new(rules, pen, &options.pen, out, progress, tell);
    let result = merge.run(&mut logs);
    result?;
    let (counts, whole, pen) = (merge.counts, merge.whole, merge.pen);
    for message in counts.messages(&options.pen, slack, pen.bad) {
        tell(&message);
    }
    let of_logs = logs.iter().map(|log| (&log.path, &log.lines, log.stamps.unclear.as_slice()));
    for (path, lines, zones) in of_logs.chain([(&options.pen, &pen.lines, &[][..])]) {
        counts::of_log(path, lines.cut, lines.nuls, zones).iter().for_each(|message| tell(message));
    }
    Ok(whole)
}
