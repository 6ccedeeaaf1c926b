//! Logs however they are compressed, cut and delivered.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{MERGED, ONE, PEN, TWO, files, merge, text};
use crate::support::skipped;
use crate::support::tree::tool;
use crate::support::weblog::{MERGELOGS, web_line};

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A text compressed by a program of the system, as two files one behind the other.
fn compressed(program: &str, text: &str) -> Option<Vec<u8>> {
    tool(program)?;
    let halves = text.split_at(text.len() / 2);
    let mut whole = Vec::new();
    for half in [halves.0, halves.1] {
        let mut child =
            Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(half.as_bytes()).unwrap();
        whole.extend(child.wait_with_output().unwrap().stdout);
    }
    Some(whole)
}

/// Merges with the log of the first server on standard input, given in pieces.
fn merge_piped(directory: &Path, input: &[u8], piece: usize) -> (String, String, Option<i32>) {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let mut child = Command::new(MERGELOGS)
        .args(["-p", &path("pen"), "10.0.0.1:-", &format!("[::1]:{}", path("two"))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // It may end before it has read everything.
        scope.spawn(move || input.chunks(piece).all(|piece| stdin.write_all(piece).is_ok()));
        let output = child.wait_with_output().unwrap();
        (text(output.stdout), text(output.stderr), output.status.code())
    })
}

#[test]
fn every_compression_from_a_pipe_of_single_bytes() {
    let directory = files(&[("pen", PEN), ("two", TWO)]);
    let mut inputs = vec![("none", ONE.as_bytes().to_vec()), ("gzip", gzipped(ONE))];
    for program in ["bzip2", "xz", "zstd"] {
        match compressed(program, ONE) {
            Some(input) => inputs.push((program, input)),
            None => skipped("mergelogs of compressed logs", format!("no {program}")),
        }
    }
    for (format, input) in inputs {
        for piece in [1, 7, 1 << 20] {
            let (out, said, code) = merge_piped(directory.path(), &input, piece);
            assert_eq!((out.as_str(), code), (MERGED, Some(0)), "{format} in pieces of {piece}: {said}");
        }
    }
}

/// Longer than any buffer on the way.
#[test]
fn a_large_compressed_log_comes_out_whole() {
    let line = |n: usize| web_line(&format!("GET /{n} HTTP/1.0"));
    let log: String = (0..30_000).map(|n| line(n) + "\n").collect();
    let pen: String =
        (0..30_000).map(|n| format!("192.0.2.1 971175336 10.0.0.1 GET /{n} HTTP/1.0\n")).collect();
    let wanted: String = (0..30_000).map(|n| line(n).replacen("9.9.9.9", "192.0.2.1", 1) + "\n").collect();
    let directory = files(&[("pen", &pen), ("two", "")]);
    for program in ["gzip", "bzip2", "xz", "zstd"] {
        let Some(input) = compressed(program, &log) else { continue };
        let (out, said, _) = merge_piped(directory.path(), &input, 1000);
        assert!(out == wanted, "{program}: {said}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_its_name() {
    let directory = files(&[("pen", PEN), ("two", TWO)]);
    for (magic, name) in [
        (&b"\x1f\x9d\x90"[..], "compress(1)"),
        (b"\x1f\x1e\x00", "pack(1)"),
        (b"PK\x03\x04", "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"LZIP\x01", "lzip"),
        (b"\xff\xfe9\x00", "UTF-16"),
    ] {
        let (out, said, code) = merge_piped(directory.path(), magic, 1);
        assert_eq!((out.as_str(), code), ("", Some(1)), "{name}");
        assert!(
            said.contains(name) && said.contains("-: expected text") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn a_log_cut_short_gives_what_is_there() {
    let directory = files(&[("pen", PEN), ("two", TWO)]);
    let mut inputs = vec![("gzip", gzipped(ONE))];
    for program in ["bzip2", "xz", "zstd"] {
        inputs.extend(compressed(program, ONE).map(|input| (program, input)));
    }
    for (format, input) in inputs {
        let (out, said, code) = merge_piped(directory.path(), &input[..input.len() - 6], 1 << 20);
        assert_eq!(code, Some(1), "{format}");
        assert!(said.contains("mergelogs: -: "), "{format}: {said}");
        assert!(out.contains("192.0.2.2 - frank"), "{format}: {out}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let directory = files(&[("pen", PEN), ("one", &format!("\u{feff}{ONE}")), ("two", TWO)]);
    let output = merge(MERGELOGS, directory.path(), "-p @/pen 10.0.0.1:@/one [::1]:@/two");
    assert_eq!(text(output.stdout), MERGED);
}

#[test]
fn nuls_of_a_truncated_log_swallow_no_line() {
    let nuls = "\0".repeat(2 << 20);
    let lines: Vec<&str> = ONE.lines().collect();
    let one = format!("{nuls}{}\n{nuls}{}\n\0\0{}\n", lines[0], lines[1], lines[2..].join("\n"));
    let pen = format!("{nuls}{PEN}");
    let directory = files(&[("pen", &pen), ("one", &one), ("two", TWO)]);
    let output = merge(MERGELOGS, directory.path(), "-p @/pen 10.0.0.1:@/one [::1]:@/two");
    assert_eq!(text(output.stdout), MERGED);
    let said = text(output.stderr);
    assert!(said.contains("one: 4194306 NUL bytes before lines: left out"), "{said}");
    assert!(said.contains("pen: 2097152 NUL bytes before lines: left out"), "{said}");
}

#[test]
fn a_line_longer_than_what_is_kept_is_told() {
    let long = format!("{} \"{}\"", web_line("GET /a HTTP/1.0"), "x".repeat(3 << 20));
    let directory = files(&[("pen", PEN), ("one", &format!("{long}\n{ONE}")), ("two", TWO)]);
    let output = merge(MERGELOGS, directory.path(), "-p @/pen 10.0.0.1:@/one [::1]:@/two");
    let out = text(output.stdout);
    // The client is longer than pen's address by two digits.
    assert_eq!(out.lines().map(str::len).max(), Some((1 << 20) + 2));
    assert_eq!(out.lines().count(), ONE.lines().count() + 2);
    let said = text(output.stderr);
    assert!(said.contains("one: 1 line longer than 1048576 bytes: cut there"), "{said}");
}

/// A log that is rotated while it is read: what was open is read to its end.
#[test]
fn a_log_may_be_renamed_and_truncated_while_it_is_read() {
    let directory = files(&[("pen", PEN), ("one", ONE)]);
    let path = |name: &str| directory.path().join(name);
    let fifo = path("two");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let child = Command::new(MERGELOGS)
        .arg("-p")
        .arg(path("pen"))
        .arg(format!("10.0.0.1:{}", path("one").display()))
        .arg(format!("[::1]:{}", fifo.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The other logs are open once the last is.
    let mut writer = fs::File::options().write(true).open(&fifo).unwrap();
    fs::rename(path("one"), path("one.0")).unwrap();
    fs::write(path("one"), "9.9.9.9 another log\n").unwrap();
    writer.write_all(TWO.as_bytes()).unwrap();
    drop(writer);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(output.stdout), MERGED, "{}", text(output.stderr));
}
