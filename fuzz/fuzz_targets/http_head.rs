//! HTTP mode under any bytes of client and server: neither the split of the bytes nor sending bodies past the rewriter makes
//! a difference, and what the server gets is read in one way: a second rewriter finds every field in its place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::core::http::{Ending, Forwarding, Rewriter};
use pen::core::settings::HttpForwarded;

fuzz_target!(|data: &[u8]| {
    let [size, policy, dialogue @ ..] = data else { return };
    let policy = match policy % 3 {
        0 => HttpForwarded::Keep,
        1 => HttpForwarded::Append,
        _ => HttpForwarded::Replace,
    };
    // 0xff is no part of HTTP heads: there the other side speaks.
    let turns: Vec<&[u8]> = dialogue.split(|&byte| byte == 0xff).collect();
    let whole = play(&turns, policy, usize::MAX, false);
    let sent: Vec<u8> = turns.iter().step_by(2).copied().collect::<Vec<_>>().concat();
    for skipping in [false, true] {
        let cut = play(&turns, policy, usize::from(*size).max(1), skipping);
        // What seemed to be another protocol was passed on before it showed that it is not.
        let only_blank = whole.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        assert!(cut == whole || (only_blank && sent.starts_with(&cut)));
    }
    // A connection without an answer: no other protocol is granted.
    let only = [&sent[..]];
    let marked = play(&only, policy, usize::MAX, false);
    assert_eq!(play(&[&marked], HttpForwarded::Keep, usize::MAX, false), marked);
});

/// What the server gets when each side's bytes come in pieces of `size`.
fn play(turns: &[&[u8]], policy: HttpForwarded, size: usize, skipping: bool) -> Vec<u8> {
    let client = "192.0.2.7".parse().ok();
    let mut rewriter =
        Rewriter::new(Forwarding { client, https: false, policy, rfc7239: policy != HttpForwarded::Keep });
    let mut out = Vec::new();
    for (turn, text) in turns.iter().enumerate() {
        for mut piece in text.chunks(size) {
            if turn % 2 == 1 {
                if skipping {
                    let past = rewriter.opaque_answers().min(piece.len() as u64) as usize;
                    rewriter.skip_answers(past as u64);
                    piece = &piece[past..];
                }
                rewriter.observe(piece);
            } else {
                if skipping {
                    let (past, rest) = piece.split_at(rewriter.opaque().min(piece.len() as u64) as usize);
                    rewriter.skip(past.len() as u64);
                    out.extend(past);
                    piece = rest;
                }
                rewriter.feed(piece, &mut out, |_| {});
            }
            if rewriter.is_ready() {
                rewriter.feed(&[], &mut out, |_| {});
            }
        }
    }
    if rewriter.refusal().is_none() {
        rewriter.finish(&mut out);
    }
    assert!(rewriter.refusal().is_some() || rewriter.ending() == Ending::None);
    out
}
