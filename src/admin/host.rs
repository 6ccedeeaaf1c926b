//! Checks the Host header. A web page can make a browser send requests to a loopback address under a name of the page's
//! own domain (DNS rebinding); such a name is not accepted.

use std::net::IpAddr;

/// Whether `host`, a host with or without a port as the Host header and a target have it, names this machine.
pub(super) fn is_own(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, "")) => (name, ""),
            Some((name, port)) => (name, port.strip_prefix(':').unwrap_or("none")),
            None => return false,
        },
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_own = name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    is_own && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_told_apart() {
        for own in [
            "localhost",
            "LOCALHOST.:8080",
            "localhost:",
            "127.0.0.1:80",
            "127.1.2.3",
            "[::1]:9",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_own(own), "{own:?}");
        }
        for foreign in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "localhost@evil.example",
            "localhost:80@evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "2130706433",
            "[::2]",
            "[::1",
            "[::1]80",
            "[::1].evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_own(foreign), "{foreign:?}");
        }
    }
}
