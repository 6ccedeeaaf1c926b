//! Properties that hold for all requests, all damage to them and all splits.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// A request in two parts; the missing lines belong between them.
#[derive(Clone, Debug)]
struct SampleRequest {
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

fn sample() -> impl Strategy<Value = SampleRequest> {
    let tricky = select(vec![&b"GET / HTTP/1.1\r\n\r\n"[..], b"\r\n\r\n", b"0\r\n\r\n", b"\n", b"\r"]);
    let length_body = prop_oneof![vec(any::<u8>(), 0..60), tricky.prop_map(<[u8]>::to_vec)];
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        length_body.prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        chunked_body().prop_map(|body| ("transfer-encoding: chunked\r\n".to_owned(), body)),
    ];
    let start = select(vec![
        &b"GET / HTTP/1.1\r\n"[..],
        b"\r\nPOST /a?b HTTP/1.1\r\n",
        b"DELETE * HTTP/1.1\r\n",
        b"HEAD http://a/\xe9 HTTP/1.1\r\n",
    ]);
    let own = select(vec![
        ("", true, true),
        ("X-Forwarded-For: x\r\n", true, false),
        ("x-forwarded-proto:\r\n", false, true),
        ("X-FORWARDED-FOR: \r\nX-Forwarded-Proto: y\r\n", false, false),
    ]);
    (start, "([A-Z][a-z-]{0,8}: [ -~]{0,20}\r\n){0,3}", own, body).prop_map(
        |(start, fields, (own, proto, client), (framing, body))| SampleRequest {
            lead: [start, fields.as_bytes(), own.as_bytes(), framing.as_bytes()].concat(),
            added: [(proto, PROTO), (client, FOR)]
                .iter()
                .filter(|(yes, _)| *yes)
                .map(|(_, line)| *line)
                .collect(),
            rest: [b"\r\n", &body[..]].concat(),
        },
    )
}

/// Feeds the input in pieces, and sometimes skips the rewriter where it allows that.
fn run_cut(input: &[u8], cuts: &[Index], skipping: bool) -> RewrittenStream {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    let mut rewriter = rewriter();
    let (mut server, mut lines) = (Vec::new(), Vec::new());
    for pair in at.windows(2) {
        let mut piece = &input[pair[0]..pair[1]];
        if skipping {
            let count = piece.len().min(usize::try_from(rewriter.opaque()).unwrap());
            rewriter.skip(count as u64);
            server.extend(&piece[..count]);
            piece = &piece[count..];
        }
        rewriter.feed(piece, &mut server, |line| lines.push(show(line)));
    }
    if rewriter.refusal().is_none() {
        rewriter.finish(&mut server);
    }
    RewrittenStream { server, lines, ending: rewriter.ending() }
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

proptest! {
    #[test]
    fn any_split_of_any_requests_is_rewritten_the_same(
        samples in vec(sample(), 1..6), cuts in vec(any::<Index>(), 0..30), skipping: bool,
    ) {
        let input: Vec<u8> = samples.iter().flat_map(|s| [&s.lead[..], &s.rest].concat()).collect();
        let expected: Vec<u8> =
            samples.iter().flat_map(|s| [&s.lead[..], s.added.as_bytes(), &s.rest].concat()).collect();
        let seen = run_cut(&input, &cuts, skipping);
        prop_assert_eq!(show(&seen.server), show(&expected));
        prop_assert_eq!(seen.lines.len(), samples.len());
    }

    /// The result does not depend on the split, and what the server gets is unambiguous: a second pen in front of it
    /// would find every field in its place and change nothing.
    #[test]
    fn whatever_is_damaged_the_server_gets_whole_requests_with_pen_s_fields(
        input in damaged(), cuts in vec(any::<Index>(), 0..30), skipping: bool,
    ) {
        let whole = run(rewriter(), &[&input]);
        let seen = run_cut(&input, &cuts, skipping);
        // What looked like another protocol had been passed on before it turned out to be HTTP.
        let only_blank = whole.server.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        let seemed = only_blank && input.starts_with(&seen.server);
        prop_assert!(seemed || seen.server == whole.server, "{:?}, whole {:?}", seen, whole);
        let again = run(rewriter(), &[&seen.server]);
        prop_assert_eq!(show(&again.server), show(&seen.server));
    }

    #[test]
    fn garbage_passes_unchanged_or_not_at_all(
        input in vec(any::<u8>(), 0..200), cuts in vec(any::<Index>(), 0..10),
    ) {
        let seen = run_cut(&input, &cuts, true);
        prop_assert!(input.starts_with(&seen.server));
        prop_assert!(seen.server == input || seen.ending != Ending::None);
    }
}
