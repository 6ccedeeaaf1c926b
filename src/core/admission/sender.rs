//! Who may tell by a PROXY header which client it connects for.

use crate::core::affinity::Client;
use crate::core::settings::ProxyProtocol;
use crate::core::snapshot::Snapshot;

/// What whoever connects is taken for, before a byte of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client itself: nothing that it sends is taken for a header.
    Client,
    /// A proxy that may send a header, or the client itself.
    ProxyOrClient,
    /// A proxy, which is to send a header.
    Proxy,
    /// Nobody who may connect: a header is required, and one from there would not count.
    Nobody,
}

impl Sender {
    /// What the configuration says of `who` has connected.
    pub fn of(snapshot: &Snapshot, who: Client) -> Self {
        let permitted = || snapshot.acls.get(snapshot.proxy_acl).is_none_or(|acl| acl.permits(who.ip()));
        match snapshot.proxy_protocol {
            ProxyProtocol::Off => Sender::Client,
            ProxyProtocol::Accept if permitted() => Sender::ProxyOrClient,
            ProxyProtocol::Accept => Sender::Client,
            ProxyProtocol::Require if permitted() => Sender::Proxy,
            ProxyProtocol::Require => Sender::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::addr::Services;
    use crate::core::command::Command;
    use crate::core::config::{Config, Phase};
    use crate::core::snapshot::{Resolved, StatsTable};

    #[test]
    fn the_header_of_an_address_that_the_list_denies_never_counts() {
        let services = Services::default();
        let (known, other) = (Client::new([10, 0, 0, 1].into()), Client::new([10, 0, 0, 2].into()));
        for (word, senders) in [
            ("off", [Sender::Client; 3]),
            ("accept", [Sender::ProxyOrClient, Sender::Client, Sender::ProxyOrClient]),
            ("require", [Sender::Proxy, Sender::Nobody, Sender::Proxy]),
        ] {
            let mut config = Config::default();
            for line in [
                "acl 3 permit 10.0.0.1",
                "acl 3 default deny",
                "proxy_acl 3",
                &format!("proxy_protocol {word}"),
            ] {
                config.apply(&Command::parse(line, &services).unwrap().unwrap(), Phase::Start).unwrap();
            }
            let snapshot = Snapshot::new(&config, &mut StatsTable::default(), &Resolved::new());
            // Who connects to a Unix socket is on this machine, and no list is about him.
            assert_eq!([known, other, Client::UNIX].map(|who| Sender::of(&snapshot, who)), senders, "{word}");
        }
    }
}
