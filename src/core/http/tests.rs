//! Rewriting, judged from outside: bytes in, bytes out.

use std::net::IpAddr;

use super::Rewriter;

mod properties;

const CLIENT: &str = "192.0.2.7";
const PROTO: &str = "X-Forwarded-Proto: http\r\n";
const FOR: &str = "X-Forwarded-For: 192.0.2.7\r\n";

fn rewriter() -> Rewriter {
    Rewriter::new(CLIENT.parse().ok(), false)
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Feeds the pieces and ends; gives what goes to the server and the lines reported.
fn run(pieces: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
    let mut rewriter = rewriter();
    let (mut out, mut lines) = (Vec::new(), Vec::new());
    for piece in pieces {
        rewriter.feed(piece, &mut out, |line| lines.push(show(line)));
    }
    rewriter.finish(&mut out);
    (out, lines)
}

#[track_caller]
fn assert_rewritten(input: &str, expected: &str) {
    let pieces: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
    assert_eq!(show(&run(&[input.as_bytes()]).0), show(expected.as_bytes()), "in one piece");
    assert_eq!(show(&run(&pieces).0), show(expected.as_bytes()), "byte by byte");
}

#[track_caller]
fn assert_unchanged(input: &str) {
    // What follows must pass as well: it may lie inside what the doubtful bytes began.
    assert_rewritten(&format!("{input}GET / HTTP/1.1\r\n\r\n"), &format!("{input}GET / HTTP/1.1\r\n\r\n"));
}

/// One request after `head`, with all lines inserted into both.
#[track_caller]
fn assert_followed_by_request(head: &str, body: &str) {
    assert_rewritten(
        &format!("{head}\r\n{body}GET /2 HTTP/1.1\r\n\r\n"),
        &format!("{head}{PROTO}{FOR}\r\n{body}GET /2 HTTP/1.1\r\n{PROTO}{FOR}\r\n"),
    );
}

#[test]
fn every_request_gets_the_missing_lines() {
    assert_followed_by_request("GET / HTTP/1.1\r\nHost: a\r\n", "");
    assert_followed_by_request("BREW /pot HTTP/1.1\r\n", "");
    assert_followed_by_request("PUT / HTTP/1.1\r\nContent-Length: 5\r\n", "GET /");
    assert_followed_by_request("GET / HTTP/1.1\r\ncontent-LENGTH: 18\r\n", "GET / HTTP/1.1\r\n\r\n");
    assert_followed_by_request("POST / HTTP/1.1\r\nContent-Length: 0\r\n", "");
    assert_followed_by_request("GET / HTTP/1.0\r\nConnection: te, Keep-Alive\r\n", "");
    assert_followed_by_request("HEAD / HTTP/1.1\r\nConnection: close\r\n", "");
}

#[test]
fn lines_of_the_client_stay() {
    for (own, added) in [
        ("X-Forwarded-For: 198.51.100.1\r\n", PROTO),
        ("x-forwarded-FOR:\r\n", PROTO),
        ("X-Forwarded-Proto: https\r\n", FOR),
        ("X-Forwarded-Proto: a\r\nX-Forwarded-For: b\r\n", ""),
        ("X_Forwarded_For: b\r\n", &format!("{PROTO}{FOR}")),
    ] {
        assert_rewritten(
            &format!("GET / HTTP/1.1\r\n{own}\r\n"),
            &format!("GET / HTTP/1.1\r\n{own}{added}\r\n"),
        );
    }
}

#[test]
fn the_lines_tell_address_and_scheme() {
    for (client, https, expected) in [
        (Some("2001:db8::1"), true, "X-Forwarded-Proto: https\r\nX-Forwarded-For: 2001:db8::1\r\n"),
        (Some("::ffff:192.0.2.7"), false, "X-Forwarded-Proto: http\r\nX-Forwarded-For: 192.0.2.7\r\n"),
        (None, false, "X-Forwarded-Proto: http\r\n"),
    ] {
        let client = client.map(|text| text.parse::<IpAddr>().unwrap());
        let mut out = Vec::new();
        Rewriter::new(client, https).feed(b"GET / HTTP/1.1\r\n\r\n", &mut out, |_| {});
        assert_eq!(show(&out), show(format!("GET / HTTP/1.1\r\n{expected}\r\n").as_bytes()));
    }
}

#[test]
fn chunked_bodies_are_stepped_over() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n";
    for body in [
        "0\r\n\r\n",
        "5\r\nGET /\r\n0\r\n\r\n",
        "00a \t\r\n0123456789\r\n000\r\n\r\n",
        "1;a=b;c=\"d\"\r\n\n\r\n2 ;x\r\n\r\n\r\n0;y\r\n\r\n",
        "12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\nExpires: never\r\n folded\r\n\r\n",
    ] {
        assert_followed_by_request(head, body);
    }
}

