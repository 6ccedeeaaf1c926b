//! A line of a web server's log: its parts, its request without escapes, its date.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::weblog::combined::{WebLine, unescape};
use pen::weblog::line::{FILE_REQUEST, file_byte};
use pen::weblog::stamp::{Stamps, write_utc};

fuzz_target!(|data: &[u8]| {
    let mut stamps = Stamps::default();
    for line in data.split(|&b| b == b'\n') {
        let Some(web) = WebLine::parse(line) else { continue };
        assert!(web.client > 0 && web.client <= web.request.start && web.request.end <= line.len());
        let mut request = Vec::new();
        unescape(&line[web.request], file_byte, FILE_REQUEST, &mut request);
        assert!(request.len() <= FILE_REQUEST);
        if let Some(date) = web.date
            && let Some(epoch) = stamps.parse(&line[date.clone()])
        {
            // What is remembered of the line before makes no difference.
            assert_eq!(Stamps::default().parse(&line[date]), Some(epoch));
            let mut utc = Vec::new();
            write_utc(epoch, &mut utc);
            // Years of more than four digits come only from ISO dates.
            if utc.len() == 26 {
                assert_eq!(stamps.parse(&utc), Some(epoch));
            }
        }
    }
});
