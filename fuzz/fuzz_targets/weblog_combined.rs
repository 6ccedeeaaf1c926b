//! A line of a web server's log: its parts, its request without escapes, its date.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::weblog::access_line::{AccessLine, unescape};
use pen::weblog::entry::{FILE_REQUEST, file_byte};
use pen::weblog::timestamp::{TimestampParser, write_utc};

fuzz_target!(|data: &[u8]| {
    let mut stamps = TimestampParser::default();
    for line in data.split(|&b| b == b'\n') {
        let Some(web) = AccessLine::parse(line) else { continue };
        assert!(!web.client.is_empty() && web.client.end < web.request.start && web.request.end <= line.len());
        let mut request = Vec::new();
        unescape(&line[web.request], file_byte, FILE_REQUEST, &mut request);
        assert!(request.len() <= FILE_REQUEST);
        if let Some(date) = web.date
            && let Some(epoch) = stamps.parse(&line[date.clone()])
        {
            // What is remembered of the line before makes no difference.
            assert_eq!(TimestampParser::default().parse(&line[date]), Some(epoch));
            let mut utc = Vec::new();
            write_utc(epoch, &mut utc);
            // Years of more than four digits come only from ISO dates.
            if utc.len() == 26 {
                assert_eq!(stamps.parse(&utc), Some(epoch));
            }
        }
    }
});
