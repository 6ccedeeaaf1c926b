//! mergelogs: pen's log and the servers' logs, joined afterwards.

mod formats;
mod inputs;
mod order;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::directory::{Directory, directory};
use crate::support::tree::tool;
use crate::support::weblog::{MERGELOGS, different, run, web_line};
use crate::support::{skipped, wait_until};

const PEN: &str = "192.0.2.1 971175336 10.0.0.1 GET /a HTTP/1.0
192.0.2.2 971175337 ::1 GET /a HTTP/1.0
192.0.2.3 971175340 10.0.0.1 GET /b HTTP/1.0
192.0.2.4 971175990 10.0.0.1 GET /a HTTP/1.0
";

const ONE: &str = r#"9.9.9.9 - - [10/Oct/2000:13:55:36 +0300] "GET /a HTTP/1.0" 200 2326
9.9.9.9 - - [10/Oct/2000:12:55:41 CEST] "GET /b HTTP/1.0" 200 2326 "http://ref/" "UA \"1\""
9.9.9.9 - - [10/Oct/2000:13:55:42 +0300] "GET /none HTTP/1.0" 200 2326
garbage
9.9.9.9 - - [10/Oct/2000:14:06:30 +0300] "GET /a HTTP/1.0" 200 2326
"#;

const TWO: &str = r#"9.9.9.9 - frank [10/Oct/2000:06:55:37 -0400] "GET /a HTTP/1.0" 200 2326
"#;

const MERGED: &str = r#"192.0.2.1 - - [10/Oct/2000:13:55:36 +0300] "GET /a HTTP/1.0" 200 2326
192.0.2.2 - frank [10/Oct/2000:06:55:37 -0400] "GET /a HTTP/1.0" 200 2326
192.0.2.3 - - [10/Oct/2000:12:55:41 CEST] "GET /b HTTP/1.0" 200 2326 "http://ref/" "UA \"1\""
10.0.0.1 - - [10/Oct/2000:13:55:42 +0300] "GET /none HTTP/1.0" 200 2326
garbage
192.0.2.4 - - [10/Oct/2000:14:06:30 +0300] "GET /a HTTP/1.0" 200 2326
"#;

