//! Checks the Host header. A web page can make a browser send requests to a loopback address under a name of the page's
//! own domain (DNS rebinding); such a name is not accepted.

use std::net::IpAddr;

/// Whether `host`, the Host header of a request over a loopback address, names this machine. HTTP/1.0 has no such
/// header.
pub(super) fn is_own(host: Option<&str>) -> bool {
    let Some(host) = host else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_told_apart() {
        for own in [None, Some("localhost"), Some("LOCALHOST.:8080"), Some("127.0.0.1:80"), Some("127.1.2.3")]
        {
            assert!(is_own(own), "{own:?}");
        }
        assert!(is_own(Some("[::1]:9")) && is_own(Some("[::ffff:127.0.0.1]")));
        for foreign in
            ["", "evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "127.0.0.1.evil.example"]
        {
            assert!(!is_own(Some(foreign)), "{foreign:?}");
        }
    }
}
