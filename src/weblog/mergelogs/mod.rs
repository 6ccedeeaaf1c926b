//! mergelogs: joins pen's log with the logs of the web servers, afterwards.
//!
//! One pass, in the order of time: memory holds the lines and the entries of twice the jitter.

mod input;
mod order;
mod web;
mod window;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::combined::unescape;
use super::key::{Key, Keys, Server};
use super::line::{Entry, FILE_REQUEST, file_byte};
use super::stamp::write_utc;
use input::{Input, Meter};
use order::{Line, Order, Second};
use web::{Head, LEAP, Web, is_damaged};
use window::{Client, Window};

/// Least seconds over which lines are put in order, however small the jitter is.
const ORDER_LEAST: i64 = 60;

/// A run that takes longer than this shows how far it is, on a terminal.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many lines pass between two looks at the clock.
const GLANCE: u64 = 4096;

/// What mergelogs is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `-p`: pen's log.
    pub pen: PathBuf,
    /// `-d`: 1 tells each line that matches nothing, 2 each match too.
    pub debug: u32,
    /// `-j`: how many seconds the stamps of pen and of a web server may differ.
    pub jitter: i64,
    /// `-o`: where to write; standard output without.
    pub output: Option<PathBuf>,
    /// `--utc`: convert the stamps to UTC.
    pub utc: bool,
    /// The servers, as pen's log names them, and their logs.
    pub logs: Vec<(String, PathBuf)>,
}

/// Merges. Returns the status to exit with.
pub fn run(options: &Options) -> ExitCode {
    let mut tell = |text: &str| {
        // With nobody to read it there is nobody to tell.
        let _ = writeln!(io::stderr(), "mergelogs: {text}");
    };
    match merge(options, &mut tell) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tell(&error.to_string());
            }
            ExitCode::FAILURE
        }
    }
}

/// The same error with what it is about.
fn about(what: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", what.display()))
}

/// False if a log could not be read to its end.
fn merge(options: &Options, tell: &mut dyn FnMut(&str)) -> io::Result<bool> {
    let meter = Meter::default();
    let open = |path: &Path| Input::open(path, &meter).map_err(|error| about(path, &error));
    let pen = open(&options.pen)?;
    let mut webs = Vec::new();
    for (server, path) in &options.logs {
        webs.push(Web::new(server, path, open(path)?));
    }
    let inputs = || std::iter::once(&pen).chain(webs.iter().map(|web| &web.input));
    let total = inputs().filter_map(|input| input.metadata.as_ref()).map(|m| m.len()).sum();
    let out = output(options.output.as_deref(), inputs())?;
    let mut run = Run {
        options,
        keys: Keys::default(),
        request: Vec::new(),
        window: Window::new(options.jitter),
        pen: Pen { input: pen, line: Vec::new(), next: None, ahead: None, epoch: i64::MIN, bad: 0 },
        order: Order::default(),
        released: i64::MIN,
        out,
        line: Vec::new(),
        counts: Counts::default(),
        whole: true,
        tell,
        progress: Progress { begun: Instant::now(), meter, total, bar: None },
    };
    run.all(&mut webs)?;
    run.out.flush().map_err(|error| run.write_error(error))?;
    run.summary();
    Ok(run.whole)
}

