//! The server_name extension of any ClientHello: what comes out is a host name, in lower case, and nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::net::tls::host_name;

fuzz_target!(|data: &[u8]| {
    if let Some(name) = host_name(data) {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
        assert!(name.bytes().all(allowed), "{name}");
        assert!((1..=253).contains(&name.len()) && !name.starts_with('.') && !name.contains(".."), "{name}");
    }
});
