//! The command lines in a document, and the output that it shows for them.

use std::collections::VecDeque;

/// A command line with the output shown below it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Example {
    /// Its line number in the document.
    pub(crate) number: usize,
    /// The command; several lines if it is continued.
    pub(crate) command: String,
    /// The lines of its output, if the document shows them; `...` matches anything.
    pub(crate) shows: Vec<String>,
}

/// The examples of a plain text: indented by four blanks, after `# ` or `$ `. A line that ends with a backslash, or
/// that begins a here document, is continued.
pub(crate) fn of_text(text: &str) -> Vec<Example> {
    let mut lines: VecDeque<(usize, &str)> =
        text.lines().enumerate().map(|(n, line)| (n + 1, line)).collect();
    let mut examples = Vec::new();
    while let Some((number, line)) = lines.pop_front() {
        let Some(first) = prompted(line) else { continue };
        let mut command = first.to_owned();
        let end = first.split_once("<<'").and_then(|(_, rest)| rest.split_once('\'')).map(|(word, _)| word);
        while command.ends_with('\\') || end.is_some_and(|end| command.lines().last() != Some(end)) {
            let (_, more) = lines.pop_front().unwrap_or_else(|| panic!("line {number}: does not end"));
            command.push('\n');
            command.push_str(more.strip_prefix("    ").unwrap_or(more));
        }
        let mut shows = Vec::new();
        while let Some((_, line)) = lines.front() {
            let Some(shown) = line.strip_prefix("    ").filter(|_| prompted(line).is_none()) else { break };
            shows.push(shown.to_owned());
            lines.pop_front();
        }
        examples.push(Example { number, command, shows });
    }
    examples
}

fn prompted(line: &str) -> Option<&str> {
    let line = line.strip_prefix("    ")?;
    line.strip_prefix("# ").or_else(|| line.strip_prefix("$ "))
}

/// The examples of a manual page: after `example# ` or `example% `, in bold.
pub(crate) fn of_page(text: &str) -> Vec<Example> {
    let plain = text.replace("\\fB", "").replace("\\fR", "").replace("\\e", "\\").replace("\\-", "-");
    let text: Vec<String> = plain
        .lines()
        .map(|line| {
            let command = line.strip_prefix("example# ").or_else(|| line.strip_prefix("example% "));
            match command {
                Some(command) => format!("    # {}", command.replace("\\\\", "\\")),
                // A continuation is indented in the page; a page describes output in words.
                None if line.starts_with("     ") => line.to_owned(),
                None => String::new(),
            }
        })
        .collect();
    of_text(&text.join("\n"))
}

impl Example {
    /// Whether `output` matches the document.
    pub(crate) fn is_shown(&self, output: &str) -> bool {
        let lines: Vec<&str> = output.lines().collect();
        self.shows.is_empty()
            || (lines.len() == self.shows.len()
                && self.shows.iter().zip(lines).all(|(shown, line)| fits(shown, line)))
    }
}

/// Whether a line matches; runs of blanks count as one.
fn fits(shown: &str, line: &str) -> bool {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = line.as_str();
    let parts: Vec<String> =
        shown.split("...").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for (n, part) in parts.iter().enumerate() {
        let last = n + 1 == parts.len();
        let at = match n {
            0 if rest.starts_with(part.as_str()) => 0,
            0 => return false,
            _ if last => match rest.rfind(part.as_str()) {
                Some(at) => at,
                None => return false,
            },
            _ => match rest.find(part.as_str()) {
                Some(at) => at,
                None => return false,
            },
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || parts.last().is_some_and(|last| last.is_empty() && parts.len() > 1)
}

#[test]
fn a_text_has_its_examples() {
    let text = "Text\n    # cat >x <<'END'\n    a\n    END\n    $ echo a\\\n        b\n    a  b\n\n    no\n    # last\n";
    let example = |number, command: &str, shows: &[&str]| Example {
        number,
        command: command.into(),
        shows: shows.iter().map(|line| (*line).to_owned()).collect(),
    };
    let expected = [
        example(2, "cat >x <<'END'\na\nEND", &[]),
        example(5, "echo a\\\n    b", &["a  b"]),
        example(10, "last", &[]),
    ];
    assert_eq!(of_text(text), expected);
    assert_eq!(of_page("example# \\fBpen -a \\\\\n     b\\fR\nx"), [example(1, "pen -a \\\n b", &[])]);
}

#[test]
fn dots_stand_for_anything() {
    for (shown, line) in
        [("a ... d", "a  b c d"), ("a b", "a   b"), ("a ...", "a b"), ("...", ""), ("x...", "xyz")]
    {
        assert!(fits(shown, line), "{shown} {line}");
    }
    for (shown, line) in [("a", "a b"), ("a ... d", "a b"), ("b", "a b"), ("a ... b", "a c b d")] {
        assert!(!fits(shown, line), "{shown} {line}");
    }
}
