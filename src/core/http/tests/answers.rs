//! How the answers of the server affect requests.

use super::*;

const GET: &str = "GET / HTTP/1.1\r\n\r\n";
const UPGRADE: &str = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
const CONNECT: &str = "CONNECT a:1 HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";

/// What happened to the next request.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum RequestOutcome {
    /// It got pen's fields.
    Marked,
    /// It passed unchanged.
    Opaque,
    /// It waits for an answer.
    Held,
    /// It was refused, since pen cannot know what the connection speaks.
    Refused,
}

/// Plays a dialogue (`>` client, `<` server), each text in one piece and byte by byte.
#[track_caller]
fn play(dialogue: &[(char, &str)]) -> Rewriter {
    let [whole, bytewise] = [usize::MAX, 1].map(|size| {
        let mut rewriter = rewriter();
        let mut out = Vec::new();
        for (side, text) in dialogue {
            for mut piece in text.as_bytes().chunks(size) {
                match side {
                    '>' => rewriter.feed(piece, &mut out, |_| {}),
                    _ => {
                        let skipped = piece.len().min(usize::try_from(rewriter.opaque_answers()).unwrap());
                        rewriter.skip_answers(skipped as u64);
                        piece = &piece[skipped..];
                        rewriter.observe(piece);
                        if rewriter.is_ready() {
                            rewriter.feed(b"", &mut out, |_| {});
                        }
                    }
                }
            }
        }
        (show(&out), rewriter)
    });
    assert_eq!(whole.0, bytewise.0, "{dialogue:?}");
    assert_eq!(next(&mut { bytewise.1 }), next(&mut play_again(dialogue)), "{dialogue:?}");
    whole.1
}

fn play_again(dialogue: &[(char, &str)]) -> Rewriter {
    let mut rewriter = rewriter();
    let mut out = Vec::new();
    for (side, text) in dialogue {
        match side {
            '>' => rewriter.feed(text.as_bytes(), &mut out, |_| {}),
            _ => rewriter.observe(text.as_bytes()),
        }
        if rewriter.is_ready() {
            rewriter.feed(b"", &mut out, |_| {});
        }
    }
    rewriter
}

fn next(rewriter: &mut Rewriter) -> RequestOutcome {
    let mut out = Vec::new();
    let request = b"GET /next HTTP/1.1\r\n\r\n";
    rewriter.feed(request, &mut out, |_| {});
    if rewriter.refusal() == Some(RequestRefusal::Protocol) {
        assert!(out.is_empty());
        return RequestOutcome::Refused;
    }
    if out.is_empty() {
        assert!(!rewriter.wants_requests() && !rewriter.is_ready());
        return RequestOutcome::Held;
    }
    if out.ends_with(request) { RequestOutcome::Opaque } else { RequestOutcome::Marked }
}

#[track_caller]
fn assert_next(dialogue: &[(char, &str)], expected: RequestOutcome) {
    assert_eq!(next(&mut play(dialogue)), expected, "{dialogue:?}");
}

#[test]
fn granted_protocols_are_left_alone() {
    assert_next(&[('>', UPGRADE), ('<', GRANTED)], RequestOutcome::Opaque);
    assert_next(
        &[('>', UPGRADE), ('<', "HTTP/1.1 100 Continue\r\n\r\n"), ('<', GRANTED)],
        RequestOutcome::Opaque,
    );
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    assert_next(&[('>', CONNECT), ('<', answer)], RequestOutcome::Opaque);
    assert_next(&[('>', GET), ('<', OK), ('>', UPGRADE), ('<', GRANTED)], RequestOutcome::Opaque);
    assert_next(&[('>', UPGRADE), ('<', OK), ('>', UPGRADE), ('<', GRANTED)], RequestOutcome::Opaque);
    assert_next(&[('>', GET), ('>', UPGRADE), ('<', OK), ('<', GRANTED)], RequestOutcome::Opaque);
    let upload = UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc");
    assert_next(&[('>', &upload), ('<', GRANTED)], RequestOutcome::Opaque);
    // Servers may name fields as they like.
    let odd = GRANTED.replace("\r\n\r\n", "\r\nX-Info(1): a\r\nX\u{e9}: b\r\n\r\n");
    assert_next(&[('>', UPGRADE), ('<', &odd)], RequestOutcome::Opaque);
}

#[test]
fn only_a_101_turns_http_off() {
    let refused = "HTTP/1.1 405 No\r\nContent-Length: 3\r\n\r\nabc";
    let hints = "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n";
    for before in [&[][..], &[('>', GET), ('<', OK)], &[('>', GET), ('<', OK), ('>', GET), ('<', OK)]] {
        for rest in [
            &[('>', UPGRADE), ('<', OK)][..],
            &[('>', CONNECT), ('<', refused)],
            &[('>', UPGRADE), ('<', hints), ('<', OK)],
            &[('>', UPGRADE), ('<', "HTTP/1.1 200 OK\r\n\r\nup to the end")],
            &[('>', UPGRADE), ('<', "HTTP/1.1 426 Upgrade\nContent-Length: 0\n\n")],
        ] {
            assert_next(&[before, rest].concat(), RequestOutcome::Marked);
        }
    }
    let upload = UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\na");
    assert_next(&[('>', &upload), ('<', OK), ('>', "bc")], RequestOutcome::Marked);
}

