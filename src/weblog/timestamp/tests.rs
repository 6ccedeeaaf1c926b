//! Time stamps as servers write them.

use super::*;
use proptest::prelude::*;

/// Tuesday, 10 October 2000, 10:55:36 UTC.
const THEN: i64 = 971_175_336;

fn parse(text: &str) -> Option<i64> {
    TimestampParser::default().parse(text.as_bytes())
}

fn parse_in(zone: &str, text: &str) -> Option<i64> {
    TimestampParser::new(Some(Zone::parse(zone).unwrap())).parse(text.as_bytes())
}

#[test]
fn every_form_of_the_zone() {
    for zone in ["+0300", "+03:00", "+03", "EEST", "UTC+3", "GMT+03:00", "UTC+0300"] {
        let wanted = (zone != "UTC+3").then_some(THEN);
        assert_eq!(parse(&format!("10/Oct/2000:13:55:36 {zone}")), wanted, "{zone}");
    }
    for text in [
        "10/Oct/2000:10:55:36 Z",
        "10/Oct/2000:10:55:36Z",
        "10/Oct/2000:10:55:36",
        "10/Oct/2000:05:25:36 -0530",
        "2000-10-10T13:55:36+03:00",
        "10/Oct/2000:02:55:36 AKDT",
        "10/Oct/2000:18:55:36 CST",
        "10/Oct/2000:16:25:36 IST",
        "10/Oct/2000:05:55:36 CDT",
    ] {
        assert_eq!(parse(text), Some(THEN), "{text}");
    }
    assert_eq!(parse("31/Dec/1969:23:59:59 +0000"), Some(-1));
}

#[test]
fn what_c_merges_and_other_servers_write() {
    for text in [
        "10/Oct/2000:10:55:36.483 +0000",
        "10/Oct/2000:10:55:36,483 +0000",
        "10/Oct/2000:10:55:36.123456 +0000",
        "10/Oct/2000 10:55:36 +0000",
        "10/Oct/2000T10:55:36 +0000",
        "10/Oct/2000-10:55:36 +0000",
        "10/Oct/2000:10:55:36 +0000 x y",
        "10/Oct/2000:10:55:36 +0000 (UTC)",
        "10/Oct/2000:10:55:36 +0000;x=1",
        "10/Oct/2000:10:55:36 +0000x",
        "10/Oct/2000:10:55:36 +0000,483",
        "10/Oct/2000:10:55:36 +0000.483",
        "10/Oct/2000:12:55:36 (CEST)",
        "10/Oct/2000:10:55:36 GMT+0",
        "10/Oct/2000:10:55:36 |x",
        "10/Oct/2000:10:55:36+0000",
        " 10/Oct/2000:10:55:36 +0000",
        "10/oct/2000:10:55:36 +0000",
        "10-Oct-2000 10:55:36 +0000",
        "10 Oct 2000 10:55:36 +0000",
        "Tue, 10 Oct 2000 10:55:36 GMT",
        "2000-10-10 10:55:36 +0000",
        "2000-10-10T10:55:36.483Z",
        "2000/10/10 10:55:36",
        "Tue Oct 10 10:55:36 2000",
        "Tue Oct 10 10:55:36.483 2000",
        "Tue Oct 10 10:55:36 UTC 2000",
        "971175336",
        "971175336.483",
        "971175336483",
        "971175336483123",
    ] {
        assert_eq!(parse(text), Some(THEN), "{text}");
    }
    assert_eq!(parse("10/Oct/2000:10:55 +0000"), Some(THEN - 36));
    assert_eq!(parse("1/Oct/2000:1:05:6 +0000"), parse("01/Oct/2000:01:05:06 +0000"));
    assert_eq!(parse("Sun Oct  1 10:55:36 2000"), parse("01/Oct/2000:10:55:36 +0000"));
}

