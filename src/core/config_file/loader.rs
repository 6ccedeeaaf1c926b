//! Reads files of commands, with the files that they include. Whatever the files hold, the time and the memory that it
//! takes are bounded.

use super::bounded::SHOWN_MAX;
use super::line::ConfigLine;
use crate::core::addr::Services;
use crate::core::command::Command;
use crate::core::error::{Error, Place};
use crate::core::lexer;
use std::borrow::Cow;
use std::io;
use std::sync::Arc;

/// The maximum depth of nested includes.
const DEPTH_MAX: usize = 8;
/// The maximum number of files read for one file, including itself.
const FILES_MAX: usize = 64;
/// The maximum size of all these files together, in bytes.
const BYTES_MAX: usize = 16 << 20;
/// The maximum number of commands in all these files.
const COMMANDS_MAX: usize = 1_000_000;
/// The maximum length of a line that is not a comment, in bytes. Longer than a line of the control socket: `write`
/// writes all keys of a server into one.
const LINE_MAX: usize = 64 * 1024;

/// A line that is no command, or names a file that cannot be read.
#[derive(Debug)]
pub struct RefusedLine {
    /// The number of the commands before it.
    pub at: usize,
    /// What is wrong.
    pub error: Error,
    /// The check and the servers that it would have added, as `check NAME` and `server NAME`.
    pub names: Vec<String>,
}

/// What a file of commands holds, together with the files that it includes.
#[derive(Debug)]
pub struct FileLines {
    /// Its commands.
    pub lines: Vec<ConfigLine>,
    /// All bad lines up to the hundredth, after which no line is parsed; files that cannot be read; files that include
    /// each other without end, or are too many or too large.
    pub refused: Vec<RefusedLine>,
    /// Whether everything was read.
    pub is_complete: bool,
    /// How many lines were not read since there were too many errors.
    pub rest: Option<Error>,
}

/// Reads a file of commands and every file that it includes. `read` returns a file's bytes.
pub fn load(file: &str, services: &Services, read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> FileLines {
    ConfigLoader::new(services, read, COMMANDS_MAX).load(file)
}

struct ConfigLoader<'a> {
    services: &'a Services,
    read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    lines: Vec<ConfigLine>,
    /// The maximum number of lines.
    lines_max: usize,
    /// The names of the files that are open, each included by the one before.
    open: Vec<String>,
    /// The number of files read so far.
    files: usize,
    /// Their size.
    bytes: usize,
    refused: Vec<RefusedLine>,
    /// Whether a file was not read, or not to its end.
    is_partial: bool,
    /// Whether no further line is parsed.
    has_ended: bool,
    /// The number of lines after the end.
    unread: usize,
}

impl<'a> ConfigLoader<'a> {
    fn new(services: &'a Services, read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>, lines_max: usize) -> Self {
        ConfigLoader {
            services,
            read,
            lines: Vec::new(),
            lines_max,
            open: Vec::new(),
            files: 0,
            bytes: 0,
            refused: Vec::new(),
            is_partial: false,
            has_ended: false,
            unread: 0,
        }
    }

    fn load(mut self, file: &str) -> FileLines {
        self.file(file, None);
        let rest = (self.refused.len() >= SHOWN_MAX && self.unread > 0).then(|| {
            let text = format!(
                "reading ended after {} errors: {} more lines are not checked",
                self.refused.len(),
                self.unread
            );
            Error::new(text).at(&Place::File(file.into()))
        });
        let is_complete = !self.is_partial && !self.has_ended;
        FileLines { lines: self.lines, refused: self.refused, is_complete, rest }
    }

    /// Reads one file; `from` is the line that includes it.
    fn file(&mut self, file: &str, from: Option<&Place>) {
        if let Some(what) = self.unsuitable(file) {
            return self.refuse(Error::new(what), file, from);
        }
        self.files += 1;
        let text = match (self.read)(file) {
            Ok(text) => text,
            Err(error) => return self.refuse(Error::failed("cannot be read", error), file, from),
        };
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > BYTES_MAX {
            let most = BYTES_MAX >> 20;
            let what = format!("with this file more than {most} MiB are included; reading ends here");
            self.refuse(Error::new(what), file, from);
            self.has_ended = true;
            return;
        }
        // Editors of other systems begin a file of UTF-8 with a byte order mark, which nobody sees.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        self.open.push(file.to_owned());
        let name: Arc<str> = file.into();
        let says_something = |(_, line): &(usize, &[u8])| !is_passed_over(line);
        let mut lines = text.split(|byte| *byte == b'\n').enumerate().filter(says_something);
        while !self.has_ended
            && let Some((n, line)) = lines.next()
        {
            self.line(line, Place::Line(Arc::clone(&name), n + 1));
        }
        self.unread += lines.count();
        self.open.pop();
    }

