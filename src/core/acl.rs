//! Access lists: the first matching entry decides.

use super::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many lists there are, numbered from 0.
pub const LISTS: usize = 10;

/// What an entry says of the addresses that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They may pass.
    Permit,
    /// They may not.
    Deny,
}

/// The addresses an entry matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// IPv4 addresses that agree with the first in every bit set in the mask.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6 addresses that agree in that many leading bits.
    V6(Ipv6Addr, u8),
}

/// One line of an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclEntry {
    /// Permit or deny.
    pub verdict: Verdict,
    /// Whom.
    pub net: Net,
}

impl AclEntry {
    /// Reads `permit|deny IP [MASK]`, `permit|deny IP6[/LEN]` from the words behind `acl N`. `IP/LEN` is taken for IPv4 too.
    ///
    /// # Errors
    /// A word that is none of these; `country`, since pen has no geographical data.
    pub fn parse(words: &[String]) -> Result<Self, Error> {
        let (verdict, net) = match words {
            [verdict, net @ ..] if verdict == "permit" => (Verdict::Permit, net),
            [verdict, net @ ..] if verdict == "deny" => (Verdict::Deny, net),
            [other, ..] => {
                return Err(Error::expected("permit or deny", other));
            }
            [] => {
                return Err(Error::missing("permit|deny and IP [MASK] or IP6[/LEN]"));
            }
        };
        let net = match net {
            [word, ..] if word == "country" => {
                return Err(Error::new("country is not available: this pen has no geographical data"));
            }
            [address] => Net::parse(address, None)?,
            [address, mask] => Net::parse(address, Some(mask))?,
            [] => return Err(Error::missing("IP [MASK] or IP6[/LEN]")),
            [_, _, extra, ..] => return Err(Error::extra(extra)),
        };
        Ok(AclEntry { verdict, net })
    }
}

impl Net {
    fn parse(text: &str, mask: Option<&str>) -> Result<Self, Error> {
        let bad = || Error::expected("IP [MASK] or IP6[/LEN]", text);
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let length = |max: u8| match len {
            None => Ok(max),
            Some(len) => len.parse().ok().filter(|&n| n <= max).ok_or_else(bad),
        };
        match address.parse::<IpAddr>().map_err(|_| bad())? {
            IpAddr::V4(ip) => {
                let mask = match mask {
                    None => leading(length(32)?),
                    Some(mask) if len.is_none() => {
                        mask.parse().map_err(|_| Error::expected("a dotted mask", mask))?
                    }
                    Some(mask) => return Err(Error::expected("one mask", format!("{text} {mask}"))),
                };
                Ok(Net::V4(ip, mask))
            }
            IpAddr::V6(_) if mask.is_some() => {
                Err(Error::expected("IP6[/LEN]", format!("{text} with a mask")))
            }
            IpAddr::V6(ip) => {
                let len = length(128)?;
                // Such a client is an IPv4 client to pen, so an entry for it has to be one too, or it would never match.
                match (ip.to_ipv4_mapped(), len.checked_sub(96)) {
                    (Some(ip), Some(len)) => Ok(Net::V4(ip, leading(len))),
                    // It would match no client at all, IPv4 ones least of all.
                    (Some(_), None) => {
                        Err(Error::expected("an IPv4 address in IPv6 with a length from 96 to 128", text))
                    }
                    _ => Ok(Net::V6(ip, len)),
                }
            }
        }
    }

    fn matches(&self, ip: IpAddr) -> bool {
        match (*self, ip) {
            (Net::V4(net, mask), IpAddr::V4(ip)) => (u32::from(net) ^ u32::from(ip)) & u32::from(mask) == 0,
            (Net::V6(net, len), IpAddr::V6(ip)) => {
                let differ = u128::from(net) ^ u128::from(ip);
                u32::from(len) <= differ.leading_zeros()
            }
            _ => false,
        }
    }
}

/// The mask of the first `len` bits.
fn leading(len: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0))
}

impl fmt::Display for AclEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Permit => "permit",
            Verdict::Deny => "deny",
        };
        match self.net {
            Net::V4(ip, mask) => write!(f, "{verdict} {ip} {mask}"),
            Net::V6(ip, len) => write!(f, "{verdict} {ip}/{len}"),
        }
    }
}

/// A list of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acl(Vec<AclEntry>);

