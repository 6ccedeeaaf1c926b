//! Lists of protocols as TLS negotiates them (ALPN, RFC 7301).

use super::error::Error;

/// The protocol that is spoken in HTTP mode.
pub const HTTP: &str = "http/1.1";
/// HTTP/2, which HTTP mode does not speak.
const HTTP_2: &str = "h2";

/// The names in a list, which commas or blanks separate.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ']).filter(|name| !name.is_empty())
}

/// Whether every name in a list can be that of a protocol, and HTTP mode, if it is on, speaks it.
///
/// # Errors
/// The name that cannot.
pub fn judge(list: &str, http: bool) -> Result<(), Error> {
    let is_name = |name: &str| name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic());
    match names(list).find(|name| !is_name(name)) {
        Some(name) => Err(Error::expected("names of at most 255 printable characters", name)),
        None if names(list).next().is_none() => Err(Error::expected("names of protocols", list)),
        None if http && names(list).any(|name| name == HTTP_2) => {
            Err(Error::expected("protocols that HTTP mode (-H) speaks, such as http/1.1", HTTP_2))
        }
        None => Ok(()),
    }
}

/// A list as TLS sends it: each name behind its length.
pub fn wire<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in names {
        if let Ok(length @ 1..) = u8::try_from(name.len()) {
            bytes.push(length);
            bytes.extend_from_slice(name);
        }
    }
    bytes
}

/// The first of `own` names that the client offers, as it stands in its list.
pub fn choose<'a>(own: &[String], offered: &'a [u8]) -> Option<&'a [u8]> {
    let offers = |name: &[u8]| {
        let mut rest = offered;
        while let Some((length, after)) = rest.split_first() {
            let (one, after) = after.split_at_checked(usize::from(*length))?;
            if one == name {
                return Some(one);
            }
            rest = after;
        }
        None
    };
    own.iter().find_map(|name| offers(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_our_own_that_is_offered_is_chosen() {
        let own = |list: &str| names(list).map(str::to_owned).collect::<Vec<_>>();
        let offered = wire([&b"http/1.1"[..], b"h2", b""]);
        assert_eq!(offered, b"\x08http/1.1\x02h2");
        assert_eq!(choose(&own("h2,http/1.1"), &offered), Some(&b"h2"[..]));
        assert_eq!(choose(&own("postgresql, http/1.1"), &offered), Some(&b"http/1.1"[..]));
        assert_eq!(choose(&own("postgresql"), &offered), None);
        // One that stops short.
        assert_eq!(choose(&own("h2"), b"\x08http"), None);
    }

    #[test]
    fn a_list_has_names_that_can_be() {
        assert_eq!(judge("h2,http/1.1 postgresql", false), Ok(()));
        let told = |list: &str, http| judge(list, http).map_err(|error| error.to_string());
        assert_eq!(told(", ", false), Err("expected names of protocols, got ', '".into()));
        assert!(told("b\u{fc}cher", false).unwrap_err().starts_with("expected names of at most 255 "));
        let error = "expected protocols that HTTP mode (-H) speaks, such as http/1.1, got 'h2'";
        assert_eq!(told("http/1.1,h2", true), Err(error.into()));
    }
}