    fn line(&mut self, line: &[u8], at: Place) {
        match text_of(line).and_then(|line| Command::parse(&line, self.services)) {
            Ok(None) => {}
            Ok(Some(Command::Include(inner))) => self.file(&inner, Some(&at)),
            Ok(Some(_)) if self.lines.len() >= self.lines_max => {
                let what = format!("expected at most {} commands; reading ends here", self.lines_max);
                self.report(Error::new(what).at(&at), Vec::new());
                self.has_ended = true;
            }
            Ok(Some(command)) => self.lines.push(ConfigLine { at, command }),
            Err(error) => self.report(error.at(&at), names_in(line)),
        }
    }

    /// Why a file must not be read now.
    fn unsuitable(&self, file: &str) -> Option<String> {
        if self.open.iter().any(|open| open == file) {
            Some("a file cannot include itself, nor one that includes it".to_owned())
        } else if self.open.len() > DEPTH_MAX {
            Some(format!("files include each other more than {DEPTH_MAX} deep"))
        } else if self.files >= FILES_MAX {
            Some(format!("more than {FILES_MAX} files are included"))
        } else {
            None
        }
    }

    fn refuse(&mut self, error: Error, file: &str, from: Option<&Place>) {
        self.is_partial = true;
        let error = match from {
            Some(from) => error.of(file).at(from),
            None => error.at(&Place::File(file.into())),
        };
        self.report(error, Vec::new());
    }

    /// Records an error. Parsing of wrong lines is slow, since it finds similar words; so it ends with the last error
    /// that is shown.
    fn report(&mut self, error: Error, names: Vec<String>) {
        self.refused.push(RefusedLine { at: self.lines.len(), error, names });
        self.has_ended |= self.refused.len() >= SHOWN_MAX;
    }
}

