//! Lines as web servers write them, and lines that are no such lines.

use std::path::Path;

use super::{files, merge, text};
use crate::support::skipped;
use crate::support::weblog::MERGELOGS;

/// An entry of pen for `GET /a HTTP/1.0` at 10:55:36 UTC on 10 October 2000.
const ENTRY: &str = "192.0.2.1 971175336 10.0.0.1 GET /a HTTP/1.0\n";

/// What mergelogs makes of one line, with that entry and a jitter of 10 seconds: its output and its messages.
fn merged(line: &str, options: &str) -> (String, String) {
    let directory = files(&[("pen", ENTRY), ("web", &format!("{line}\n"))]);
    let args = format!("{options} -j 10 -p @/pen 10.0.0.1:@/web");
    let output = merge(MERGELOGS, directory.path(), args.trim_start());
    assert!(output.status.success(), "{}", text(output.stderr));
    (text(output.stdout), text(output.stderr))
}

/// A line whose stamp is this.
fn stamped(stamp: &str) -> String {
    format!(r#"9.9.9.9 - - [{stamp}] "GET /a HTTP/1.0" 200 1"#)
}

#[test]
fn what_is_not_understood_is_written_as_it_is() {
    for line in [
        // Caddy, JSON.
        r#"{"level":"info","ts":971175336.4,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"9.9.9.9","method":"GET","uri":"/a"}}"#,
        // nginx, escape=json.
        r#"{"time":"2000-10-10T10:55:36+00:00", "addr":"9.9.9.9", "request":"GET /a HTTP/1.0"}"#,
        // IIS and W3C.
        "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status",
        "2000-10-10 10:55:36 10.0.0.1 GET /a - 80 - 9.9.9.9 Mozilla/5.0+(X11) 200 0 0 15",
        r#"2000-10-10 10:55:36 9.9.9.9 "GET /a HTTP/1.0" 200"#,
        // Apache's error log, nginx's.
        r#"[Tue Oct 10 10:55:36.483 2000] [core:error] [pid 7] [client 9.9.9.9:1] AH00126: Invalid URI in request "GET /a""#,
        r#"2000/10/10 10:55:36 [error] 7#7: *1 open() failed, client: 9.9.9.9, request: "GET /a HTTP/1.0""#,
        // logfmt; a load balancer's.
        r#"time="2000-10-10T10:55:36Z" level=info msg="GET /a HTTP/1.0""#,
        r#"http 2000-10-10T10:55:36.18Z app/lb/50 9.9.9.9:2817 10.0.0.1:80 0.0 200 "GET http://x/a HTTP/1.1" "curl""#,
        // No stamp, or none that can be read.
        r#"9.9.9.9 - - "GET /a HTTP/1.0" 200 1"#,
        &stamped("yesterday"),
        &stamped("10/Oct/2000:10:55:36 XYZ"),
        "9.9.9.9 - - [10/Oct/2000:10:55:36 +0000] GET /a HTTP/1.0 200 1",
    ] {
        let (out, said) = merged(line, "");
        assert_eq!(out, format!("{line}\n"));
        assert!(said.contains("1 line of 1 are in no known format: written as they are"), "{line}: {said}");
        assert!(!said.contains("match no entry"), "{line}: {said}");
    }
}

#[test]
fn only_the_client_is_replaced() {
    for (line, wanted) in [
        (
            r#"www.example.com:80 9.9.9.9 - - [D] "GET /a HTTP/1.0" 200"#,
            r#"www.example.com:80 192.0.2.1 - - [D] "GET /a HTTP/1.0" 200"#,
        ),
        (r#"9.9.9.9, 10.1.1.1 - - [D] "GET /a HTTP/1.0" 200"#, r#"192.0.2.1 - - [D] "GET /a HTTP/1.0" 200"#),
        ("9.9.9.9\t-\t-\t[D]\t\"GET /a HTTP/1.0\"\t200", "192.0.2.1\t-\t-\t[D]\t\"GET /a HTTP/1.0\"\t200"),
        (r#"2001:db8::9 - - [D] "GET /a HTTP/1.0" 200"#, r#"192.0.2.1 - - [D] "GET /a HTTP/1.0" 200"#),
        (
            r#"lb.example.com - a user [D] 0.12 "GET /a HTTP/1.0" 200"#,
            r#"192.0.2.1 - a user [D] 0.12 "GET /a HTTP/1.0" 200"#,
        ),
        (
            r#"9.9.9.9 - - [D] [tid 12] "GET /a HTTP/1.0" 200"#,
            r#"192.0.2.1 - - [D] [tid 12] "GET /a HTTP/1.0" 200"#,
        ),
        (
            r#"9.9.9.9 - - [D] "GET /a HTTP/1.0" 200 "a \"quoted\" [agent]""#,
            r#"192.0.2.1 - - [D] "GET /a HTTP/1.0" 200 "a \"quoted\" [agent]""#,
        ),
    ] {
        let date = |line: &str| line.replace('D', "10/Oct/2000:10:55:36 +0000");
        assert_eq!(merged(&date(line), "").0, date(wanted) + "\n");
    }
}

#[test]
fn stamps_as_c_and_other_servers_write_them() {
    for stamp in [
        "10/Oct/2000:10:55:36.483 +0000",
        "10/Oct/2000:10:55:36,483 +0000",
        "10/Oct/2000 10:55:36 +0000",
        "10/Oct/2000T10:55:36 +0000",
        "10/Oct/2000:10:55:36 +0000 behind it",
        "10/Oct/2000:10:55:36 +0000 (UTC)",
        "10/Oct/2000:10:55:36",
        "10/Oct/2000:10:55:36Z",
        " 10/Oct/2000:10:55:36 +0000",
        "10/Oct/2000:12:55:36 +02:00",
        "10/Oct/2000:02:55:36 AKDT",
        "10/Oct/2000:16:25:36 IST",
        "2000-10-10T10:55:36+00:00",
        "2000-10-10 10:55:36.483 +0000",
        "Tue Oct 10 10:55:36 2000",
        "971175336.483",
        "971175336483",
    ] {
        let (out, said) = merged(&stamped(stamp), "");
        assert_eq!(out, stamped(stamp).replacen("9.9.9.9", "192.0.2.1", 1) + "\n", "{said}");
    }
}

#[test]
fn a_zone_of_several_meanings_is_told_and_can_be_given() {
    // China; North America, six hours behind Greenwich (CDT is in force on that day, so that CST is never Chicago's).
    let (out, said) = merged(&stamped("10/Oct/2000:18:55:36 CST"), "");
    assert!(out.starts_with("192.0.2.1 "), "{out}");
    assert!(said.contains("zone CST has several meanings: taken for +0800; see --zone"), "{said}");
    for (zone, stamp) in [
        ("America/Regina", "10/Oct/2000:04:55:36 CST"),
        ("Asia/Shanghai", "10/Oct/2000:18:55:36 CST"),
        ("America/Chicago", "10/Oct/2000:05:55:36 CDT"),
        ("America/Chicago", "10/Oct/2000:05:55:36"),
        ("-0500", "10/Oct/2000:05:55:36"),
        ("America/Los_Angeles", "10/Oct/2000:03:55:36 XYZ"),
    ] {
        let (out, _) = merged(&stamped(stamp), &format!("--zone {zone}"));
        assert!(out.starts_with("192.0.2.1 "), "{zone} {stamp}: {out}");
    }
    let (_, said) = merged(&stamped("10/Oct/2000:18:55:36 XYZ"), "");
    assert!(said.contains("zone XYZ is unknown; see --zone"), "{said}");
}

#[test]
fn utc_converts_whatever_stands_in_the_brackets() {
    for stamp in ["10/Oct/2000:13:55:36.483 +0300", "2000-10-10T13:55:36+03:00", "10/Oct/2000:18:55:36 HKT"] {
        let wanted = stamped("10/Oct/2000:10:55:36 +0000").replacen("9.9.9.9", "192.0.2.1", 1) + "\n";
        assert_eq!(merged(&stamped(stamp), "--utc").0, wanted);
    }
}

/// IPv6 clients, and those that C pen gives a zone; servers in brackets.
#[test]
fn clients_and_servers_by_ipv6() {
    let pen = "2001:db8::7 971175336 2001:db8::1 GET /a HTTP/1.0\nfe80::1%eth0 971175336 2001:db8::1 GET /b HTTP/1.0\n";
    let web = format!(
        "{}\n{}\n",
        stamped("10/Oct/2000:10:55:36 +0000"),
        stamped("10/Oct/2000:10:55:36 +0000").replace("/a", "/b")
    );
    let directory = files(&[("pen", pen), ("web", &web)]);
    let output = merge(MERGELOGS, directory.path(), "-p @/pen [2001:db8:0::1]:@/web");
    let out = text(output.stdout);
    let clients: Vec<&str> = out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(clients, ["2001:db8::7", "fe80::1"], "{}", text(output.stderr));
}

/// Whatever C gives a client, ours gives the same.
#[test]
fn every_stamp_that_c_merges_is_merged() {
    const C: &str = "/usr/bin/mergelogs";
    if !Path::new(C).exists() {
        return skipped("mergelogs beside C", "no C mergelogs");
    }
    let lines = [
        stamped("10/Oct/2000:10:55:36 +0000"),
        stamped("10/Oct/2000:10:55:36.483 +0000"),
        stamped("10/Oct/2000 10:55:36 +0000"),
        stamped("10/Oct/2000:10:55:36 +0000 x"),
        stamped("10/Oct/2000:10:55 +0000").replace("10:55", "10:56"),
        stamped("1/Oct/2000:10:55:36 +0000").replace("1/Oct", "10/Oct"),
        r#"9.9.9.9 - - [10/Oct/2000:10:55:36 +0000] 0.1 "GET /a HTTP/1.0" 200 1"#.to_owned(),
        r#"host - - [10/Oct/2000:10:55:36 +0000]  "GET /a HTTP/1.0" 200 1"#.to_owned(),
    ];
    for line in lines {
        let directory = files(&[("pen", ENTRY), ("web", &format!("{line}\n"))]);
        let client = |program: &str| {
            let out = text(merge(program, directory.path(), "-j 60 -p @/pen 10.0.0.1:@/web").stdout);
            out.split(' ').next().unwrap().to_owned()
        };
        assert_eq!(client(MERGELOGS), client(C), "{line}");
    }
}
