//! What reaches penlogd's port: any datagrams, from any web server. Every line of a web server comes out once.
#![no_main]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use pen::weblog::entry::{DATAGRAM, LogEntry};
use pen::weblog::penlogd::Merger;

fuzz_target!(|data: &[u8]| {
    // An entry of pen, in both its forms, is read back as it was written.
    for entry in [LogEntry::parse_datagram(data), LogEntry::parse_file(data)].into_iter().flatten() {
        let (mut wire, mut file) = (Vec::new(), Vec::new());
        entry.write_datagram(&mut wire);
        entry.write_file(&mut file);
        assert!(wire.len() <= DATAGRAM && wire.ends_with(b"\n"));
        let back = LogEntry::parse_file(&file).expect("what is written is read");
        assert_eq!((back.client, back.epoch, back.server), (entry.client, entry.epoch, entry.server));
    }
    let origin = Instant::now();
    let mut merger = Merger::new(4, Duration::from_millis(3));
    let (mut taken, mut written) = (0, 0);
    for (n, line) in data.split(|&b| b == b'\n').enumerate() {
        let from = IpAddr::from([127, 0, 0, (n % 3) as u8]);
        taken += usize::from(!line.is_empty() && !line.starts_with(b"+ "));
        let now = origin + Duration::from_millis(n as u64);
        merger.line(line, from, now, |_| written += 1);
        merger.release_due(now, |_| written += 1);
    }
    merger.release_all(|_| written += 1);
    assert_eq!(taken, written);
});
