//! The sockets that pen listens on: no two of them can be bound to the same address.

use super::Config;
use crate::core::addr::{Endpoint, Host, takes};
use crate::core::error::Error;

impl Config {
    /// Sockets with the address of one before them. At start the system would say no more than "Address already in use".
    pub(super) fn socket_errors(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        let settings = &self.settings;
        // Clients of UDP do not get into the way of sockets that take connections.
        let clients = settings.listen.as_ref().filter(|_| !settings.udp);
        let sockets =
            [("listen", clients), ("control", settings.control.as_ref()), ("admin", settings.admin.as_ref())];
        for (n, (word, address)) in sockets.iter().enumerate() {
            let Some(address) = address else { continue };
            let clash = sockets[..n]
                .iter()
                .find(|(_, other)| other.is_some_and(|other| clashes(&other.endpoint, &address.endpoint)));
            if let Some((other, _)) = clash {
                errors.push(Error::new(format!("{address} is taken by {other}")).of(word));
            }
        }
        errors
    }
}

/// Whether sockets at both places are in each other's way. False for names: their addresses are not known here.
fn clashes(one: &Endpoint, other: &Endpoint) -> bool {
    match (&one.host, &other.host) {
        (Host::Unix(one), Host::Unix(other)) => one == other,
        // The system chooses another port for each.
        (Host::Ip(_), Host::Ip(_)) if one.port != other.port || one.port == 0 => false,
        (Host::Ip(one), Host::Ip(other)) => takes(*one, *other) || takes(*other, *one),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::core::config_file::tests::made_of;

    #[test]
    fn two_sockets_cannot_have_one_address() {
        for (lines, error) in [
            ("listen 8080\ncontrol 8081\nadmin 8082", ""),
            ("listen 8080\nadmin 8080", "admin: 8080 is taken by listen"),
            ("listen 8080\nadmin 127.0.0.1:8080", "admin: 127.0.0.1:8080 is taken by listen"),
            ("listen [::]:8080\nadmin 8080", "admin: 8080 is taken by listen"),
            ("listen 127.0.0.1:8080\ncontrol 8080", "control: 8080 is taken by listen"),
            ("listen 127.0.0.1:8080\ncontrol 127.0.0.2:8080", ""),
            ("listen 127.0.0.1:8080\ncontrol [::1]:8080", ""),
            ("listen 0.0.0.0:8080\ncontrol [::1]:8080", ""),
            (
                "listen 1\ncontrol 127.0.0.1:8080\nadmin 127.0.0.1:8080",
                "admin: 127.0.0.1:8080 is taken by control",
            ),
            ("listen /run/x\nadmin /run/x", "admin: /run/x is taken by listen"),
            ("listen /run/x\nadmin /run/y", ""),
            ("udp\nlisten 8080\ncontrol 8080", ""),
            ("listen 127.0.0.1:0\nadmin 127.0.0.1:0", ""),
        ] {
            let (config, _) = made_of(lines);
            let found = config.socket_errors().first().map(ToString::to_string).unwrap_or_default();
            assert_eq!(found, error, "{lines}");
        }
    }
}
