//! Heads: what gets pen's fields, what is refused, and what is not HTTP.

use super::*;
use crate::core::http::lines::MAX_HEAD;

#[test]
fn every_request_gets_the_missing_lines() {
    assert_followed_by_request("GET / HTTP/1.1\r\nHost: a\r\n", "");
    assert_followed_by_request("BREW /pot HTTP/1.1\r\n", "");
    assert_followed_by_request("brew-it /pot HTTP/1.1\r\n", "");
    assert_followed_by_request("get / HTTP/1.1\r\n", "");
    assert_followed_by_request("M-SEARCH * HTTP/1.1\r\n", "");
    assert_followed_by_request("PUT / HTTP/1.1\r\nContent-Length: 5\r\n", "GET /");
    assert_followed_by_request("GET / HTTP/1.1\r\ncontent-LENGTH: 18\r\n", "GET / HTTP/1.1\r\n\r\n");
    assert_followed_by_request("POST / HTTP/1.1\r\nContent-Length: 0\r\n", "");
    assert_followed_by_request("GET / HTTP/1.0\r\nConnection: te, Keep-Alive\r\n", "");
    assert_followed_by_request("GET / HTTP/1.0\r\n", "");
    assert_followed_by_request("HEAD / HTTP/1.1\r\nConnection: close\r\n", "");
}

#[test]
fn odd_requests_that_servers_serve_get_them_too() {
    for head in [
        &b"GET /\xe9 HTTP/1.1\r\n"[..],
        b"GET / HTTP/1.1\r\nA: \xe9\x01\r\n",
        b"GET  /a b\tHTTP/1.1 \r\n",
        b"GET  /  HTTP/1.1 \r\n",
        b" GET / HTTP/1.1\r\n",
        b"\x0bGET / HTTP/1.1\r\n",
        b"GET / http/1.1\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.7\r\n",
    ] {
        let input = [head, b"\r\n", head, b"\r\n"].concat();
        let added = format!("{PROTO}{FOR}\r\n");
        let expected = [head, added.as_bytes(), head, added.as_bytes()].concat();
        assert_rewritten(&input, &expected);
    }
}

#[test]
fn line_ends_before_a_request_pass() {
    let line = "GET / HTTP/1.1\r\n";
    for blank in ["\r\n", "\n", "\n\n", "\r\n\r\n", "\r", "\n\r"] {
        assert_rewritten(
            format!("{blank}{line}\r\n{blank}{line}\r\n"),
            format!("{blank}{line}{PROTO}{FOR}\r\n{blank}{line}{PROTO}{FOR}\r\n"),
        );
    }
}

#[test]
fn lines_are_written_as_every_server_reads_them() {
    for (head, line) in [
        ("GET / HTTP/1.1\nA: b\n\n", "A: b\r\n"),
        ("GET / HTTP/1.1\r\nA: b\n\r\n", "A: b\r\n"),
        ("GET / HTTP/1.1\nA: b\r\n\n", "A: b\r\n"),
        ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "A: b c\r\n"),
        ("GET / HTTP/1.1\r\nA:\r\n\t \tb\n  c\r\n \r\nD: e\r\n\r\n", "A: b c \r\nD: e\r\n"),
    ] {
        let expected = format!("GET / HTTP/1.1\r\n{line}{PROTO}{FOR}\r\n");
        assert_rewritten(format!("{head}{head}"), expected.repeat(2));
    }
    let folded = "PUT / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n";
    let expected = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    assert_rewritten(folded, format!("{expected}{PROTO}{FOR}\r\n3\r\nGET\r\n0\r\n\r\n"));
}

#[test]
fn what_servers_read_in_different_ways_reaches_none() {
    for head in [
        &b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n",
        b"GET / HTTP/1.1\r\n\rA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad line\r\n\r\n",
        b"GET / HTTP/1.1\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x01: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n A: b\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /\n",
        b"POST http://a/\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/1.1 x\r\n\r\n",
        b"GET HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\xe9: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\n\xe9: x\r\nContent-Length: 5\r\n\r\nGET /",
        b"GET / HTTP/1.1\r\nA(b): 1\r\n\r\n",
        b"GET admin\r\n",
        b"CONNECT / HTTP/1.1\r\n\r\n",
        b"CONNECT http://a:1 HTTP/1.1\r\n\r\n",
        b"CONNECT a: HTTP/1.1\r\n\r\n",
        b"CONNECT :1 HTTP/1.1\r\n\r\n",
    ] {
        assert_refused(head);
        assert_refused([head, b"GET / HTTP/1.1\r\n\r\n"].concat());
    }
}

#[test]
fn a_head_that_ends_with_the_stream_is_no_request() {
    let head = "GET /a HTTP/1.1\r\nHost: b\r\n\r\n";
    for end in 1..head.len() {
        let begun = &head[..end];
        // A single word may belong to any protocol.
        if begun.len() <= "GET ".len() { assert_rewritten(begun, begun) } else { assert_refused(begun) }
    }
    let sent = format!("{head}{}", &head[..20]);
    let seen = passed(sent.as_bytes());
    assert_eq!(
        show(&seen.server),
        show(format!("GET /a HTTP/1.1\r\nHost: b\r\n{PROTO}{FOR}\r\n").as_bytes())
    );
    assert_eq!(seen.ending, Ending::None, "the first is still to be answered");
}

