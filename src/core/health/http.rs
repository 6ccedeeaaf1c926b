//! The request of an http check, and how its response is judged.

use super::answer_fault::AnswerFault;
use super::check::CheckConfig;
use super::status_ranges::StatusRanges;
use crate::core::settings::Keyword;

/// How much of a response's head, and of its body, is read.
const LOOKED_AT: usize = 64 * 1024;
/// The maximum number of fields in a head.
const FIELDS: usize = 128;

/// The request for the server `host`.
pub fn request(check: &CheckConfig, host: &str) -> Vec<u8> {
    let host = check.host.as_deref().unwrap_or(host);
    // An IPv6 address stands in brackets (RFC 3986 3.2.2); a Unix socket has no host.
    let [open, host, close] = match host {
        path if path.contains('/') => ["", "localhost", ""],
        ip if ip.parse::<std::net::Ipv6Addr>().is_ok() => ["[", ip, "]"],
        host => ["", host, ""],
    };
    let (method, path) = (check.method.word(), check.path.as_str());
    let fields = "\r\nUser-Agent: pen\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    [method, " ", path, " HTTP/1.1\r\nHost: ", open, host, close, fields].concat().into_bytes()
}

/// The verdict on a response as far as it has come: `None` while that is not enough. `ended` when no more will come.
/// Success and failure both carry a reason in words.
pub fn judge(check: &CheckConfig, answer: &[u8], ended: bool) -> Option<Result<String, AnswerFault>> {
    let wrong = |why: String| Some(Err(AnswerFault::Wrong(why)));
    let mut rest = answer;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let length = match head.parse(rest) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if ended => return Some(Err(AnswerFault::ended(answer))),
            Ok(httparse::Status::Partial) if rest.len() >= LOOKED_AT => {
                return wrong("the head of the answer is too long".into());
            }
            Ok(httparse::Status::Partial) => return None,
            Err(error) => return wrong(format!("the answer is not HTTP: {error}")),
        };
        let status = head.code.unwrap_or_default();
        if (100..200).contains(&status) && status != 101 {
            // An interim answer; the final one follows (RFC 9110 15.2).
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        if !StatusRanges::new(&check.expect).contains(status) {
            let expected = match check.expect.as_slice() {
                [] => "200-399".into(),
                expect => String::from_utf8_lossy(expect).into_owned(),
            };
            return wrong(format!("status {status}, expected {expected}"));
        }
        if check.body.is_empty() {
            return Some(Ok(format!("status {status}")));
        }
        let field = |name: &str| {
            head.headers
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name))
                .map(|field| String::from_utf8_lossy(field.value).trim().to_ascii_lowercase())
        };
        let raw = rest.get(length..).unwrap_or_default();
        let (body, complete) = if field("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked"))
        {
            unchunked(raw)
        } else {
            // Without a length the end of the connection is that of the body (RFC 9112 6.3).
            let length = field("content-length").and_then(|length| length.parse::<usize>().ok());
            (raw.to_vec(), length.map_or(ended, |length| raw.len() >= length))
        };
        let body = body.get(..LOOKED_AT).unwrap_or(&body);
        let text = check.body.escape_ascii();
        return if memchr::memmem::find(body, &check.body).is_some() {
            Some(Ok(format!("status {status}, and the body holds '{text}'")))
        } else if complete || body.len() >= LOOKED_AT {
            wrong(format!("status {status}, but the body does not hold '{text}'"))
        } else {
            ended.then(|| Err(AnswerFault::ended(answer)))
        };
    }
}