#[test]
fn doubtful_chunks_end_the_rewriting() {
    for body in [
        "\r\n",
        "x\r\n",
        "0x5\r\nabcde\r\n",
        "-1\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "1 1\r\na",
        "1\ra\r\n",
        "10000000000000000\r\n\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "0\r\nA: b\n\r\n\r\n",
        "0\r\n\n",
        "0\r\n\rx",
    ] {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
        let rest = "GET / HTTP/1.1\r\n\r\n";
        assert_rewritten(&format!("{head}\r\n{body}{rest}"), &format!("{head}{PROTO}{FOR}\r\n{body}{rest}"));
    }
}

#[test]
fn doubtful_heads_pass_unchanged_with_all_that_follows() {
    for head in [
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\n A: b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\n\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
        "GET / HTTP/1.1\r\n\rA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
        "GET / HTTP/1.1\r\nA\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nUpgrade: x\r\n\r\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "\r\r\n",
        "EHLO example\r\n",
        "\x16\x03\x01\x02",
        "SSH-2.0-x\r\n",
    ] {
        assert_unchanged(head);
    }
}

#[test]
fn nothing_follows_http_1_0_without_keep_alive() {
    for head in ["GET / HTTP/1.0\r\n", "POST / HTTP/1.0\r\n", "POST / HTTP/1.0\r\nContent-Length: 1\r\n"] {
        let rest = "xGET / HTTP/1.1\r\n\r\n";
        assert_rewritten(&format!("{head}\r\n{rest}"), &format!("{head}{PROTO}{FOR}\r\n{rest}"));
    }
}

#[test]
fn empty_lines_before_a_request_pass() {
    let line = "GET / HTTP/1.1\r\n";
    assert_rewritten(&format!("\r\n\r\n{line}\r\n\r\n{line}\r\n"), &{
        format!("\r\n\r\n{line}{PROTO}{FOR}\r\n\r\n{line}{PROTO}{FOR}\r\n")
    });
}

#[test]
fn long_heads_pass_unchanged() {
    let limit = super::head::MAX_HEAD;
    let line = "GET / HTTP/1.1\r\nA: ";
    let fitting = format!("{line}{}\r\n", "b".repeat(limit - line.len() - 4));
    assert_rewritten(&format!("{fitting}\r\n"), &format!("{fitting}{PROTO}{FOR}\r\n"));
    assert_unchanged(&format!("{line}{}\r\n\r\n", "b".repeat(limit - line.len() - 3)));
    assert_unchanged(&format!("GET /{}", "a".repeat(2 * limit)));

    let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(256));
    assert_rewritten(&format!("{many}\r\n"), &format!("{many}{PROTO}{FOR}\r\n"));
    assert_unchanged(&format!("{many}A: b\r\n\r\n"));
}

#[test]
fn only_a_cr_at_the_start_of_a_line_is_held() {
    let mut rewriter = rewriter();
    let mut out = Vec::new();
    for (piece, expected) in [
        ("G", "G"),
        ("ET / HTTP/1.1\r", "ET / HTTP/1.1\r"),
        ("\n", "\n"),
        ("A: b\r\n", "A: b\r\n"),
        ("\r", ""),
        ("\nX", &format!("{PROTO}{FOR}\r\nX")),
        ("\r\n\r", "\r\n\r"),
        (" ", " "),
    ] {
        out.clear();
        rewriter.feed(piece.as_bytes(), &mut out, |_| {});
        assert_eq!(show(&out), show(expected.as_bytes()));
    }
}

#[test]
fn the_end_brings_out_what_was_held() {
    assert_rewritten("GET / HTTP/1.1\r\n\r", "GET / HTTP/1.1\r\n\r");
    assert_rewritten("GET / HT", "GET / HT");
}

