use super::print::{Transport, Values, v1, v2, v2_local};
use super::v1::MAX as V1_MAX;
use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

fn addresses(source: &str, destination: &str) -> Option<Addresses> {
    Some(Addresses::new(source.parse().unwrap(), destination.parse().unwrap()))
}

/// What a header with nothing behind it says.
fn header(bytes: &[u8]) -> Header {
    match parse(bytes) {
        Ok(ParsedHeader::Complete(header, length)) if length == bytes.len() => header,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// A header of version 2 with that behind the signature.
fn binary(rest: &[u8]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n", rest].concat()
}

#[test]
fn version_1_is_read_as_the_specification_has_it() {
    let said = |text: &str| header(text.as_bytes()).addresses;
    let four = "PROXY TCP4 255.255.255.255 10.0.0.1 65535 0\r\n";
    assert_eq!(said(four), addresses("255.255.255.255:65535", "10.0.0.1:0"));
    assert_eq!(said("PROXY TCP6 ::1 fe80::2 1 2\r\n"), addresses("[::1]:1", "[fe80::2]:2"));
    assert_eq!(
        said("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:10.0.0.2 1 2\r\n"),
        addresses("10.0.0.1:1", "10.0.0.2:2")
    );
    let longest = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", "ffff:".repeat(7) + "ffff");
    assert_eq!(longest.len(), V1_MAX);
    for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN what ever\r\n", &longest] {
        assert_eq!(said(unknown), None, "{unknown}");
    }
    for (bad, expected) in [
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "CR before LF"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "two ports"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "two ports"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "two ports"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "two ports"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "two ports"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "two ports"),
        ("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "two addresses"),
        ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", "two addresses"),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", "two addresses"),
        ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "two addresses"),
        ("PROXY TCP6 fe80::1%1 ::1 1 2\r\n", "two addresses"),
        ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "TCP4, TCP6 or UNKNOWN"),
        ("PROXY UNKNOWNX\r\n", "TCP4, TCP6 or UNKNOWN"),
        ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "TCP4, TCP6 or UNKNOWN"),
        ("PROXY \r\n", "TCP4, TCP6 or UNKNOWN"),
    ] {
        let error = parse(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{bad:?}: {error}");
    }
    let endless = "PROXY UNKNOWN ".to_owned() + &"x".repeat(V1_MAX);
    assert_eq!(parse(&endless.as_bytes()[..V1_MAX - 1]), Ok(ParsedHeader::Partial));
    assert!(parse(&endless.as_bytes()[..V1_MAX]).is_err());
    assert!(parse(b"PROXY UNKNOWN \xff\r\n").is_err());
}

