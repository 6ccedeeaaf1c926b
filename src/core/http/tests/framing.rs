//! Where bodies end, and the requests that are refused because their end is uncertain.

use super::*;

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
fn doubtful_chunks_end_the_connection() {
    for (body, good) in [
        ("\r\n", 0),
        ("x\r\n", 0),
        ("0x5\r\nabcde\r\n", 1),
        ("-1\r\n", 0),
        ("5\nabcde\r\n0\r\n\r\n", 1),
        ("1 1\r\na", 2),
        ("1\ra\r\n", 2),
        ("10000000000000000\r\n\r\n", 16),
        ("1;a\nb\r\nx\r\n0\r\n\r\n", 3),
        ("1\r\nab\r\n", 4),
        ("1\r\na\n0\r\n\r\n", 4),
        ("0\r\nA: b\n\r\n\r\n", 7),
        ("0\r\n\n", 3),
        ("0\r\n\rx", 4),
    ] {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
        let seen = passed(format!("{head}\r\n{body}GET / HTTP/1.1\r\n\r\n").as_bytes());
        let expected = format!("{head}{PROTO}{FOR}\r\n{}", &body[..good]);
        assert_eq!(show(&seen.server), show(expected.as_bytes()));
        assert!(matches!(seen.ending, Ending::With(_)), "{body:?}");
    }
}

#[test]
fn doubtful_framing_is_refused() {
    for fields in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999",
        "Content-Length : 1",
        "Content_Length: 1",
        "Content-Length.: 1",
        "\u{e9}Transfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding:",
    ] {
        assert_refused(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n"));
    }
    for version in ["HTTP/1.0", "http/1.1", "HTTP/2.0"] {
        assert_refused(format!("POST / {version}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    }
    assert_refused("CONNECT a:1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    assert_refused("CONNECT a:1 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
}

#[test]
fn a_length_may_have_white_space_around_it() {
    assert_followed_by_request("POST / HTTP/1.1\r\nContent-Length:\t 3 \t\r\n", "abc");
    assert_followed_by_request("POST / HTTP/1.1\r\nTransfer-Encoding:chunked \r\n", "0\r\n\r\n");
}

#[test]
fn only_http_follows_http() {
    for next in ["x", "EHLO a\r\n", "GET foo\r\n\r\n", "\u{16}\u{3}\n\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let head = "GET / HTTP/1.0\r\n";
        let seen = passed(format!("{head}\r\n{next}").as_bytes());
        assert_eq!(show(&seen.server), show(format!("{head}{PROTO}{FOR}\r\n").as_bytes()));
        assert_eq!(seen.ending, Ending::None, "the answer is still to come");
    }
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

    let mut other = super::rewriter();
    feed(&mut other, "EHLO a\r\n");
    assert_eq!((other.opaque(), other.opaque_answers()), (u64::MAX, u64::MAX));
    other.skip(1 << 40);
    assert_eq!(other.opaque(), u64::MAX);
}