#[test]
fn upgrade_counts_only_with_connection() {
    for fields in [
        "Upgrade: x",
        "Upgrade: x\r\nConnection: close",
        "Connection: upgrade",
        "Connection: Upgrade\r\nUpgrade:",
    ] {
        assert_next(&[('>', &format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n"))], RequestOutcome::Marked);
    }
    for fields in
        ["Upgrade: x\r\nConnection: a, UPGRADE", "connection: a\r\nupgrade: x\r\nConnection: upgrade"]
    {
        assert_next(&[('>', &format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n"))], RequestOutcome::Held);
    }
}

#[test]
fn what_follows_a_question_waits_for_its_answer() {
    assert_next(&[('>', UPGRADE)], RequestOutcome::Held);
    assert_next(&[('>', GET), ('>', UPGRADE), ('<', OK)], RequestOutcome::Held);
    let mut out = Vec::new();
    for (answer, expected) in [(OK, format!("GET / HTTP/1.1\r\n{PROTO}{FOR}\r\n")), (GRANTED, GET.to_owned())]
    {
        let mut rewriter = rewriter();
        rewriter.feed(format!("{UPGRADE}{GET}").as_bytes(), &mut out, |_| {});
        out.clear();
        assert!(!rewriter.wants_requests() && !rewriter.is_ready());
        rewriter.observe(answer.as_bytes());
        assert!(rewriter.is_ready());
        rewriter.feed(b"", &mut out, |_| {});
        assert_eq!(show(&out), show(expected.as_bytes()));
        assert!(rewriter.wants_requests());
    }
}

#[test]
fn answers_are_paired_with_requests() {
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let bait = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{GRANTED}", GRANTED.len());
    // Both in flight: the first answer's body must not be taken for the second answer.
    assert_next(&[('>', GET), ('>', UPGRADE), ('<', &bait), ('<', OK)], RequestOutcome::Marked);
    assert_next(&[('>', GET), ('>', UPGRADE), ('<', &bait), ('<', GRANTED)], RequestOutcome::Opaque);
    assert_next(&[('>', GET), ('<', chunked), ('>', UPGRADE), ('<', OK)], RequestOutcome::Marked);
    let empty = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    assert_next(&[('>', head), ('>', UPGRADE), ('<', empty), ('<', OK)], RequestOutcome::Marked);
    let not_modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
    assert_next(&[('>', GET), ('<', not_modified), ('>', UPGRADE), ('<', OK)], RequestOutcome::Marked);
    assert_next(
        &[('>', GET), ('<', "HTTP/1.1 204 No\r\n\r\n"), ('>', UPGRADE), ('<', GRANTED)],
        RequestOutcome::Opaque,
    );
}

#[test]
fn a_client_may_be_sixty_four_answers_ahead() {
    for count in [63, 64, 65, 200] {
        let mut rewriter = rewriter();
        let mut out = Vec::new();
        rewriter.feed(GET.repeat(count).as_bytes(), &mut out, |_| {});
        let passed = |out: &[u8]| String::from_utf8_lossy(out).matches(FOR).count();
        assert_eq!(passed(&out), count.min(64));
        assert_eq!(rewriter.wants_requests(), count <= 64);
        for answered in 1..=count {
            rewriter.observe(OK.as_bytes());
            if rewriter.is_ready() {
                rewriter.feed(b"", &mut out, |_| {});
            }
            assert_eq!(passed(&out), count.min(64 + answered));
        }
        assert!(rewriter.wants_requests());
        rewriter.feed(UPGRADE.as_bytes(), &mut out, |_| {});
        rewriter.observe(OK.as_bytes());
        assert_eq!(next(&mut rewriter), RequestOutcome::Marked);
    }
}

#[test]
fn answers_that_cannot_be_told_apart_grant_nothing() {
    assert_next(&[('<', "220 hello\r\n"), ('>', GET)], RequestOutcome::Marked);
    assert_next(&[('<', "220 hello\r\n"), ('>', UPGRADE), ('<', GRANTED)], RequestOutcome::Refused);
    assert_next(&[('>', UPGRADE), ('<', "220 hello\r\n\r\n")], RequestOutcome::Refused);
    let odd = "HTTP/1.1 101 x\r\nContent-Length: 0\r\n\r\n";
    assert_next(&[('>', CONNECT), ('<', odd)], RequestOutcome::Marked);
    assert_next(&[('>', GET), ('<', odd), ('>', UPGRADE), ('<', GRANTED)], RequestOutcome::Refused);
    assert_next(&[('>', GET), ('<', OK), ('<', OK), ('>', UPGRADE), ('<', GRANTED)], RequestOutcome::Refused);
    let open = "HTTP/1.1 200 OK\r\n\r\n";
    assert_next(&[('>', GET), ('<', open), ('>', UPGRADE), ('<', GRANTED)], RequestOutcome::Refused);
    for (length, expected) in [(65_000, RequestOutcome::Marked), (66_000, RequestOutcome::Refused)] {
        let long = OK.replace("200 OK", &format!("200 {}", "a".repeat(length)));
        let mut rewriter = play_again(&[('>', UPGRADE), ('<', &long)]);
        assert_eq!(next(&mut rewriter), expected, "{length} bytes");
    }
}

#[test]
fn a_refusal_comes_after_the_answers_before_it() {
    let bad = "GET /\r\n\r\n";
    let ending = |dialogue: &[(char, &str)]| play_again(dialogue).ending();
    assert!(matches!(ending(&[('>', bad)]), Ending::With(_)));
    let two = format!("{GET}{GET}{bad}");
    assert_eq!(ending(&[('>', &two)]), Ending::None);
    assert_eq!(ending(&[('>', &two), ('<', OK)]), Ending::None);
    assert_eq!(ending(&[('>', &two), ('<', OK), ('<', &OK[..OK.len() - 1])]), Ending::None);
    assert!(matches!(ending(&[('>', &two), ('<', OK), ('<', OK)]), Ending::With(_)));
    // The last answer lasts until the connection ends.
    assert_eq!(ending(&[('>', &two), ('<', OK), ('<', "HTTP/1.1 200 OK\r\n\r\n")]), Ending::OfRequests);
}

#[test]
fn a_body_that_is_refused_may_have_its_answer_already() {
    let bad = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx";
    let ending = |dialogue: &[(char, &str)]| play_again(dialogue).ending();
    assert!(matches!(ending(&[('>', bad)]), Ending::With(_)));
    assert_eq!(ending(&[('>', GET), ('>', bad)]), Ending::None);
    assert!(matches!(ending(&[('>', GET), ('>', bad), ('<', OK)]), Ending::With(_)));
    let (head, x) = bad.split_at(bad.len() - 1);
    assert_eq!(ending(&[('>', head), ('<', OK), ('>', x)]), Ending::OfRequests);
    assert_eq!(ending(&[('>', head), ('<', &OK[..OK.len() - 1]), ('>', x)]), Ending::OfRequests);
}

#[test]
fn bodies_of_answers_need_no_look() {
    let mut rewriter = rewriter();
    assert_eq!(rewriter.opaque_answers(), 0);
    rewriter.feed(GET.as_bytes(), &mut Vec::new(), |_| {});
    rewriter.observe(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n");
    assert_eq!(rewriter.opaque_answers(), 5_000_000_000);
    rewriter.skip_answers(5_000_000_000);
    assert_eq!(rewriter.opaque_answers(), 0);
    rewriter.feed(GET.as_bytes(), &mut Vec::new(), |_| {});
    rewriter.observe(b"HTTP/1.0 200 OK\r\n\r\n");
    assert_eq!(rewriter.opaque_answers(), u64::MAX, "it ends with the connection");
}

#[test]
fn whether_an_answer_is_complete_is_known_as_long_as_answers_are() {
    use AnswerProgress::{Complete, Incomplete, Unknown};
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let lasts = "HTTP/1.1 200 OK\r\n\r\nabc";
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n";
    for (dialogue, progress) in [
        (&[][..], Complete),
        (&[('>', "GET / HT")], Complete),
        (&[('>', GET)], Incomplete),
        (&[('>', GET), ('<', "HTTP/1.1 2")], Incomplete),
        (&[('>', GET), ('<', early)], Incomplete),
        (&[('>', GET), ('<', OK.split_at(OK.len() - 1).0)], Incomplete),
        (&[('>', GET), ('<', OK)], Complete),
        (&[('>', GET), ('>', GET), ('<', OK)], Incomplete),
        (&[('>', GET), ('>', GET), ('<', OK), ('<', OK)], Complete),
        (&[('>', head), ('<', "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")], Complete),
        (&[('>', GET), ('<', lasts)], Incomplete),
        // Pen does not know what passes, or to what it answers.
        (&[('>', UPGRADE), ('<', GRANTED)], Unknown),
        (&[('>', CONNECT), ('<', "HTTP/1.1 200 OK\r\n\r\n")], Unknown),
        (&[('>', "SSH-2.0-x\r\n")], Unknown),
        (&[('<', "220 hello\r\n\r\n")], Unknown),
    ] {
        assert_eq!(play(dialogue).answer_progress(), progress, "{dialogue:?}");
    }
}