#[test]
fn version_2_is_read_as_the_specification_has_it() {
    let four = [10, 0, 0, 1, 10, 0, 0, 2, 1, 0, 0, 80];
    let said = |rest: &[u8]| header(&binary(rest));
    let with = |head: &[u8], rest: &[u8]| [head, rest].concat();
    let found = addresses("10.0.0.1:256", "10.0.0.2:80");
    assert_eq!(said(&with(&[0x21, 0x11, 0, 12], &four)).addresses, found);
    let six: Vec<u8> = (0..36).collect();
    let found =
        addresses("[1:203:405:607:809:a0b:c0d:e0f]:8225", "[1011:1213:1415:1617:1819:1a1b:1c1d:1e1f]:8739");
    assert_eq!(said(&with(&[0x21, 0x21, 0, 36], &six)).addresses, found);
    // LOCAL, UNSPEC, Unix sockets and datagrams leave the connection its own address, whatever else they say.
    for (head, length) in [
        ([0x20, 0x00, 0, 0], 0),
        ([0x20, 0x11, 0, 12], 12),
        ([0x20, 0xff, 0, 3], 3),
        ([0x21, 0x00, 0, 5], 5),
        ([0x21, 0x12, 0, 12], 12),
        ([0x21, 0x10, 0, 12], 12),
        ([0x21, 0x31, 0, 216], 216),
        ([0x21, 0x32, 0, 216], 216),
    ] {
        assert_eq!(said(&with(&head, &vec![0; length])), Header::default(), "{head:x?}");
    }
    for (bad, expected) in [
        (&[0x11, 0x11, 0, 0][..], "version 2"),
        (&[0x22, 0x11, 0, 0], "version 2"),
        (&[0x21, 0x41, 0, 0], "AF_INET"),
        (&[0x21, 0x13, 0, 0], "STREAM"),
        (&with(&[0x21, 0x11, 0, 11], &four), "as long as"),
        (&with(&[0x21, 0x21, 0, 12], &four), "as long as"),
        (&with(&[0x21, 0x31, 0, 12], &four), "as long as"),
        (&with(&[0x21, 0x11, 0, 14], &with(&four, &[4, 0])), "whole TLVs"),
        (&with(&[0x21, 0x11, 0, 16], &with(&four, &[4, 0, 2, 0])), "whole TLVs"),
        (&with(&[0x21, 0x11, 0, 19], &with(&four, &[0x20, 0, 4, 0, 0, 0, 0])), "PP2_TYPE_SSL"),
        (&with(&[0x21, 0x11, 0, 18], &with(&four, &[3, 0, 3, 0, 0, 0])), "checksum"),
        (&with(&[0x21, 0x11, 0, 19], &with(&four, &[3, 0, 4, 0, 0, 0, 0])), "checksum"),
    ] {
        let error = parse(&binary(bad)).unwrap_err().to_string();
        assert!(error.contains(expected), "{bad:x?}: {error}");
    }
    // As a proxy that ends TLS says it; and types that nobody knows.
    let tls = with(&four, &[0xee, 0, 1, 9, 0x20, 0, 5, 1, 0, 0, 0, 1]);
    assert!(said(&with(&[0x21, 0x11, 0, 24], &tls)).tls);
    let plain = with(&four, &[0x20, 0, 5, 0, 0, 0, 0, 1]);
    assert!(!said(&with(&[0x21, 0x11, 0, 20], &plain)).tls);
}

#[test]
fn a_checksum_is_held_against_the_whole_header() {
    let mut bytes = binary(&[0x21, 0x11, 0, 19, 127, 0, 0, 1, 127, 0, 0, 2, 0, 1, 0, 2, 3, 0, 4, 0, 0, 0, 0]);
    let at = bytes.len() - 4;
    // Of the bitwise definition: reflected, with the polynomial 0x1edc6f41.
    let mut crc = u32::MAX;
    for byte in &bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    bytes[at..].copy_from_slice(&(!crc).to_be_bytes());
    assert_eq!(header(&bytes).addresses, addresses("127.0.0.1:1", "127.0.0.2:2"));
    bytes[at - 4] ^= 1;
    assert!(parse(&bytes).is_err());
}

#[test]
fn what_is_no_header_is_known_by_its_first_bytes() {
    for text in ["GET / HTTP/1.1", "POST", "PROXYING", "\r\n\r\nX", "\x16\x03\x01", "x"] {
        assert_eq!(parse(text.as_bytes()), Ok(ParsedHeader::Absent), "{text}");
    }
    for begin in ["", "P", "PROXY", "PROXY ", "\r\n\r\n\0\r\nQUIT", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0"] {
        assert_eq!(parse(begin.as_bytes()), Ok(ParsedHeader::Partial), "{begin:?}");
    }
}

#[test]
fn addresses_that_are_not_known_are_not_told() {
    assert_eq!(v1(None), b"PROXY UNKNOWN\r\n");
    for written in [v1(None), v2(None, Transport::Stream, Values::None), v2_local()] {
        assert_eq!(header(&written), Header::default());
    }
}