/// The part of a chunked body (RFC 9112 7.1) that has come, and whether it is complete.
fn unchunked(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((begin, size))) = httparse::parse_chunk_size(raw) {
        if size == 0 {
            return (body, true);
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let data = raw.get(begin..).unwrap_or_default();
        body.extend_from_slice(data.get(..size).unwrap_or(data));
        // A line end follows the data.
        raw = size.checked_add(2).and_then(|size| data.get(size..)).unwrap_or_default();
        if raw.is_empty() {
            break;
        }
    }
    (body, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(expect: &str, body: &str) -> CheckConfig {
        CheckConfig { expect: expect.into(), body: body.into(), ..CheckConfig::default() }
    }

    fn wrong(why: &str) -> Result<String, AnswerFault> {
        Err(AnswerFault::Wrong(why.into()))
    }

    fn cut_off(why: &str) -> Result<String, AnswerFault> {
        Err(AnswerFault::CutOff(why.into()))
    }

    fn ill(text: &str) -> Result<String, AnswerFault> {
        wrong(&format!("status 200, but the body does not hold '{text}'"))
    }

    #[test]
    fn the_request_names_the_host() {
        let asked = |check: &CheckConfig, host| String::from_utf8(request(check, host)).unwrap();
        assert!(asked(&check("", ""), "www1").starts_with("GET / HTTP/1.1\r\nHost: www1\r\n"));
        assert!(asked(&check("", ""), "::1").contains("\r\nHost: [::1]\r\n"));
        assert!(asked(&check("", ""), "/run/x").contains("\r\nHost: localhost\r\n"));
        let named = CheckConfig { host: Some("a".into()), path: "/b?c".into(), ..check("", "") };
        assert!(asked(&named, "www1").starts_with("GET /b?c HTTP/1.1\r\nHost: a\r\n"));
    }

    #[test]
    fn an_answer_is_judged_as_soon_as_it_says_enough() {
        let ok = "HTTP/1.1 200 OK\r\n\r\n";
        let say = |check: &CheckConfig, answer: &str, ended| judge(check, answer.as_bytes(), ended);
        assert_eq!(say(&check("", ""), ok, false), Some(Ok("status 200".into())));
        assert_eq!(say(&check("", ""), "HTTP/1.1 20", false), None);
        assert_eq!(say(&check("", ""), "HTTP/1.1 20", true), Some(cut_off("the answer was cut off")));
        let nothing = "the server closed the connection without an answer";
        assert_eq!(say(&check("", ""), "", true), Some(cut_off(nothing)));
        let refused = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
        assert_eq!(say(&check("", ""), refused, false), Some(wrong("status 503, expected 200-399")));
        assert_eq!(say(&check("503", ""), refused, false), Some(Ok("status 503".into())));
        assert!(
            matches!(say(&check("", ""), "SSH-2.0-x\r\n", false), Some(Err(AnswerFault::Wrong(e))) if e.contains("not HTTP"))
        );
        let interim = format!("HTTP/1.1 103 Early Hints\r\n\r\n{ok}");
        assert_eq!(say(&check("", ""), &interim, false), Some(Ok("status 200".into())));
    }

    #[test]
    fn the_body_is_searched_in_pieces_and_chunks() {
        let well = check("", "well");
        let say = |answer: &str, ended| judge(&well, answer.as_bytes(), ended);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n";
        assert_eq!(say(head, false), None);
        assert!(matches!(say(&format!("{head}all well"), false), Some(Ok(_))));
        assert_eq!(say(&format!("{head}all ill."), false), Some(ill("well")), "it is complete");
        assert_eq!(say(&format!("{head}all ill"), true), Some(cut_off("the answer was cut off")));
        let open = "HTTP/1.1 200 OK\r\n\r\nall ill";
        assert_eq!([say(open, false), say(open, true)], [None, Some(ill("well"))], "its end is the end");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall we\r\n2\r\nll\r\n";
        assert!(matches!(say(chunked, false), Some(Ok(_))));
        let partly = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall il\r\n";
        assert_eq!(say(partly, false), None);
        assert_eq!(say(partly, true), Some(cut_off("the answer was cut off")));
        assert_eq!(say(&format!("{partly}0\r\n\r\n"), false), Some(ill("well")));
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}well", "x".repeat(LOOKED_AT));
        assert_eq!(say(&long, false), Some(ill("well")), "beyond what is looked at");
    }

    proptest! {
        /// No response of a server causes a panic, and every response that has ended gets a verdict.
        #[test]
        fn any_answer_is_survived(
            head in "(HTTP/1.1 [0-9]{3} x\r\n(Transfer-Encoding: chunked\r\n)?\r\n)?",
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let answer = [head.as_bytes(), &rest].concat();
            let check = check("", "well");
            _ = judge(&check, &answer, false);
            prop_assert!(judge(&check, &answer, true).is_some() || head.contains(" 1"));
        }
    }
}
