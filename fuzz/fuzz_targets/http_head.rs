//! HTTP mode under any bytes of client and server: no byte is lost or changed, only the two lines come in, and
//! neither the split of the bytes nor sending bodies past the rewriter makes a difference.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::core::http::Rewriter;

const PROTO: &[u8] = b"X-Forwarded-Proto: http\r\n";
const FOR: &[u8] = b"X-Forwarded-For: 192.0.2.7\r\n";

fuzz_target!(|data: &[u8]| {
    let [size, dialogue @ ..] = data else { return };
    // 0xff is no part of HTTP heads: there the other side speaks.
    let turns: Vec<&[u8]> = dialogue.split(|&byte| byte == 0xff).collect();
    let whole = play(&turns, usize::MAX, false);
    for skipping in [false, true] {
        assert_eq!(play(&turns, usize::from(*size).max(1), skipping), whole);
    }
    assert!(is_input_with_lines(&whole, &turns.iter().step_by(2).copied().collect::<Vec<_>>().concat()));
});

/// What the server gets when each side's bytes come in pieces of `size`.
fn play(turns: &[&[u8]], size: usize, skipping: bool) -> Vec<u8> {
    let mut rewriter = Rewriter::new("192.0.2.7".parse().ok(), false);
    let mut out = Vec::new();
    for (turn, text) in turns.iter().enumerate() {
        for mut piece in text.chunks(size) {
            if turn % 2 == 1 {
                if rewriter.wants_answers() {
                    rewriter.observe(piece);
                }
                continue;
            }
            if skipping {
                let (past, rest) = piece.split_at(rewriter.opaque().min(piece.len() as u64) as usize);
                rewriter.skip(past.len() as u64);
                out.extend(past);
                piece = rest;
            }
            rewriter.feed(piece, &mut out, |_| {});
        }
    }
    rewriter.finish(&mut out);
    out
}

/// Whether `out` is `input` with whole lines put in.
fn is_input_with_lines(mut out: &[u8], mut input: &[u8]) -> bool {
    loop {
        let same = out.iter().zip(input).take_while(|(a, b)| a == b).count();
        (out, input) = (&out[same..], &input[same..]);
        match out.strip_prefix(PROTO).or_else(|| out.strip_prefix(FOR)) {
            // A line goes in before the empty line and nowhere else.
            Some(rest) if [PROTO, FOR, b"\r\n"].iter().any(|next| rest.starts_with(next)) => out = rest,
            _ => return out.is_empty() && input.is_empty(),
        }
    }
}