#[test]
fn tls_is_told_as_the_specification_has_it() {
    let tls = TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "X".into(),
        server_name: Some("a.b".into()),
        alpn: Some(b"h2".to_vec()),
        certificate: Some(ClientCertificate {
            common_name: Some("me".into()),
            verified: true,
            resumed: false,
        }),
    };
    let written = v2(addresses("1.2.3.4:5", "6.7.8.9:10"), Transport::Stream, Values::Tls(&tls));
    let ssl = b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x02me\x23\0\x01X";
    let tlvs = [b"\x01\0\x02h2\x02\0\x03a.b\x20\0\x18", &ssl[..]].concat();
    assert_eq!(ssl.len(), 0x18);
    assert!(written.ends_with(&tlvs), "{}", written.escape_ascii());
    assert!(header(&written).tls);
    // Without a certificate, and with one that was not found valid.
    let flags = |certificate| {
        let written = v2(
            addresses("1.2.3.4:5", "6.7.8.9:10"),
            Transport::Stream,
            Values::Tls(&TlsFacts { certificate, ..TlsFacts::default() }),
        );
        (written[31], written[35])
    };
    assert_eq!(flags(None), (1, 1));
    assert_eq!(flags(Some(ClientCertificate { resumed: true, ..ClientCertificate::default() })), (5, 1));
    let long = TlsFacts { server_name: Some("x".repeat(70_000)), ..tls };
    assert!(header(&v2(addresses("1.2.3.4:5", "6.7.8.9:10"), Transport::Stream, Values::Tls(&long))).tls);
}

#[test]
fn what_the_proxy_in_front_says_is_passed_on() {
    let known = addresses("1.2.3.4:5", "6.7.8.9:10");
    // A checksum and padding are about that header alone.
    let front =
        binary(&[0x21, 0x11, 0, 23, 1, 2, 3, 4, 6, 7, 8, 9, 0, 5, 0, 10, 4, 0, 1, 0, 0xea, 0, 1, 9, 5, 0, 0]);
    let said = header(&front);
    assert_eq!(said.values, [0xea, 0, 1, 9, 5, 0, 0]);
    let written = v2(known, Transport::Stream, Values::PassedOn(&said.values));
    assert_eq!(header(&written), said);
    // More than fits is left out.
    let much = [&[0xea, 0xff, 0xf8][..], &[0; 0xfff8]].concat();
    assert!(header(&v2(known, Transport::Stream, Values::PassedOn(&much))).values.is_empty());
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<u32>().prop_map(|n| IpAddr::V4(n.into())),
        any::<u128>().prop_map(|n| IpAddr::V6(n.into()))
    ];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// Headers, right and wrong, and what is none.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let printed = (address(), address(), any::<bool>()).prop_map(|(from, to, text)| {
        let addresses = Some(Addresses::new(from, to));
        if text { v1(addresses) } else { v2(addresses, Transport::Stream, Values::None) }
    });
    let damaged = (printed, any::<prop::sample::Index>(), any::<Option<u8>>(), "[ -~]{0,40}").prop_map(
        |(mut header, at, damage, behind)| {
            let at = at.index(header.len());
            header[at] = damage.unwrap_or(header[at]);
            header.extend(behind.as_bytes());
            header
        },
    );
    let text = "PROXY (TCP4|TCP6|UNKNOWN|TCP5)?( [0-9a-f.:]{0,9}){0,5}(\r|\r\n|\n)[ -~]{0,9}"
        .prop_map(String::into_bytes);
    prop_oneof![damaged, text, prop::collection::vec(any::<u8>(), 0..64)]
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(from in address(), to in address(), text in any::<bool>()) {
        let addresses = Addresses::new(from, to);
        prop_assert_eq!(addresses.source.is_ipv4(), addresses.destination.is_ipv4());
        let some = Some(addresses);
        let written = if text { v1(some) } else { v2(some, Transport::Stream, Values::None) };
        prop_assert_eq!(header(&written).addresses, some);
    }

    /// Any split gives the same result: as soon as less than everything is enough, nothing that follows changes it.
    #[test]
    fn bytes_that_follow_change_nothing(bytes in bytes()) {
        let mut settled = None;
        for end in 0..=bytes.len() {
            let now = parse(&bytes[..end]);
            if let Ok(ParsedHeader::Complete(_, length)) = &now {
                prop_assert!(*length <= end);
            }
            match &settled {
                Some(before) => prop_assert_eq!(&now, before),
                None if now != Ok(ParsedHeader::Partial) => settled = Some(now),
                None => {}
            }
        }
    }
}
