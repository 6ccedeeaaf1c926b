//! Access lists: the first matching entry decides.

use super::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The number of access lists; they are numbered from 0.
pub const LISTS: usize = 10;

/// What an entry decides about the addresses that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are permitted.
    Permit,
    /// They are denied.
    Deny,
}

/// The addresses an entry matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// IPv4 addresses equal to the first one in every bit that is set in the mask.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6 addresses equal in that many leading bits.
    V6(Ipv6Addr, u8),
}

/// One entry of an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclEntry {
    /// Permit or deny.
    pub verdict: Verdict,
    /// The addresses that it matches.
    pub net: Net,
}

/// One line of an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclLine {
    /// An entry, appended to the list.
    Entry(AclEntry),
    /// The verdict for clients that no entry matches.
    Default(Verdict),
}

impl AclLine {
    /// Reads `default permit|deny`, or an entry as [`AclEntry::parse`] does, from the words behind `acl N`.
    ///
    /// # Errors
    /// As [`AclEntry::parse`]; a default that is neither.
    pub fn parse(words: &[String]) -> Result<Self, Error> {
        match words {
            [word, verdict] if word == "default" => match verdict.as_str() {
                "permit" => Ok(AclLine::Default(Verdict::Permit)),
                "deny" => Ok(AclLine::Default(Verdict::Deny)),
                other => Err(Error::expected("permit or deny", other).of("default")),
            },
            [word] if word == "default" => Err(Error::missing("permit or deny").of("default")),
            [word, _, extra, ..] if word == "default" => Err(Error::extra(extra)),
            _ => AclEntry::parse(words).map(AclLine::Entry),
        }
    }
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
                    // It would match no client at all, in particular no IPv4 client.
                    (Some(_), None) => {
                        Err(Error::expected("an IPv4 address in IPv6 with a length from 96 to 128", text))
                    }
                    _ => Ok(Net::V6(ip, len)),
                }
            }
        }
    }

    fn is_v4(&self) -> bool {
        matches!(self, Net::V4(..))
    }

    /// Whether it matches every address of its family.
    fn is_everything(&self) -> bool {
        matches!(self, Net::V4(_, Ipv4Addr::UNSPECIFIED) | Net::V6(_, 0))
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

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Permit => "permit",
            Verdict::Deny => "deny",
        })
    }
}

impl fmt::Display for AclEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.verdict;
        match self.net {
            Net::V4(ip, mask) => write!(f, "{verdict} {ip} {mask}"),
            Net::V6(ip, len) => write!(f, "{verdict} {ip}/{len}"),
        }
    }
}

impl fmt::Display for AclLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AclLine::Entry(entry) => entry.fmt(f),
            AclLine::Default(verdict) => write!(f, "default {verdict}"),
        }
    }
}

/// A list of entries, and the verdict for clients that no entry matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acl {
    entries: Vec<AclEntry>,
    default: Option<Verdict>,
}

impl Acl {
    /// Adds a line.
    pub fn add(&mut self, line: AclLine) {
        match line {
            AclLine::Entry(entry) => self.entries.push(entry),
            AclLine::Default(verdict) => self.default = Some(verdict),
        }
    }

    /// Removes every line.
    pub fn clear(&mut self) {
        *self = Acl::default();
    }

    /// The entries in their order.
    pub fn entries(&self) -> &[AclEntry] {
        &self.entries
    }

    /// The `default` line of the list, if there is one.
    pub fn default_line(&self) -> Option<AclLine> {
        self.default.map(AclLine::Default)
    }

    /// The lines that make the list.
    pub fn lines(&self) -> impl Iterator<Item = AclLine> {
        self.lines_from(0)
    }

    /// The lines from the one with this number on.
    pub fn lines_from(&self, begin: usize) -> impl Iterator<Item = AclLine> {
        let entries = self.entries.get(begin..).unwrap_or_default().iter().copied().map(AclLine::Entry);
        entries.chain(self.default_line().filter(|_| begin <= self.entries.len()))
    }

