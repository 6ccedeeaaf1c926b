//! Whether a sender may name another client in a PROXY header.

use crate::core::affinity::Client;
use crate::core::settings::ProxyProtocol;
use crate::core::snapshot::Snapshot;

/// The role of a sender, decided before any of its data is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client itself: its data is never taken for a header.
    Client,
    /// A proxy that may send a header, or the client itself.
    ProxyOrClient,
    /// A proxy that must send a header.
    Proxy,
    /// A sender that must not connect: a header is required, and it may not send one.
    Nobody,
}

impl Sender {
    /// The role of `who` under this configuration.
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
            // A sender on a Unix socket is on this machine, and no list applies to it.
            assert_eq!([known, other, Client::UNIX].map(|who| Sender::of(&snapshot, who)), senders, "{word}");
        }
    }
}
