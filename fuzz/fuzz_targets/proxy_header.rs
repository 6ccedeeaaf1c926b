//! The first bytes of a connection from a proxy: whatever they are, every split of them gives the same result, and it is final.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::core::proxy::{ParsedHeader, parse};

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    for end in 0..data.len().min(600) {
        match parse(&data[..end]) {
            Ok(ParsedHeader::Partial) => {}
            early => assert_eq!(early, whole, "after {end} bytes"),
        }
    }
});