    /// True when no client is ever denied.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.default != Some(Verdict::Deny)
    }

    /// The family of addresses that is open only because the last entry, of the other family, denies: the list's entries of
    /// that family end with one that permits, or there are none and the other family is denied altogether.
    pub fn left_open(&self) -> Option<&'static str> {
        if self.default.is_some() || self.entries.last()?.verdict == Verdict::Permit {
            return None;
        }
        let is_open = |is_v4: bool| {
            let (own, other): (Vec<&AclEntry>, _) = self.entries.iter().partition(|e| e.net.is_v4() == is_v4);
            let ends_open = match own.last() {
                Some(last) => last.verdict == Verdict::Permit,
                None => other.iter().any(|e| e.verdict == Verdict::Deny && e.net.is_everything()),
            };
            ends_open && !own.iter().any(|e| e.net.is_everything())
        };
        [(true, "IPv4"), (false, "IPv6")].into_iter().find(|(is_v4, _)| is_open(*is_v4)).map(|(_, name)| name)
    }

    /// Whether a client may pass. The first matching entry decides. When none matches, the list's default does; without
    /// a default, the opposite of the last entry. An empty list permits. A client without an IP address (of a Unix
    /// socket) is always permitted.
    pub fn permits(&self, client: Option<IpAddr>) -> bool {
        self.judge(client).1
    }

    /// Whether it denies every IPv4 client, or every IPv6 client, as far as single entries tell: false where several do so together.
    pub fn denies_family(&self, is_v4: bool) -> bool {
        let own = self.entries.iter().filter(|entry| entry.net.is_v4() == is_v4);
        // An entry behind one for everybody is never reached.
        let decides = |entry: &&AclEntry| entry.verdict == Verdict::Permit || entry.net.is_everything();
        let found = own.into_iter().find(decides).map(|entry| entry.verdict);
        found.unwrap_or_else(|| self.verdict_without_match()) == Verdict::Deny
    }

    fn verdict_without_match(&self) -> Verdict {
        self.default.unwrap_or(match self.entries.last() {
            Some(AclEntry { verdict: Verdict::Permit, .. }) => Verdict::Deny,
            _ => Verdict::Permit,
        })
    }

    /// The number of the entry that decides, if one matches, and whether the client may pass; see [`Acl::permits`].
    pub fn judge(&self, client: Option<IpAddr>) -> (Option<usize>, bool) {
        let Some(client) = client.map(|client| client.to_canonical()) else { return (None, true) };
        let found = self.entries.iter().enumerate().find(|(_, entry)| entry.net.matches(client));
        match found {
            Some((n, entry)) => (Some(n), entry.verdict == Verdict::Permit),
            None => (None, self.verdict_without_match() == Verdict::Permit),
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

    fn line(text: &str) -> Result<AclLine, Error> {
        AclLine::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn list(lines: &str) -> Acl {
        let mut acl = Acl::default();
        lines.split(", ").for_each(|text| acl.add(line(text).unwrap()));
        acl
    }

    #[test]
    fn a_default_decides_where_no_entry_fits() {
        let (v4, v6) = (Some("9.9.9.9".parse().unwrap()), Some("::9".parse().unwrap()));
        for (lines, permitted) in [
            ("default deny", false),
            ("default permit", true),
            ("permit 10.0.0.0/8, default permit", true),
            ("deny 10.0.0.0/8, default deny", false),
            ("default deny, deny 10.0.0.0/8", false),
            ("default deny, default permit, permit ::1", true),
        ] {
            let acl = list(lines);
            assert_eq!(
                [acl.permits(v4), acl.permits(v6), acl.permits(None)],
                [permitted, permitted, true],
                "{lines}"
            );
        }
        assert!(list("default deny, permit 9.0.0.0/8").permits(v4));
        assert!(!list("default deny").is_empty() && list("default permit").is_empty());
        let acl = list("default deny, permit ::1");
        assert_eq!(
            acl.lines().map(|line| line.to_string()).collect::<Vec<_>>(),
            ["permit ::1/128", "default deny"]
        );
        for bad in ["default", "default x", "default permit ::1"] {
            assert!(line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_family_that_is_open_by_the_last_entry_alone_is_told() {
        for (lines, open) in [
            ("permit 10.0.0.0/8, deny ::/0", Some("IPv4")),
            ("permit ::2, deny 0.0.0.0/0", Some("IPv6")),
            ("deny 0.0.0.0/0", Some("IPv6")),
            ("deny ::/0", Some("IPv4")),
            ("permit 10.0.0.0/8, deny 0.0.0.0/0", Some("IPv6")),
            // A list of denials permits everybody else.
            ("deny 10.0.0.0/8", None),
            ("permit 10.1.1.1, deny 10.0.0.0/8, deny ::1", None),
            ("permit 10.0.0.0/8, deny 0.0.0.0/0, deny ::/0", None),
            ("deny ::/0, permit 10.0.0.0/8", None),
            ("permit 10.0.0.0/8, deny ::/0, default deny", None),
            ("permit 10.0.0.0/8, deny ::/0, default permit", None),
            ("default permit", None),
        ] {
            assert_eq!(list(lines).left_open(), open, "{lines}");
        }
    }

    #[test]
    fn a_list_that_denies_everybody_is_known() {
        let list = |lines: &str| {
            let mut acl = Acl::default();
            lines.split(", ").filter(|text| !text.is_empty()).for_each(|text| acl.add(line(text).unwrap()));
            acl.denies_family(true) && acl.denies_family(false)
        };
        for closed in [
            "default deny",
            "deny 10.0.0.1, default deny",
            "deny 0.0.0.0/0, deny ::/0",
            "deny 0.0.0.0/0, permit 10.0.0.1, deny ::/0, default permit",
            "deny ::/0, default deny",
        ] {
            assert!(list(closed), "{closed}");
        }
        for open in [
            "",
            "deny 10.0.0.1",
            "permit 10.0.0.1, default deny",
            "deny 0.0.0.0/0",
            "permit ::1, deny 0.0.0.0/0",
            "permit 10.0.0.1",
        ] {
            assert!(!list(open), "{open}");
        }
    }

    #[test]
    fn a_mapped_client_is_an_ipv4_client() {
        let mut acl = Acl::default();
        acl.add(line("deny 127.0.0.0/8").unwrap());
        assert!(!acl.permits(Some("::ffff:127.0.0.1".parse().unwrap())));
        assert!(acl.permits(Some("::1".parse().unwrap())));
        assert!(acl.permits(None));
        for short in ["deny ::ffff:0:0/95", "permit ::ffff:10.0.0.1/8"] {
            assert!(entry(short).unwrap_err().to_string().contains("96 to 128"), "{short}");
        }
        // So does an entry that names addresses of that kind.
        for text in ["deny ::ffff:127.0.0.2", "deny ::ffff:127.0.0.0/104", "deny ::ffff:0:0/96"] {
            let mut acl = Acl::default();
            acl.add(line(text).unwrap());
            assert!(!acl.permits(Some("127.0.0.2".parse().unwrap())), "{text}");
            assert!(!acl.permits(Some("::ffff:127.0.0.2".parse().unwrap())), "{text}");
            assert!(acl.permits(Some("::1".parse().unwrap())), "{text}");
        }
    }

    /// The rule, written as a model that compares bits one by one. An entry is: whether it permits, an address, and
    /// which of its bits are compared.
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

    /// The verdict of a list read from these lines.
    fn permits(lines: impl IntoIterator<Item = (bool, String)>, client: IpAddr) -> bool {
        let mut acl = Acl::default();
        for (permit, net) in lines {
            let verdict = if permit { "permit" } else { "deny" };
            acl.add(line(&format!("{verdict} {net}")).unwrap());
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

        /// The addresses differ from the client's in one bit or none, so that entries match or narrowly miss.
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