#[test]
fn other_protocols_pass_as_they_come() {
    for start in [
        &b"EHLO example\r\n"[..],
        b"EHLO x\r\nMAIL FROM:<a>\r\n",
        b"\x16\x03\x01\x02\n",
        b"\x16\x03\x01\x02\x08http/1.1\x00\n",
        b"SSH-2.0-x\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS rtsp://a/ RTSP/1.0\r\n\r\n",
        b"get foo\r\n\r\nbar",
        b"\0\0\0\0\n",
        b"a\0b\n",
        b"\r\n\r\nhello\r\n",
    ] {
        assert_opaque(start);
    }
    for all in
        [&b""[..], b"\r\n\r\n", b"\r\n\r\n\r\n", b"\0\0\0\0", b"\r", b"GE", b"hello world", b"\x16\x03\x01"]
    {
        assert_rewritten(all, all);
    }
}

#[test]
fn what_only_looks_like_another_protocol_is_refused_when_it_shows() {
    for (first, second) in [("\u{1}", "GET / HTTP/1.1\r\n\r\n"), ("\u{1}GET / HT", "TP/1.1\r\n\r\n")] {
        let seen = run(rewriter(), &[first.as_bytes(), second.as_bytes()]);
        assert_eq!(show(&seen.server), show(first.as_bytes()), "no more than had come");
        assert_eq!(seen.ending, Ending::OfRequests);
    }
}

#[test]
fn bytes_of_other_protocols_are_not_held() {
    for start in
        ["\0", "\u{16}\u{3}", "x:", "x:y", "HELO a\r\nb", &"0123456789".repeat(13), "EHLO\r\n", "\r\n"]
    {
        let mut out = Vec::new();
        rewriter().feed(start.as_bytes(), &mut out, |_| {});
        assert_eq!(show(&out), show(start.as_bytes()));
    }
}

#[test]
fn a_head_reaches_the_server_when_it_is_complete() {
    let mut rewriter = rewriter();
    let mut out = Vec::new();
    for (piece, expected) in [
        ("G", String::new()),
        ("ET / HTTP/1.1\r\nA: b\r\n\r", String::new()),
        ("\nX", format!("GET / HTTP/1.1\r\nA: b\r\n{PROTO}{FOR}\r\n")),
        (" / HTTP/1.1\r\n\r\n", format!("X / HTTP/1.1\r\n{PROTO}{FOR}\r\n")),
    ] {
        out.clear();
        rewriter.feed(piece.as_bytes(), &mut out, |_| {});
        assert_eq!(show(&out), show(expected.as_bytes()));
    }
}

#[test]
fn long_heads_are_refused() {
    let line = "GET / HTTP/1.1\r\nA: ";
    let fitting = format!("{line}{}\r\n", "b".repeat(MAX_HEAD - line.len() - 4));
    let whole = run(rewriter(), &[format!("{fitting}\r\n").as_bytes()]).server;
    assert_eq!(show(&whole), show(format!("{fitting}{PROTO}{FOR}\r\n").as_bytes()));
    for head in [
        format!("{line}{}\r\n\r\n", "b".repeat(MAX_HEAD - line.len() - 3)),
        format!("GET /{}", "a".repeat(2 * MAX_HEAD)),
        format!("{line}{}", "A: b\r\n".repeat(MAX_HEAD)),
    ] {
        for size in [1000, usize::MAX] {
            let pieces: Vec<&[u8]> = head.as_bytes().chunks(size).collect();
            let seen = run(rewriter(), &pieces);
            assert!(seen.server.is_empty() && matches!(seen.ending, Ending::With(_)), "{:?}", seen.ending);
        }
    }
    // The number of lines is not limited.
    let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(1000));
    assert_eq!(
        run(rewriter(), &[format!("{many}\r\n").as_bytes()]).server,
        format!("{many}{PROTO}{FOR}\r\n").as_bytes()
    );
    // Neither a path nor a URI: not HTTP.
    let other = format!("put {}", "a".repeat(2 * MAX_HEAD));
    assert_eq!(run(rewriter(), &[other.as_bytes()]).server, other.as_bytes());
}

#[test]
fn an_idle_connection_keeps_no_large_buffer() {
    for (length, kept) in [(100, true), (5000, false)] {
        let mut rewriter = rewriter();
        let head = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(length));
        for piece in head.as_bytes().chunks(50) {
            rewriter.feed(piece, &mut Vec::new(), |_| {});
        }
        assert_eq!(rewriter.buffered() > 0, kept);
        assert!(rewriter.buffered() <= 1024);
    }
    assert!(size_of::<Rewriter>() <= 128, "{}", size_of::<Rewriter>());
}

#[test]
fn request_lines_are_reported() {
    let lines = |input: &[u8]| run(rewriter(), &[input]).lines;
    assert_eq!(
        lines(b"\r\nPUT /1 HTTP/1.1\r\nContent-Length: 9\r\n\r\nGET /no\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HT"),
        ["PUT /1 HTTP/1.1", "GET /2 HTTP/1.1"]
    );
    assert_eq!(
        lines(b"GET /\xe9 HTTP/1.1\nA: b\n\nGET /2 HTTP/1.1\r\nA: b\r\n c\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"),
        ["GET /\\xe9 HTTP/1.1", "GET /2 HTTP/1.1", "GET /3 HTTP/1.1"]
    );
    assert_eq!(lines(b"GET /1 HTTP/1.1\r\nbad\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), ["GET /1 HTTP/1.1"]);
    assert_eq!(lines(b"GET /1\r\nA"), ["GET /1"]);
    assert_eq!(lines(b"EHLO a\r\nMAIL\r\n"), ["EHLO a"]);
    assert_eq!(lines(b"\x16\x03"), ["\\x16\\x03"]);
    assert!(lines(b"\n").is_empty() && lines(b"").is_empty());
}