impl Acl {
    /// Adds an entry behind the others.
    pub fn push(&mut self, entry: AclEntry) {
        self.0.push(entry);
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The entries in their order.
    pub fn entries(&self) -> &[AclEntry] {
        &self.0
    }

    /// True when nobody is ever denied.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a client may pass: the first matching entry decides; with none matching the answer is the opposite of the
    /// last entry; an empty list permits. A client without an IP address (of a Unix socket) always may.
    pub fn permits(&self, client: Option<IpAddr>) -> bool {
        self.judge(client).1
    }

    /// The number of the entry that decides, if one matches, and whether the client may pass; see [`Acl::permits`].
    pub fn judge(&self, client: Option<IpAddr>) -> (Option<usize>, bool) {
        let (Some(client), Some(last)) = (client, self.0.last()) else { return (None, true) };
        let client = client.to_canonical();
        let found = self.0.iter().enumerate().find(|(_, entry)| entry.net.matches(client));
        match found {
            Some((n, entry)) => (Some(n), entry.verdict == Verdict::Permit),
            None => (None, last.verdict == Verdict::Deny),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(text: &str) -> Result<AclEntry, Error> {
        AclEntry::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn entries_print_as_they_are_read() {
        for (given, shown) in [
            ("permit 10.0.0.0 255.0.0.0", "permit 10.0.0.0 255.0.0.0"),
            ("deny 1.2.3.4", "deny 1.2.3.4 255.255.255.255"),
            ("deny 1.2.3.0/24", "deny 1.2.3.0 255.255.255.0"),
            ("permit 0.0.0.0/0", "permit 0.0.0.0 0.0.0.0"),
            ("permit ::1", "permit ::1/128"),
            ("deny fe80::/10", "deny fe80::/10"),
        ] {
            let parsed = entry(given).unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(entry(shown), Ok(parsed));
        }
        for bad in [
            "allow 1.2.3.4",
            "permit",
            "permit x",
            "permit 1.2.3.4 x",
            "permit ::1/129",
            "deny country SE",
            "permit ::1 255.0.0.0",
        ] {
            assert!(entry(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mapped_client_is_an_ipv4_client() {
        let mut acl = Acl::default();
        acl.push(entry("deny 127.0.0.0/8").unwrap());
        assert!(!acl.permits(Some("::ffff:127.0.0.1".parse().unwrap())));
        assert!(acl.permits(Some("::1".parse().unwrap())));
        assert!(acl.permits(None));
        for short in ["deny ::ffff:0:0/95", "permit ::ffff:10.0.0.1/8"] {
            assert!(entry(short).unwrap_err().to_string().contains("96 to 128"), "{short}");
        }
        // And so is one that an entry means.
        for line in ["deny ::ffff:127.0.0.2", "deny ::ffff:127.0.0.0/104", "deny ::ffff:0:0/96"] {
            let mut acl = Acl::default();
            acl.push(entry(line).unwrap());
            assert!(!acl.permits(Some("127.0.0.2".parse().unwrap())), "{line}");
            assert!(!acl.permits(Some("::ffff:127.0.0.2".parse().unwrap())), "{line}");
            assert!(acl.permits(Some("::1".parse().unwrap())), "{line}");
        }
    }

    /// The rule in words, over a model that counts bits one by one: whether to permit, an address, and which of its bits
    /// count.
    fn model(entries: &[(bool, u128, u128)], client: u128) -> bool {
        for &(permit, net, mask) in entries {
            if (0..128).all(|bit| (mask >> bit) & 1 == 0 || (net >> bit) & 1 == (client >> bit) & 1) {
                return permit;
            }
        }
        entries.last().is_none_or(|&(permit, ..)| !permit)
    }

    /// The first `len` of `width` bits, one by one.
    fn prefix(len: u32, width: u32) -> u128 {
        (0..len).fold(0, |mask, bit| mask | 1 << (width - 1 - bit))
    }

    /// What a list says that is read from lines such as these.
    fn permits(lines: impl IntoIterator<Item = (bool, String)>, client: IpAddr) -> bool {
        let mut acl = Acl::default();
        for (permit, net) in lines {
            let verdict = if permit { "permit" } else { "deny" };
            acl.push(entry(&format!("{verdict} {net}")).unwrap());
        }
        acl.permits(Some(client))
    }

    proptest! {
        #[test]
        fn the_first_match_decides(
            entries in prop::collection::vec((any::<bool>(), 0u32..8, 28u32..=32), 0..6),
            client in 0u32..8,
        ) {
            let lines = entries.iter().map(|&(permit, net, len)| (permit, format!("{}/{len}", Ipv4Addr::from(net))));
            let simple: Vec<_> =
                entries.iter().map(|&(permit, net, len)| (permit, net.into(), prefix(len, 32))).collect();
            prop_assert_eq!(permits(lines, Ipv4Addr::from(client).into()), model(&simple, client.into()));
        }

        /// Addresses that differ from the client's in one bit or none, so that entries match and just fail to.
        #[test]
        fn a_prefix_of_ipv6_has_any_length(
            entries in prop::collection::vec((any::<bool>(), prop::option::of(0u32..128), 0u32..=128), 0..6),
            client in any::<u128>(),
        ) {
            let net = |bit: Option<u32>| client ^ bit.map_or(0, |bit| 1 << bit);
            // Those are IPv4 clients.
            prop_assume!(((client >> 32) ^ 0xffff).count_ones() > 1);
            let lines = entries.iter().map(|&(permit, bit, len)| (permit, format!("{}/{len}", Ipv6Addr::from(net(bit)))));
            let simple: Vec<_> =
                entries.iter().map(|&(permit, bit, len)| (permit, net(bit), prefix(len, 128))).collect();
            prop_assert_eq!(permits(lines, Ipv6Addr::from(client).into()), model(&simple, client));
        }

        #[test]
        fn a_mask_of_ipv4_may_have_holes(
            entries in prop::collection::vec((any::<bool>(), prop::option::of(0u32..32), any::<u32>()), 0..6),
            client in any::<u32>(),
        ) {
            let net = |bit: Option<u32>| client ^ bit.map_or(0, |bit| 1 << bit);
            let lines = entries.iter().map(|&(permit, bit, mask)| {
                (permit, format!("{} {}", Ipv4Addr::from(net(bit)), Ipv4Addr::from(mask)))
            });
            let simple: Vec<_> =
                entries.iter().map(|&(permit, bit, mask)| (permit, net(bit).into(), mask.into())).collect();
            prop_assert_eq!(permits(lines, Ipv4Addr::from(client).into()), model(&simple, client.into()));
        }
    }
}