#[test]
fn an_idle_connection_keeps_no_large_buffer() {
    for (length, kept) in [(100, true), (5000, false)] {
        let mut rewriter = rewriter();
        let head = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(length));
        for piece in head.as_bytes().chunks(50) {
            rewriter.feed(piece, &mut Vec::new(), |_| {});
        }
        assert_eq!(rewriter.head.capacity() > 0, kept);
        assert!(rewriter.head.capacity() <= 1024 && rewriter.head.is_empty());
    }
    assert!(size_of::<Rewriter>() <= 128, "{}", size_of::<Rewriter>());
}

#[test]
fn request_lines_are_reported() {
    let lines = |input: &str| run(&[input.as_bytes()]).1;
    assert_eq!(
        lines("\r\nPUT /1 HTTP/1.1\r\nContent-Length: 9\r\n\r\nGET /no\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HT"),
        ["PUT /1 HTTP/1.1", "GET /2 HTTP/1.1"]
    );
    assert_eq!(
        lines("GET /1 HTTP/1.1\nA: b\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"),
        ["GET /1 HTTP/1.1"],
        "doubt is reported once"
    );
    assert_eq!(lines("GET /1 HTTP/1.1\r\nUpgrade: x\r\n\r\nabc\r\n"), ["GET /1 HTTP/1.1"]);
    assert_eq!(lines("\x16\x03"), ["\\x16\\x03"]);
    assert!(lines("\n").is_empty() && lines("").is_empty());
}

