//! The beginning of any stream: a server name comes out, or none, and more bytes are wanted only for so long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::core::hello_framing::HELLO_MAX;
use pen::net::client_hello::{Hello, parse};

fuzz_target!(|data: &[u8]| {
    match parse(data) {
        Hello::Named(name) => assert!((1..=253).contains(&name.len()) && name.is_ascii(), "{name}"),
        Hello::Partial => assert!(data.len() < HELLO_MAX),
        Hello::Unnamed => {}
    }
});
