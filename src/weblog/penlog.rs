//! penlog: sends the lines of a web server's log to penlogd.

use std::io::{self, BufRead};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use super::sink::{self, LogHandle};
use super::target::Target;

/// Longest line that is sent whole, in bytes without its newline; also the longest datagram of one that was cut.
pub const LINE: usize = 1023;

/// What the end of a line that was cut is replaced with.
pub const MARK: &[u8] = b"...";

/// How long the end waits for what is still to be sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What penlog is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name or address of the machine where penlogd runs.
    pub host: String,
    /// The port of penlogd.
    pub port: u16,
    /// The address to send from.
    pub source: Option<IpAddr>,
}

/// Sends standard input to penlogd until it ends. Returns the status to exit with.
pub fn run(options: &Options) -> ExitCode {
    match send(options, io::stdin().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn send(options: &Options, input: impl BufRead) -> io::Result<()> {
    let sender = LogHandle::start(sink::Options::default(), Box::new(tell))?;
    let Options { host, port, source } = options.clone();
    sender.set(Some(Target::Udp { host, port, source }))?;
    let result = lines(input, |line| sender.line_waiting(line));
    sender.flush(PATIENCE);
    result
}

fn tell(text: &str) {
    use io::Write as _;
    // With nobody to read it there is nobody to tell.
    let _ = writeln!(io::stderr(), "penlog: {text}");
}

/// Calls `send` with each line of `input`, newline included, cut if need be. Empty lines are left out.
fn lines(mut input: impl BufRead, mut send: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::with_capacity(LINE + 1);
    let mut long = false;
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = memchr::memchr(b'\n', buffer);
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        let room = LINE - line.len();
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        long |= piece.len() > room;
        let (consumed, last) = (piece.len() + usize::from(end.is_some()), buffer.is_empty());
        input.consume(consumed);
        if end.is_some() || last {
            if long {
                line.truncate(LINE - 1 - MARK.len());
                line.extend_from_slice(MARK);
            }
            if !line.is_empty() {
                line.push(b'\n');
                send(&line);
            }
            line.clear();
            long = false;
        }
        if last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(input: impl BufRead) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        lines(input, |line| out.push(line.to_vec())).unwrap();
        out
    }

    #[test]
    fn a_long_line_is_cut_with_a_mark_and_never_split() {
        let text = format!("{}\n{}\nend", "a".repeat(1023), "b".repeat(1024));
        let out = sent(text.as_bytes());
        assert_eq!(out.len(), 3);
        assert_eq!(out[0], format!("{}\n", "a".repeat(1023)).as_bytes());
        assert_eq!(out[1], format!("{}...\n", "b".repeat(1019)).as_bytes());
        assert_eq!((out[1].len(), &out[2][..]), (1023, &b"end\n"[..]));
    }

    proptest! {
        #[test]
        fn reads_of_any_size_give_the_same_lines(
            lengths in prop::collection::vec(prop_oneof![0_usize..30, 1000_usize..3000], 0..12),
            capacity in 1_usize..2000,
        ) {
            let text: Vec<u8> = lengths.iter().flat_map(|&n| [vec![b'x'; n], vec![b'\n']].concat()).collect();
            let out = sent(io::BufReader::with_capacity(capacity, &text[..]));
            let wanted: Vec<usize> =
                lengths.iter().filter(|&&n| n > 0).map(|&n| if n > LINE { LINE } else { n + 1 }).collect();
            prop_assert_eq!(out.iter().map(Vec::len).collect::<Vec<_>>(), wanted);
        }
    }
}