#[test]
fn bodies_need_no_look() {
    let mut rewriter = rewriter();
    let mut out = Vec::new();
    let mut feed = |rewriter: &mut Rewriter, text: &str| rewriter.feed(text.as_bytes(), &mut out, |_| {});
    assert_eq!(rewriter.opaque(), 0);
    feed(&mut rewriter, "PUT / HTTP/1.1\r\nContent-Length: 5000000000\r\n\r\n");
    assert_eq!(rewriter.opaque(), 5_000_000_000);
    rewriter.skip(4_999_999_999);
    assert_eq!(rewriter.opaque(), 1);
    rewriter.skip(1);
    assert_eq!(rewriter.opaque(), 0);
    feed(&mut rewriter, "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n");
    assert_eq!(rewriter.opaque(), 255);
    rewriter.skip(255);
    assert_eq!(rewriter.opaque(), 0);
    feed(&mut rewriter, "\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(rewriter.opaque(), u64::MAX);
    rewriter.skip(1 << 40);
    assert_eq!(rewriter.opaque(), u64::MAX);
}

/// Plays a dialogue (`>` client, `<` server), each text in one piece and byte by byte; then tells whether a next
/// request is rewritten.
#[track_caller]
fn still_http(dialogue: &[(char, &str)]) -> bool {
    let request = "GET /next HTTP/1.1\r\n\r\n";
    let [whole, bytewise] = [usize::MAX, 1].map(|size| {
        let mut rewriter = rewriter();
        let mut out = Vec::new();
        for (side, text) in dialogue {
            for piece in text.as_bytes().chunks(size) {
                match side {
                    '>' => rewriter.feed(piece, &mut out, |_| {}),
                    _ if rewriter.wants_answers() => rewriter.observe(piece),
                    _ => {}
                }
            }
        }
        out.clear();
        rewriter.feed(request.as_bytes(), &mut out, |_| {});
        out != request.as_bytes()
    });
    assert_eq!(whole, bytewise, "{dialogue:?}");
    whole
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
const CONNECT: &str = "CONNECT a:1 HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";

#[test]
fn granted_protocols_are_left_alone() {
    let granted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";
    assert!(!still_http(&[('>', UPGRADE), ('<', granted)]));
    assert!(!still_http(&[('>', UPGRADE), ('<', "HTTP/1.1 100 Continue\r\n\r\n"), ('<', granted)]));
    assert!(!still_http(&[('>', CONNECT), ('<', "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")]));
    assert!(!still_http(&[('>', UPGRADE), ('<', OK), ('>', UPGRADE), ('<', granted)]));
    let upload = "PUT / HTTP/1.1\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc";
    assert!(!still_http(&[('>', upload), ('<', granted)]));
}

#[test]
fn refused_protocols_leave_http() {
    assert!(still_http(&[('>', UPGRADE), ('<', OK)]));
    assert!(still_http(&[('>', CONNECT), ('<', "HTTP/1.1 405 No\r\nContent-Length: 3\r\n\r\nabc")]));
    assert!(still_http(&[('>', UPGRADE), ('<', "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"), ('<', OK)]));
    assert!(still_http(&[('>', UPGRADE), ('<', "HTTP/1.1 200 OK\r\n\r\nup to the end")]));
    let upload = "PUT / HTTP/1.1\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\na";
    assert!(still_http(&[('>', upload), ('<', OK), ('>', "bc")]));
}

#[test]
fn answers_are_paired_with_requests() {
    let get = "GET / HTTP/1.1\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let bait = "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let granted = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    // Both in flight: the first answer's body must not be taken for the second answer.
    assert!(still_http(&[('>', UPGRADE), ('<', OK), ('>', get), ('>', UPGRADE), ('<', bait), ('<', OK)]));
    assert!(!still_http(&[
        ('>', UPGRADE),
        ('<', OK),
        ('>', get),
        ('>', UPGRADE),
        ('<', bait),
        ('<', granted)
    ]));
    assert!(still_http(&[
        ('>', UPGRADE),
        ('<', chunked),
        ('>', UPGRADE),
        ('<', OK),
        ('>', UPGRADE),
        ('<', OK)
    ]));
    let empty = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    assert!(still_http(&[('>', UPGRADE), ('<', OK), ('>', head), ('>', UPGRADE), ('<', empty), ('<', OK)]));
    let not_modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
    assert!(still_http(&[('>', UPGRADE), ('<', not_modified), ('>', UPGRADE), ('<', OK)]));
    for (count, expected) in [(63, true), (64, true), (65, false)] {
        let (gets, answers) = (get.repeat(count), OK.repeat(count));
        let dialogue = [('>', UPGRADE), ('<', OK), ('>', &gets), ('<', &answers), ('>', UPGRADE), ('<', OK)];
        assert_eq!(still_http(&dialogue), expected, "{count} requests in flight");
    }
}

#[test]
fn what_cannot_be_decided_is_left_alone() {
    let get = "GET / HTTP/1.1\r\n\r\n";
    assert!(!still_http(&[('>', UPGRADE)]), "no answer yet");
    assert!(!still_http(&[('>', UPGRADE), ('>', get), ('<', OK)]), "the client went on before the answer");
    assert!(
        !still_http(&[('>', get), ('<', OK), ('>', UPGRADE), ('<', OK)]),
        "answers not followed from the start"
    );
    assert!(!still_http(&[('<', "220 hello\r\n"), ('>', UPGRADE), ('<', OK)]), "the server spoke first");
    assert!(!still_http(&[('>', UPGRADE), ('<', "220 hello\r\n")]), "the answer is not HTTP");
    assert!(!still_http(&[('>', UPGRADE), ('<', "HTTP/1.1 200 OK\nA: b\n\n")]), "a doubtful answer");
    assert!(
        !still_http(&[('>', UPGRADE), ('<', OK), ('<', OK), ('>', UPGRADE), ('<', OK)]),
        "an answer too many"
    );
    assert!(still_http(&[('>', UPGRADE), ('<', &OK.repeat(2))]), "decided before the answer too many");
    let odd = "HTTP/1.1 101 x\r\nContent-Length: 0\r\n\r\n";
    assert!(!still_http(&[('>', CONNECT), ('<', odd)]), "101 to a CONNECT");
    assert!(
        !still_http(&[('>', UPGRADE), ('<', OK), ('>', get), ('<', odd), ('>', UPGRADE), ('<', OK)]),
        "101 to a GET"
    );
    for (length, expected) in [(65_000, true), (66_000, false)] {
        let long = OK.replace("200 OK", &format!("200 {}", "a".repeat(length)));
        assert_eq!(still_http(&[('>', UPGRADE), ('<', &long)]), expected, "{length} bytes");
    }
    let open = "HTTP/1.1 200 OK\r\n\r\n";
    assert!(!still_http(&[('>', UPGRADE), ('<', open), ('>', UPGRADE), ('<', OK)]), "an answer without end");
}
