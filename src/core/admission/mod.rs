//! Whether a client is served at all. Decided once, before anything is spent on the client: a table entry, a connect, a
//! TLS handshake.

mod begins;
pub mod limits;
pub mod sender;

use super::affinity::Client;
use super::snapshot::Snapshot;
use sender::Sender;

/// The decision about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Regular servers may serve it.
    Admit,
    /// `tarpit_acl` denies it: its connection is held, and nothing is sent to it.
    Tarpit,
    /// `client_acl` denies it, and the abuse server serves it. It is not entered in the affinity table.
    Abuse,
    /// `client_acl` denies it, and it is closed at once.
    Refuse,
}

impl Admission {
    /// The decision for `client` under this configuration.
    pub fn of(snapshot: &Snapshot, client: Client) -> Self {
        let permitted = snapshot.acls.get(snapshot.client_acl).is_none_or(|acl| acl.permits(client.ip()));
        match &snapshot.abuse {
            _ if tarpit_denies(snapshot, client) => Admission::Tarpit,
            _ if permitted => Admission::Admit,
            Some(_) => Admission::Abuse,
            None => Admission::Refuse,
        }
    }
}

/// Whether the connection of `peer` is held: `tarpit_acl` denies it, and no proxy may name another client on it. A connection of a
/// proxy is not a client's, whichever client its header names.
pub fn is_held(snapshot: &Snapshot, peer: Client) -> bool {
    tarpit_denies(snapshot, peer) && Sender::of(snapshot, peer) == Sender::Client
}

/// Whether `tarpit_acl` names a list that denies `client`.
fn tarpit_denies(snapshot: &Snapshot, client: Client) -> bool {
    let list = snapshot.tarpit_acl.and_then(|n| snapshot.acls.get(n));
    list.is_some_and(|acl| !acl.permits(client.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::addr::Services;
    use crate::core::command::Command;
    use crate::core::config::{Config, Phase};
    use crate::core::snapshot::{Resolved, StatsTable};

    fn snapshot(lines: &[&str]) -> Snapshot {
        let services = Services::default();
        let mut config = Config::default();
        for line in lines {
            let command = Command::parse(line, &services).unwrap().unwrap();
            config.apply(&command, Phase::Start).unwrap();
        }
        Snapshot::new(&config, &mut StatsTable::default(), &Resolved::new())
    }

    #[test]
    fn a_denied_client_is_refused_or_has_the_abuse_server() {
        let client = |n| Client::new([10, 0, 0, n].into());
        let lines = ["acl 1 deny 10.0.0.2", "client_acl 1", "abuse 127.0.0.1:9"];
        for (lines, verdict) in [(&lines[..2], Admission::Refuse), (&lines[..], Admission::Abuse)] {
            let snapshot = snapshot(lines);
            assert_eq!(Admission::of(&snapshot, client(2)), verdict);
            assert_eq!(Admission::of(&snapshot, client(3)), Admission::Admit);
            assert_eq!(Admission::of(&snapshot, Client::UNIX), Admission::Admit);
        }
    }

    #[test]
    fn the_tarpit_goes_before_the_list_of_clients() {
        let client = |n| Client::new([10, 0, 0, n].into());
        let lines = ["acl 1 deny 10.0.0.2", "client_acl 1", "abuse 127.0.0.1:9", "tarpit_acl 1"];
        let snapshot = snapshot(&lines);
        assert_eq!(Admission::of(&snapshot, client(2)), Admission::Tarpit);
        assert_eq!(Admission::of(&snapshot, client(3)), Admission::Admit);
        assert_eq!(Admission::of(&snapshot, Client::UNIX), Admission::Admit);
    }

    #[test]
    fn a_denied_client_is_held_unless_it_may_be_a_proxy() {
        let peers = [1, 2, 3].map(|n| Client::new([10, 0, 0, n].into()));
        for (word, held) in [
            ("off", [true, true, false]),
            ("accept", [false, true, false]),
            ("require", [false, false, false]),
        ] {
            let snapshot = snapshot(&[
                "acl 1 deny 10.0.0.1",
                "acl 1 deny 10.0.0.2",
                "tarpit_acl 1",
                "acl 2 permit 10.0.0.1",
                "acl 2 default deny",
                "proxy_acl 2",
                &format!("proxy_protocol {word}"),
            ]);
            assert_eq!(peers.map(|peer| is_held(&snapshot, peer)), held, "{word}");
            assert!(!is_held(&snapshot, Client::UNIX));
        }
    }
}