/// Opens the output, unless it is one of the inputs.
fn output<'a>(
    path: Option<&Path>,
    mut inputs: impl Iterator<Item = &'a Input>,
) -> io::Result<BufWriter<Box<dyn Write>>> {
    let out: Box<dyn Write> = match path {
        None => Box::new(io::stdout().lock()),
        Some(path) => {
            let id = |m: &std::fs::Metadata| (m.dev(), m.ino());
            let old = std::fs::metadata(path).ok().filter(|m| m.is_file()).map(|m| id(&m));
            if old.is_some() && inputs.any(|input| input.metadata.as_ref().map(id) == old) {
                let text = format!("-o {}: it is one of the logs to read", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            Box::new(File::create(path).map_err(|error| about(path, &error))?)
        }
    };
    Ok(BufWriter::with_capacity(256 << 10, out))
}

/// pen's log, with its next entry.
struct Pen {
    input: Input,
    line: Vec<u8>,
    next: Option<PenEntry>,
    /// The entry behind the next, if it had to be looked at.
    ahead: Option<PenEntry>,
    /// The time of the last one.
    epoch: i64,
    bad: u64,
}

/// Time, key and client.
type PenEntry = (i64, Key, Client);

#[derive(Default)]
struct Counts {
    lines: u64,
    unmatched: u64,
    strange: u64,
    late: u64,
}

struct Run<'a> {
    options: &'a Options,
    keys: Keys,
    request: Vec<u8>,
    window: Window,
    pen: Pen,
    order: Order,
    /// The last second that was written.
    released: i64,
    out: BufWriter<Box<dyn Write>>,
    line: Vec<u8>,
    counts: Counts,
    whole: bool,
    tell: &'a mut dyn FnMut(&str),
    progress: Progress,
}

impl Run<'_> {
    fn all(&mut self, webs: &mut [Web]) -> io::Result<()> {
        let slack = self.options.jitter.max(ORDER_LEAST);
        webs.iter_mut().for_each(|web| self.advance(web));
        self.load();
        // The earliest of the logs' next lines: every line to come is later, but for those out of order.
        while let Some((n, web)) =
            webs.iter_mut().enumerate().filter(|(_, w)| w.open).min_by_key(|(_, w)| w.epoch)
        {
            let limit = web.epoch.saturating_sub(slack);
            while let Some((epoch, second)) = self.order.take_before(limit) {
                self.release(epoch, second, webs)?;
            }
            let web = &mut webs[n];
            self.queue(n, web);
            self.advance(web);
        }
        while let Some((epoch, second)) = self.order.take() {
            self.release(epoch, second, webs)?;
        }
        Ok(())
    }

    fn advance(&mut self, web: &mut Web) {
        if let Err(error) = web.advance() {
            (self.tell)(&error.to_string());
            self.whole = false;
        }
    }

    fn queue(&mut self, server: usize, web: &Web) {
        self.counts.lines += 1;
        if self.counts.lines.is_multiple_of(GLANCE) {
            self.progress.show();
        }
        let mut line = Line { text: 0..0, client: 0, date: 0..0, server, key: None };
        let Head { line: text, parsed, date } = &web.head;
        if let Some(parsed) = parsed {
            line.client = parsed.client;
            if date.is_some() {
                line.date = parsed.date.clone().unwrap_or(0..0);
                self.request.clear();
                unescape(&text[parsed.request.clone()], file_byte, FILE_REQUEST, &mut self.request);
                line.key = Some(self.keys.key(&Server::parse(&web.server), &self.request));
            }
        }
        self.counts.late += u64::from(web.epoch < self.released);
        self.order.add(web.epoch, text, line);
    }

    /// Writes the lines of a second.
    fn release(&mut self, epoch: i64, second: Second, webs: &[Web]) -> io::Result<()> {
        self.released = self.released.max(epoch);
        self.window.advance(self.released);
        let limit = epoch.saturating_add(self.options.jitter);
        while let Some((at, key, client)) = self.pen.next.filter(|next| next.0 <= limit) {
            self.window.add(key, at, client);
            self.load();
        }
        for line in &second.lines {
            let text = &second.text[line.text.clone()];
            let client = line.key.and_then(|key| self.window.take(key, epoch));
            self.debug(text, client);
            let out = &mut self.line;
            out.clear();
            match client {
                _ if line.client == 0 => self.counts.strange += 1,
                Some(client) => Entry::write_client_field(client, out),
                None => {
                    self.counts.unmatched += 1;
                    out.extend_from_slice(webs[line.server].server.as_bytes());
                }
            }
            if self.options.utc && !line.date.is_empty() {
                out.extend_from_slice(&text[line.client..line.date.start]);
                write_utc(epoch, out);
                out.extend_from_slice(&text[line.date.end..]);
            } else {
                out.extend_from_slice(&text[line.client..]);
            }
            out.push(b'\n');
            if let Err(error) = self.out.write_all(out) {
                return Err(self.write_error(error));
            }
        }
        self.order.recycle(second);
        Ok(())
    }

    /// Goes on to the next entry of pen's log.
    fn load(&mut self) {
        let mut next = self.pen.ahead.take().or_else(|| self.read_entry());
        while let Some((epoch, ..)) = next
            && epoch > self.pen.epoch.saturating_add(LEAP)
        {
            let ahead = self.read_entry();
            if !is_damaged(epoch, ahead.map(|ahead| ahead.0)) {
                self.pen.ahead = ahead;
                break;
            }
            self.pen.bad += 1;
            next = ahead;
        }
        self.pen.epoch = next.map_or(self.pen.epoch, |next| next.0);
        self.pen.next = next;
    }

    fn read_entry(&mut self) -> Option<PenEntry> {
        loop {
            match self.pen.input.next(&mut self.pen.line) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    (self.tell)(&about(&self.options.pen, &error).to_string());
                    self.whole = false;
                    return None;
                }
            }
            let Some(entry) = Entry::parse_file(&self.pen.line) else {
                self.pen.bad += 1;
                continue;
            };
            self.request.clear();
            self.request.extend(entry.request.iter().take(FILE_REQUEST).map(|&b| file_byte(b)));
            let key = self.keys.key(&Server::parse(entry.server), &self.request);
            return Some((entry.epoch, key, entry.client));
        }
    }

    fn write_error(&self, error: io::Error) -> io::Error {
        about(self.options.output.as_deref().unwrap_or(Path::new("standard output")), &error)
    }

    fn debug(&mut self, text: &[u8], client: Option<Client>) {
        match client {
            None if self.options.debug > 0 => (self.tell)(&format!("no match: {}", text.escape_ascii())),
            Some(client) if self.options.debug > 1 => {
                let client = client.map_or("-".into(), |ip: IpAddr| ip.to_string());
                (self.tell)(&format!("{client}: {}", text.escape_ascii()));
            }
            _ => {}
        }
    }

    /// Tells what did not go as it should.
    fn summary(&mut self) {
        self.progress.finish();
        let Counts { lines, unmatched, strange, late } = self.counts;
        let pen = self.options.pen.display();
        let slack = self.options.jitter.max(ORDER_LEAST);
        for (n, what) in [
            (unmatched, format!("of {lines} match no entry of {pen}: written with the server's address")),
            (strange, format!("of {lines} are in no known format: written as they are")),
            (late, format!("of {lines} are more than {slack} seconds out of order: written late")),
            (self.pen.bad, format!("of {pen} are no entries: ignored")),
        ] {
            if n > 0 {
                (self.tell)(&format!("{n} {} {what}", if n == 1 { "line" } else { "lines" }));
            }
        }
    }
}

/// Shows how far a long run is.
struct Progress {
    begun: Instant,
    meter: Meter,
    total: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn show(&mut self) {
        if self.bar.is_none() && self.begun.elapsed() >= PATIENCE {
            let bar =
                if io::stderr().is_terminal() { ProgressBar::new(self.total) } else { ProgressBar::hidden() };
            let style =
                ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
            self.bar = Some(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.meter.get());
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
