//! What holds for any requests, any damage to them and any split.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{CONNECT, FOR, OK, PROTO, UPGRADE, rewriter, run, show};

/// A request in two parts, the missing lines belonging between them.
#[derive(Clone, Debug)]
struct Sample {
    lead: Vec<u8>,
    added: String,
    rest: Vec<u8>,
}

fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    let extension = select(vec!["", ";a", " ; b=\"c d\"", ";x=1;y"]);
    let trailers = select(vec!["", "Digest: x\r\n", "A: b\r\nX-Forwarded-For: c\r\n"]);
    (vec((vec(any::<u8>(), 1..40), extension), 0..4), trailers).prop_map(|(chunks, trailers)| {
        let mut body = Vec::new();
        for (data, extension) in chunks {
            body.extend(format!("{:x}{extension}\r\n", data.len()).into_bytes());
            body.extend(data);
            body.extend(b"\r\n");
        }
        body.extend(format!("0\r\n{trailers}\r\n").into_bytes());
        body
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let tricky = select(vec![&b"GET / HTTP/1.1\r\n\r\n"[..], b"\r\n\r\n", b"0\r\n\r\n", b"\n", b"\r"]);
    let length_body = prop_oneof![vec(any::<u8>(), 0..60), tricky.prop_map(<[u8]>::to_vec)];
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        length_body.prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        chunked_body().prop_map(|body| ("transfer-encoding: chunked\r\n".to_owned(), body)),
    ];
    let start = select(vec![
        "GET / HTTP/1.1\r\n",
        "\r\nPOST /a?b HTTP/1.1\r\n",
        "DELETE * HTTP/1.1\r\n",
        "HEAD http://a/ HTTP/1.1\r\n",
    ]);
    let own = select(vec![
        ("", true, true),
        ("X-Forwarded-For: x\r\n", true, false),
        ("x-forwarded-proto:\r\n", false, true),
        ("X-FORWARDED-FOR: \r\nX-Forwarded-Proto: y\r\n", false, false),
    ]);
    (start, "([A-Z][a-z-]{0,8}: [ -~]{0,20}\r\n){0,3}", own, body).prop_map(
        |(start, fields, (own, proto, client), (framing, body))| Sample {
            lead: format!("{start}{fields}{own}{framing}").into_bytes(),
            added: [(proto, PROTO), (client, FOR)]
                .iter()
                .filter(|(yes, _)| *yes)
                .map(|(_, line)| *line)
                .collect(),
            rest: [b"\r\n", &body[..]].concat(),
        },
    )
}

/// Feeds in pieces, sending what needs no look past the rewriter now and then.
fn run_cut(input: &[u8], cuts: &[Index], skipping: bool) -> (Vec<u8>, Vec<String>) {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    let mut rewriter = rewriter();
    let (mut out, mut lines) = (Vec::new(), Vec::new());
    for pair in at.windows(2) {
        let mut piece = &input[pair[0]..pair[1]];
        if skipping {
            let count = piece.len().min(usize::try_from(rewriter.opaque()).unwrap());
            rewriter.skip(count as u64);
            out.extend(&piece[..count]);
            piece = &piece[count..];
        }
        rewriter.feed(piece, &mut out, |line| lines.push(show(line)));
    }
    rewriter.finish(&mut out);
    (out, lines)
}

/// Bytes of HTTP with mistakes in it.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let bytes = select(b"\r\n\t :;,0a\x00\xffG".to_vec());
    (vec(sample(), 1..4), vec((any::<Index>(), bytes, 0..3_u8), 0..4)).prop_map(|(samples, mistakes)| {
        let mut input: Vec<u8> =
            samples.iter().flat_map(|sample| [&sample.lead[..], &sample.rest].concat()).collect();
        for (at, byte, what) in mistakes {
            let at = at.index(input.len());
            match what {
                0 => input[at] = byte,
                1 => input.insert(at, byte),
                _ => drop(input.remove(at)),
            }
        }
        input
    })
}

/// `out` without the lines that may have been inserted, wherever that is needed to make it `input` again.
fn is_input_with_lines(out: &[u8], input: &[u8]) -> bool {
    let (mut out, mut input) = (out, input);
    while !out.is_empty() {
        let same = out.iter().zip(input).take_while(|(a, b)| a == b).count();
        // A line goes in before a CR, so it differs from the input in its first byte.
        (out, input) = (&out[same..], &input[same..]);
        match out.strip_prefix(PROTO.as_bytes()).or_else(|| out.strip_prefix(FOR.as_bytes())) {
            Some(rest) => out = rest,
            None => break,
        }
    }
    out.is_empty() && input.is_empty()
}

proptest! {
    #[test]
    fn any_split_of_any_requests_is_rewritten_the_same(
        samples in vec(sample(), 1..6), cuts in vec(any::<Index>(), 0..30), skipping: bool,
    ) {
        let input: Vec<u8> = samples.iter().flat_map(|s| [&s.lead[..], &s.rest].concat()).collect();
        let expected: Vec<u8> =
            samples.iter().flat_map(|s| [&s.lead[..], s.added.as_bytes(), &s.rest].concat()).collect();
        let (out, lines) = run_cut(&input, &cuts, skipping);
        prop_assert_eq!(show(&out), show(&expected));
        prop_assert_eq!(lines.len(), samples.len());
    }

    #[test]
    fn damage_never_costs_a_byte_or_depends_on_the_split(
        input in damaged(), cuts in vec(any::<Index>(), 0..30), skipping: bool,
    ) {
        let (whole, _) = run(&[&input]);
        let (out, _) = run_cut(&input, &cuts, skipping);
        prop_assert_eq!(show(&out), show(&whole));
        prop_assert!(is_input_with_lines(&out, &input), "{}", show(&out));
    }

    #[test]
    fn garbage_passes_unchanged(input in vec(any::<u8>(), 0..200), cuts in vec(any::<Index>(), 0..10)) {
        prop_assert_eq!(run_cut(&input, &cuts, true).0, input);
    }

    #[test]
    fn answers_may_be_anything(
        answers in vec(prop_oneof![damaged(), Just(OK.into()), Just(b"HTTP/1.1 101 x\r\n\r\n".to_vec())], 0..5),
        requests in vec(select(vec![UPGRADE, CONNECT, "GET / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\n\r\n"]), 1..5),
    ) {
        let mut rewriter = rewriter();
        let mut out = Vec::new();
        for step in 0..requests.len().max(answers.len()) {
            rewriter.feed(requests.get(step).unwrap_or(&"").as_bytes(), &mut out, |_| {});
            if let Some(answer) = answers.get(step).filter(|_| rewriter.wants_answers()) {
                rewriter.observe(answer);
            }
        }
        rewriter.finish(&mut out);
        prop_assert!(is_input_with_lines(&out, requests.concat().as_bytes()), "{}", show(&out));
    }
}