#[test]
fn what_is_no_date() {
    let bad = [
        "",
        "-",
        " ",
        "10/Oct/2000",
        "10/Okt/2000:13:55:36 +0300",
        "31/Feb/2000:13:55:36 +0300",
        "10/Oct/2000:24:55:36 +0300",
        "10/Oct/2000:13:55:3x +0300",
        "10/Oct/2000:13:55:61 +0300",
        "10/Oct/2000:13:55:36 +3",
        "10/Oct/2000:13:55:36 XYZ",
        "10/Oct/2000:13:55:36 +9999",
        "10/10/2000:13:55:36 +0300",
        "10/Oct-2000:13:55:36 +0300",
        "10/Oct/00:13:55:36 +0300",
        "2000-13-10T13:55:36Z",
        "Tue Oct 10 10:55:36",
        "12345678",
        "123456789012345678",
        "971175336 x",
    ];
    for text in bad {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn unclear_zones_are_noted_once() {
    let mut parser = TimestampParser::default();
    for _ in 0..3 {
        parser.parse(b"10/Oct/2000:18:55:36 CST");
        parser.parse(b"10/Oct/2000:18:55:36 XYZ");
        parser.parse(b"10/Oct/2000:18:55:36 EST");
    }
    let unclear: Vec<_> = parser.unclear.iter().map(|z| (z.name.as_str(), z.offset)).collect();
    assert_eq!(unclear, [("CST", Some(28_800)), ("XYZ", None)]);
}

#[test]
fn a_given_zone_decides() {
    assert_eq!(parse_in("America/Chicago", "10/Oct/2000:05:55:36"), Some(THEN));
    assert_eq!(parse_in("-0500", "10/Oct/2000:05:55:36"), Some(THEN));
    assert_eq!(parse_in("-05:00", "10/Oct/2000:05:55:36 XYZ"), Some(THEN));
    // A name that the given zone has at some time means that one, in any season; one with several meanings is in that zone in
    // any case, and any other name has its usual meaning.
    assert_eq!(parse_in("America/Chicago", "10/Dec/2000:04:55:36 CST"), parse("10/Dec/2000:10:55:36 Z"));
    assert_eq!(parse_in("Asia/Jerusalem", "10/Dec/2000:12:55:36 IST"), parse("10/Dec/2000:10:55:36 Z"));
    assert_eq!(parse_in("America/Chicago", "10/Oct/2000:04:55:36 CST"), Some(THEN));
    assert_eq!(parse_in("-0600", "10/Oct/2000:04:55:36 CST"), Some(THEN));
    assert_eq!(parse_in("+0200", "10/Oct/2000:12:55:36 IST"), Some(THEN));
    assert_eq!(parse_in("America/Regina", "10/Oct/2000:04:55:36 CST"), Some(THEN));
    assert_eq!(parse_in("America/Chicago", "10/Oct/2000:12:55:36 CEST"), Some(THEN));
    let mut parser = TimestampParser::new(Some(Zone::parse("-0600").unwrap()));
    parser.parse(b"10/Oct/2000:04:55:36 CST");
    assert_eq!(parser.unclear, [], "--zone says what it means");
    assert_eq!(parse_in("America/Chicago", "10/Oct/2000:13:55:36 +0300"), Some(THEN));
    for bad in ["", "+3", "Nowhere/Town", "../../etc/passwd", "\u{e9}"] {
        let error = Zone::parse(bad).unwrap_err().to_string();
        assert!(error.contains(&format!("got '{bad}'")), "{error}");
    }
}

/// On 29 October 2000, Berlin went from CEST to CET: the hour from 02:00 occurred twice. On 26 March it was skipped.
#[test]
fn clocks_are_set_back_and_forward() {
    let mut parser = TimestampParser::new(Some(Zone::parse("Europe/Berlin").unwrap()));
    let mut at = |text: &str| parser.parse(format!("29/Oct/2000:{text}").as_bytes()).unwrap();
    let begin = at("01:30:00");
    let found =
        ["02:10:00", "02:50:00", "02:45:00", "02:10:00", "02:30:00", "02:59:00", "03:10:00"].map(&mut at);
    assert_eq!(found.map(|time| (time - begin) / 60), [40, 80, 75, 100, 120, 149, 160]);
    assert_eq!((at("02:30:00 CEST") - begin) / 60, 60);
    assert_eq!((at("02:30:00 CET") - begin) / 60, 120);
    let before = parse_in("Europe/Berlin", "26/Mar/2000:01:59:59").unwrap();
    assert_eq!(parse_in("Europe/Berlin", "26/Mar/2000:03:00:00"), Some(before + 1));
    assert!(parse_in("Europe/Berlin", "26/Mar/2000:02:30:00").is_some());
}

proptest! {
    #[test]
    fn what_is_written_is_read(epochs in prop::collection::vec(-60_000_000_000_i64..250_000_000_000, 1..5)) {
        let mut parser = TimestampParser::default();
        for epoch in epochs {
            let mut out = Vec::new();
            write_utc(epoch, &mut out);
            prop_assert_eq!(parser.parse(&out), Some(epoch));
        }
    }

    /// The cache does not change the result.
    #[test]
    fn the_short_way_reads_what_the_long_way_reads(
        stamps in prop::collection::vec("(31/Dec/2016|01/Jan/2017)[: ](23|00|24):[05]9:(59|60|00|6x) ([+-]0[30]00|UTC)", 1..8),
    ) {
        let mut parser = TimestampParser::default();
        for stamp in stamps {
            prop_assert_eq!(parser.parse(stamp.as_bytes()), parse(&stamp), "{}", stamp);
        }
    }

    #[test]
    fn any_bytes_are_survived(text: Vec<u8>, tail in "[0-9/:A-Za-z +-]{0,30}") {
        let mut parser = TimestampParser::default();
        parser.parse(&text);
        parser.parse(tail.as_bytes());
    }
}