/// The check and the servers that a refused line would have added.
fn names_in(line: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(line);
    let words = lexer::words(&text).unwrap_or_default();
    let words: Vec<String> = words.iter().map_while(|word| word.text().ok()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check", name, ..] => vec![format!("check {name}")],
        ["server", name, ref rest @ ..] => {
            let named = rest.chunks_exact(2).filter(|pair| pair[0] == "name").map(|pair| pair[1]);
            named.chain([name]).map(|name| format!("server {name}")).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a line is blank or a comment.
fn is_passed_over(line: &[u8]) -> bool {
    let first = line.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    matches!(first, None | Some(b'#')) || matches!(line, b"\r")
}

/// A line of a file as text.
fn text_of(line: &[u8]) -> Result<Cow<'_, str>, Error> {
    if line.len() > LINE_MAX {
        let got = format!("{} bytes", line.len());
        return Err(Error::expected(format!("a line of at most {LINE_MAX} bytes"), got));
    }
    lexer::text_of(line)
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;

    #[test]
    fn every_error_is_told_with_its_place() {
        let files = |file: &str| match file {
            "bad" => Ok("hash\nblacklist abc\n\nfrobnicate\ninclude none\n".into()),
            "loop" => Ok("include loop\n".into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let errors = load("bad", &Services::default(), &files).unwrap_err();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].starts_with("bad:2: blacklist: expected "), "{errors:?}");
        assert!(errors[1].starts_with("bad:4: 'frobnicate'"), "{errors:?}");
        assert!(errors[2].starts_with("bad:5: none: cannot be read"), "{errors:?}");
        assert_eq!(load("loop", &Services::default(), &files).unwrap_err().len(), 1);
    }

    fn refused(file: &str, read: &dyn Fn(&str) -> io::Result<String>) -> Vec<String> {
        let read = |file: &str| read(file).map(String::into_bytes);
        let errors = load(file, &Services::default(), &read).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_that_includes_itself_costs_a_line_of_error_for_each_time() {
        let cycles = |file: &str| match file {
            "self" => Ok("include self\n".repeat(5)),
            "one" => Ok("include two\ninclude two\n".to_owned()),
            _ => Ok("include one\n".to_owned()),
        };
        let errors = refused("self", &cycles);
        assert_eq!(errors.len(), 5, "{errors:?}");
        assert!(errors[4].starts_with("self:5: self: a file cannot include itself"), "{errors:?}");
        let errors = refused("one", &cycles);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[1].starts_with("two:1: one: "), "{errors:?}");
    }

    #[test]
    fn no_more_than_64_files_are_read() {
        use std::cell::Cell;

        // Each file includes two others: 2 to the power of 8 files of the last kind alone.
        let reads = Cell::new(0);
        let errors = refused("x", &|file| {
            reads.set(reads.get() + 1);
            Ok((0..2).map(|n| format!("include {file}{n}\n")).collect())
        });
        assert_eq!(reads.get(), FILES_MAX);
        assert!(errors.len() <= SHOWN_MAX + 1);
        let many = |file: &str| match file.parse::<usize>() {
            Ok(0) | Err(_) => Ok("roundrobin\n".to_owned()),
            Ok(count) => Ok((0..count).map(|n| format!("include f{n}\n")).collect::<String>()),
        };
        let bytes = |file: &str| many(file).map(String::into_bytes);
        assert_eq!(load("63", &Services::default(), &bytes).unwrap().len(), 63);
        let errors = refused("64", &many);
        assert_eq!(errors, ["64:64: f63: more than 64 files are included"]);
    }

    #[test]
    fn a_hundred_errors_are_reported_and_the_rest_of_the_lines_counted() {
        let errors = refused("x", &|_| Ok("frobnicate\n\n# comment\n".repeat(1000)));
        assert_eq!(errors.len(), 101);
        assert!(errors[99].starts_with("x:298: "), "{errors:?}");
        assert_eq!(errors[100], "x: reading ended after 100 errors: 900 more lines are not checked");
        // The rest of the file that includes it counts too, and files that it names are not read.
        let files = |file: &str| match file {
            "x" => Ok("include bad\ninclude bad\nroundrobin\n".to_owned()),
            _ => Ok("frobnicate\n".repeat(150)),
        };
        let errors = refused("x", &files);
        assert_eq!(errors[100], "x: reading ended after 100 errors: 52 more lines are not checked");
        assert_eq!(refused("x", &|_| Ok("frobnicate\n".repeat(100))).len(), 100);
    }

    #[test]
    fn all_files_together_are_of_bounded_size() {
        use std::cell::Cell;

        let reads = Cell::new(0);
        let errors = refused("x", &|file| {
            reads.set(reads.get() + 1);
            Ok(if file == "x" { "include y\n".repeat(60) } else { "\n".repeat(15 << 20) })
        });
        assert_eq!(errors, ["x:2: y: with this file more than 16 MiB are included; reading ends here"]);
        assert_eq!(reads.get(), 3);
    }

    #[test]
    fn lines_are_of_bounded_length_unless_they_are_comments() {
        let long = |length: usize| "a b ".repeat(length / 4);
        let errors = refused("x", &|_| Ok(format!("roundrobin\n{}\n", long(15 << 20))));
        assert_eq!(errors, ["x:2: expected a line of at most 65536 bytes, got '15728640 bytes'"]);
        assert!(refused("x", &|_| Ok(long(LINE_MAX)))[0].starts_with("x:1: 'a' is not a command"));
        let comment = |_: &str| Ok(format!(" # {}\nroundrobin\n", long(1 << 20)).into_bytes());
        assert_eq!(load("x", &Services::default(), &comment).unwrap().len(), 1);
    }

    #[test]
    fn commands_are_of_bounded_number() {
        let services = Services::default();
        let read = |file: &str| match file {
            "x" => Ok("poll\ninclude y\npoll\n".into()),
            _ => Ok("poll\n\npoll\n".into()),
        };
        assert_eq!(ConfigLoader::new(&services, &read, 4).load("x").lines.len(), 4);
        let refused = |most: usize| {
            let loaded = ConfigLoader::new(&services, &read, most).load("x");
            assert!(!loaded.is_complete);
            loaded.refused.iter().map(|line| line.error.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(refused(3), ["x:3: expected at most 3 commands; reading ends here"]);
        assert_eq!(refused(2), ["y:3: expected at most 2 commands; reading ends here"]);
    }

    #[test]
    fn a_comment_may_be_of_any_bytes_and_nothing_else() {
        let read = |text: &[u8]| load("f", &Services::default(), &|_| Ok(text.to_vec()));
        let good = b"# gr\xfc\xdfe\x01\n\t# \xff\nblacklist 5 # f\xfcnf \x02\n";
        assert_eq!(read(good).map(|lines| lines.len()), Ok(1));
        let errors = read(b"blacklist 5\nuser j\xf6rg # j\xf6rg\n").unwrap_err();
        let expected = "f:2: expected UTF-8 outside of comments, got user j\\xf6rg # j\\xf6rg";
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        assert!(read(b"user j\x01\n").is_err());
        assert_eq!(read(b"\xef\xbb\xbfblacklist 5\n").map(|lines| lines.len()), Ok(1));
        assert!(read(b"blacklist 5\n\xef\xbb\xbfblacklist 5\n").is_err());
        // Line ends of other systems.
        assert_eq!(read(b"blacklist 5\r\n\r\n").map(|lines| lines.len()), Ok(1));
    }
}