fn files(texts: &[(&str, &str)]) -> Directory {
    let directory = directory();
    for (name, text) in texts {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// Runs it on files in `directory`; `@` in an argument stands for that directory.
fn merge(program: &str, directory: &Path, args: &str) -> Output {
    let directory = directory.to_str().unwrap();
    run(program, args.split(' ').map(|arg| arg.replace('@', directory)))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn lines_in_the_order_of_time_with_their_own_text() {
    let directory = files(&[("pen", PEN), ("one", ONE), ("two", TWO)]);
    let output = merge(MERGELOGS, directory.path(), "-p @/pen 10.0.0.1:@/one [::1]:@/two");
    assert!(output.status.success());
    assert_eq!(text(output.stdout), MERGED);
    let said = text(output.stderr);
    assert!(
        said.contains("1 line of 6 match no entry of ")
            && said.contains("1 line of 6 are in no known format"),
        "{said}"
    );
}

#[test]
fn control_characters_are_escaped_and_the_lines_merged_again() {
    let pen = "192.0.2.1 971175336 10.0.0.1 GET /\x1b[2J HTTP/1.0\n";
    let log = "9.9.9.9 - - [10/Oct/2000:13:55:36 +0300] \"GET /\x1b[2J HTTP/1.0\" 200 1\t\"\u{9b}\"\r\n\x1b]0;x\x07\n";
    let wanted = "192.0.2.1 - - [10/Oct/2000:13:55:36 +0300] \"GET /\\x1b[2J HTTP/1.0\" 200 1\t\"\\xc2\\x9b\"\r\n\\x1b]0;x\\x07\n";
    let directory = files(&[("pen", pen), ("one", log)]);
    let output = merge(MERGELOGS, directory.path(), "-p @/pen 10.0.0.1:@/one");
    assert_eq!(text(output.stdout), wanted);
    fs::write(directory.path().join("merged"), wanted).unwrap();
    let output = merge(MERGELOGS, directory.path(), "-p @/pen -o @/again 10.0.0.1:@/merged");
    assert!(!text(output.stderr).contains("match no entry"));
    assert_eq!(fs::read_to_string(directory.path().join("again")).unwrap(), wanted);
}

#[test]
fn utc_converts_and_t_does_nothing_but_say_so() {
    let directory = files(&[("pen", PEN), ("one", ONE), ("two", TWO)]);
    let output =
        merge(MERGELOGS, directory.path(), "-t 7200 --utc -p @/pen -o @/out 10.0.0.1:@/one [::1]:@/two");
    assert!(output.status.success() && output.stdout.is_empty());
    let wanted = MERGED
        .replace("13:55:36 +0300", "10:55:36 +0000")
        .replace("06:55:37 -0400", "10:55:37 +0000")
        .replace("12:55:41 CEST", "10:55:41 +0000")
        .replace("13:55:42 +0300", "10:55:42 +0000")
        .replace("14:06:30 +0300", "11:06:30 +0000");
    assert_eq!(fs::read_to_string(directory.path().join("out")).unwrap(), wanted);
    assert_eq!(text(output.stderr).matches("-t has no effect").count(), 1);
}

#[test]
fn gzipped_logs_are_read_as_they_are() {
    let directory = files(&[("two", TWO)]);
    for (name, text) in [("pen.gz", PEN), ("one.gz", ONE)] {
        // Two members, as from `cat a.gz b.gz`.
        let mut file = File::create(directory.path().join(name)).unwrap();
        for half in [&text[..50], &text[50..]] {
            let mut encoder = GzEncoder::new(&mut file, Compression::fast());
            encoder.write_all(half.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
    }
    let output = merge(MERGELOGS, directory.path(), "-p @/pen.gz 10.0.0.1:@/one.gz [::1]:@/two");
    assert_eq!(text(output.stdout), MERGED);
}

#[test]
fn a_damaged_log_is_told_and_the_others_are_merged() {
    let directory = files(&[("pen", PEN), ("two", TWO)]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(ONE.as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    fs::write(directory.path().join("one.gz"), &whole[..whole.len() - 20]).unwrap();
    let output = merge(MERGELOGS, directory.path(), "-p @/pen 10.0.0.1:@/one.gz [::1]:@/two");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stdout).contains("192.0.2.2 - frank"));
    assert!(text(output.stderr).contains("one.gz: "));
}

#[test]
fn the_jitter_decides_and_an_entry_is_used_once() {
    let directory =
        files(&[("pen", PEN), ("one", &ONE.replace("[10/Oct/2000:14:06:30", "[10/Oct/2000:14:07:30"))]);
    let clients = |jitter: &str| -> Vec<String> {
        let args = format!("-j {jitter} -p @/pen 10.0.0.1:@/one");
        let output = text(merge(MERGELOGS, directory.path(), &args).stdout);
        output.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(clients("600")[4], "192.0.2.4");
    assert_eq!(clients("59")[4], "10.0.0.1");
    assert_eq!(clients("60")[4], "192.0.2.4");
    // The same line again finds no entry that is left.
    let first = ONE.lines().next().unwrap();
    fs::write(directory.path().join("one"), format!("{first}\n{first}\n")).unwrap();
    assert_eq!(clients("700"), ["192.0.2.1", "192.0.2.4"]);
    assert_eq!(clients("600"), ["192.0.2.1", "10.0.0.1"]);
}

#[test]
fn a_stamp_from_the_far_future_spoils_only_its_own_line() {
    let damaged = "9.9.9.9 - - [10/Oct/2099:13:55:36 +0300] \"GET /x HTTP/1.0\" 200 1\n";
    let pen = format!("192.0.2.9 4095571336 10.0.0.1 GET /x HTTP/1.0\n{PEN}");
    let (first, rest) = ONE.split_at(ONE.find('\n').unwrap() + 1);
    let directory = files(&[("pen", &pen), ("one", &format!("{first}{damaged}{rest}")), ("two", TWO)]);
    let output = merge(MERGELOGS, directory.path(), "-p @/pen 10.0.0.1:@/one [::1]:@/two");
    let (first, rest) = MERGED.split_at(MERGED.find('\n').unwrap() + 1);
    assert_eq!(text(output.stdout), format!("{first}{}{rest}", damaged.replacen("9.9.9.9", "10.0.0.1", 1)));
    assert!(text(output.stderr).contains("1 line of "), "one of pen's log too");
}

#[test]
fn nothing_is_appended_to_a_log_that_is_read() {
    let directory = files(&[("pen", PEN), ("one", ONE)]);
    let path = |name: &str| directory.path().join(name);
    let appended = File::options().append(true).open(path("one")).unwrap();
    let output = Command::new(MERGELOGS)
        .args(["-p", path("pen").to_str().unwrap(), &format!("10.0.0.1:{}", path("one").display())])
        .stdout(appended)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(output.stderr), "mergelogs: standard output: it is one of the logs to read\n");
    assert_eq!(fs::read_to_string(path("one")).unwrap(), ONE);
}

#[test]
fn what_cannot_be_is_one_clear_line() {
    let directory = files(&[("pen", PEN), ("one", ONE)]);
    for (args, code, wanted) in [
        ("10.0.0.1:@/one", 2, "-p penlog is missing"),
        ("-p @/pen @/one", 2, "has no ':'"),
        ("-p @/none 10.0.0.1:@/one", 1, "none: No such file"),
        ("-p @/pen 10.0.0.1:@/one -o @/one", 1, "it is one of the logs to read"),
        ("-p @/pen 10.0.0.1:@", 1, "directory"),
    ] {
        let output = merge(MERGELOGS, directory.path(), args);
        let said = text(output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(wanted) && said.lines().count() == 1, "{args}: {said}");
    }
    assert_eq!(fs::read_to_string(directory.path().join("one")).unwrap(), ONE);
}

/// A run that takes long shows on a terminal how far it is, and leaves nothing of that behind.
#[test]
fn a_long_run_has_a_progress_bar() {
    // Its options are those of Linux.
    let Some(mut terminal) = tool("script").filter(|_| cfg!(target_os = "linux")) else { return };
    let directory = files(&[("pen", PEN)]);
    let path = |name: &str| directory.path().join(name);
    let fifo = path("one");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let command = format!(
        "TERM=xterm '{MERGELOGS}' -p '{}' -o '{}' 10.0.0.1:'{}'",
        path("pen").display(),
        path("out").display(),
        fifo.display()
    );
    let seen = path("seen");
    let mut child = terminal
        .args(["-q", "-f", "-e", "-c", &command])
        .arg(&seen)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let shown = || String::from_utf8_lossy(&fs::read(&seen).unwrap_or_default()).into_owned();
    let mut log = File::options().write(true).open(&fifo).unwrap();
    let some = ONE.lines().next().unwrap().to_owned() + "\n";
    let mut lines = 0;
    // As long as it takes: what is short shows none.
    wait_until("the bar", || {
        log.write_all(some.repeat(500).as_bytes()).unwrap();
        lines += 500;
        shown().contains("B/s")
    });
    drop(log);
    assert!(child.wait().unwrap().success(), "{}", shown());
    assert_eq!(fs::read_to_string(path("out")).unwrap().lines().count(), lines);
    assert!(shown().contains(" match no entry of "), "{}", shown());
}

/// Without repeated requests within the jitter both must give every line the same client.
#[test]
fn agrees_with_c_on_generated_logs() {
    const C: &str = "/usr/bin/mergelogs";
    if !Path::new(C).exists() {
        return skipped("mergelogs beside C", "no C mergelogs");
    }
    let (mut log, mut webs) = (String::new(), [String::new(), String::new()]);
    for n in 0..4000_usize {
        // Somewhat out of order, some without an entry, some twice but far apart.
        let at = 971_175_336 + n * 3;
        let request = format!("GET /{}?{} HTTP/1.1", n % 1500, "y".repeat(n % 90));
        if n % 11 > 0 {
            log += &format!("192.0.{}.{} {at} 10.0.0.{} {request}\n", n % 200, n % 7, 1 + n % 2);
        }
        let stamp = at + n % 40;
        let (hour, minute, second) = (stamp / 3600 % 24, stamp / 60 % 60, stamp % 60);
        let day = 10 + (stamp / 86400 - 971_175_336 / 86400);
        let date = format!("{day}/Oct/2000:{hour:02}:{minute:02}:{second:02} +0000");
        let line = web_line(&request).replace("10/Oct/2000:13:55:36 +0300", &date);
        webs[n % 2] += &(line.replace(" 2326 ", &format!(" {n} ")) + "\n");
    }
    let directory = files(&[("pen", &log), ("one", &webs[0]), ("two", &webs[1])]);
    let clients = |program: &str| -> BTreeMap<String, String> {
        let output = merge(program, directory.path(), "-p @/pen 10.0.0.1:@/one 10.0.0.2:@/two");
        let out = text(output.stdout);
        // C's stamps are its own; the number of bytes tells the line.
        out.lines()
            .filter_map(|l| Some((l.split_once("] ")?.1.to_owned(), l.split_once(' ')?.0.to_owned())))
            .collect()
    };
    let (ours, c) = (clients(MERGELOGS), clients(C));
    assert_eq!(ours.len(), 4000);
    assert_eq!(different(&ours, &c), None);
}
