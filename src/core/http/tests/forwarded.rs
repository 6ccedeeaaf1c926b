//! What servers are told about the client, and the treatment of the client's own fields.

use std::net::IpAddr;

use super::*;

/// One head after the other way of writing it; the rest of the line after the request line.
#[track_caller]
fn assert_fields(forwarding: Forwarding, sent: &str, expected: &str) {
    let input = format!("GET / HTTP/1.1\r\n{sent}\r\n");
    let seen = run(Rewriter::new(forwarding), &[input.as_bytes()]);
    assert_eq!(show(&seen.server), show(format!("GET / HTTP/1.1\r\n{expected}\r\n").as_bytes()));
}

fn with(policy: HttpForwarded) -> Forwarding {
    Forwarding { policy, ..forwarding() }
}

#[test]
fn lines_of_the_client_stay_with_keep() {
    for (own, added) in [
        ("X-Forwarded-For: 198.51.100.1\r\n", PROTO),
        ("x-forwarded-FOR:\r\n", PROTO),
        ("X-Forwarded-Proto: https\r\n", FOR),
        ("X-Forwarded-Proto: a\r\nX-Forwarded-For: b\r\n", ""),
        ("X_Forwarded_For: b\r\n", &format!("{PROTO}{FOR}")),
    ] {
        assert_fields(forwarding(), own, &format!("{own}{added}"));
    }
}

#[test]
fn append_adds_the_client_to_those_before_it() {
    let append = with(HttpForwarded::Append);
    assert_fields(append, "A: b\r\n", &format!("A: b\r\n{PROTO}{FOR}"));
    assert_fields(
        append,
        "X-Forwarded-For: 1.1.1.1\r\nA: b\r\nx-forwarded-for: 2.2.2.2,\r\n 3.3.3.3\r\nX_Forwarded-For: 4\r\n",
        &format!("A: b\r\n{PROTO}X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7\r\n"),
    );
    assert_fields(append, "X-Forwarded-For:\r\n", &format!("{PROTO}{FOR}"));
    let sent = "X-Forwarded-Proto: https\r\n";
    assert_fields(append, sent, &format!("{sent}{FOR}"));
    let sent = "X-Forwarded-For: 1.1.1.1\r\n";
    assert_fields(Forwarding { client: None, ..append }, sent, &format!("{sent}{PROTO}"));
}

#[test]
fn replace_believes_nothing_that_the_client_says() {
    let replace = with(HttpForwarded::Replace);
    for sent in [
        "",
        "X-Forwarded-For: 1.1.1.1\r\n",
        "x-forwarded-for: 1.1.1.1\r\nX-FORWARDED-PROTO: https\r\nForwarded: for=1.1.1.1\r\n",
        "X_Forwarded_For: 1.1.1.1\r\nx_forwarded-proto: https\r\n",
        "X-Forwarded-For:\r\n 1.1.1.1\r\n",
    ] {
        assert_fields(replace, sent, &format!("{PROTO}{FOR}"));
        assert_fields(replace, &format!("A: b\r\n{sent}C: d\r\n"), &format!("A: b\r\nC: d\r\n{PROTO}{FOR}"));
    }
    assert_fields(Forwarding { client: None, ..replace }, "X-Forwarded-For: 1.1.1.1\r\n", PROTO);
}

#[test]
fn connection_names_none_of_them() {
    for policy in [HttpForwarded::Keep, HttpForwarded::Append, HttpForwarded::Replace] {
        for (sent, stays) in [
            ("Connection: X-Forwarded-For\r\n", ""),
            ("Connection: close, x-forwarded-for,Te\r\n", "Connection: close, Te\r\n"),
            ("connection: X-Forwarded-Proto, Forwarded\r\nConnection: a\r\n", "Connection: a\r\n"),
            ("Connection: close\r\n", "Connection: close\r\n"),
        ] {
            assert_fields(with(policy), sent, &format!("{stays}{PROTO}{FOR}"));
        }
    }
}

#[test]
fn the_lines_tell_address_and_scheme() {
    for (client, https, expected) in [
        (Some("2001:db8::1"), true, "X-Forwarded-Proto: https\r\nX-Forwarded-For: 2001:db8::1\r\n"),
        (Some("::ffff:192.0.2.7"), false, "X-Forwarded-Proto: http\r\nX-Forwarded-For: 192.0.2.7\r\n"),
        (None, false, "X-Forwarded-Proto: http\r\n"),
    ] {
        let client = client.map(|text| text.parse::<IpAddr>().unwrap());
        assert_fields(Forwarding { client, https, ..forwarding() }, "", expected);
    }
}

#[test]
fn the_standard_field_is_there_for_who_wants_it() {
    let standard = |policy, client: Option<&str>| Forwarding {
        policy,
        rfc7239: true,
        client: client.map(|text| text.parse().unwrap()),
        https: true,
    };
    let proto = "X-Forwarded-Proto: https\r\n";
    for (client, shown) in
        [("192.0.2.7", "192.0.2.7"), ("2001:db8::1", "\"[2001:db8::1]\""), ("::ffff:192.0.2.7", "192.0.2.7")]
    {
        let plain = shown.trim_matches(['"', '[', ']']);
        assert_fields(
            standard(HttpForwarded::Keep, Some(client)),
            "",
            &format!("{proto}X-Forwarded-For: {plain}\r\nForwarded: for={shown};proto=https\r\n"),
        );
    }
    let sent = "Forwarded: for=\"_a,b\"\r\n";
    let own = "X-Forwarded-For: 192.0.2.7\r\n";
    let client = Some("192.0.2.7");
    assert_fields(standard(HttpForwarded::Keep, client), sent, &format!("{sent}{proto}{own}"));
    assert_fields(
        standard(HttpForwarded::Append, client),
        sent,
        &format!("{proto}{own}Forwarded: for=\"_a,b\", for=192.0.2.7;proto=https\r\n"),
    );
    assert_fields(
        standard(HttpForwarded::Replace, client),
        sent,
        &format!("{proto}{own}Forwarded: for=192.0.2.7;proto=https\r\n"),
    );
    assert_fields(
        standard(HttpForwarded::Replace, None),
        sent,
        &format!("{proto}Forwarded: for=unknown;proto=https\r\n"),
    );
}
