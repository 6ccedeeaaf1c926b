//! Setup of connection sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use socket2::SockRef;

use crate::core::error::SystemReason;
use crate::core::snapshot::Snapshot;
use crate::sys::{log, socket};

/// Sets the configured options on a TCP connection.
pub fn set_options(snapshot: &Snapshot, socket: &SockRef<'_>) {
    // An error of a broken socket is reported when it is read.
    if snapshot.sockets.tcp_nodelay {
        _ = socket.set_tcp_nodelay(true);
    }
    if snapshot.sockets.keepalive {
        _ = socket.set_keepalive(true);
    }
}

/// Binds a socket for connecting to `address` on behalf of `client`, if the configuration asks for it. If the system
/// refuses the client's address, that is reported, and the server sees pen's.
///
/// # Errors
/// See bind(2).
pub fn bind(
    snapshot: &Snapshot,
    socket: &impl AsFd,
    address: SocketAddr,
    client: Option<IpAddr>,
) -> io::Result<()> {
    let same_family = |ip: &IpAddr| ip.is_ipv4() == address.is_ipv4();
    let wanted = client.filter(same_family).filter(|_| snapshot.sockets.transparent);
    let allowed = wanted.filter(|client| may_be_transparent(socket, *client));
    match allowed.or(snapshot.sockets.source.filter(same_family)) {
        Some(from) => socket::bind_source(socket, from),
        None => Ok(()),
    }
}

fn may_be_transparent(socket: &impl AsFd, client: IpAddr) -> bool {
    static REFUSED: log::Condition = log::Condition::new();
    match socket::transparent(socket, client) {
        Ok(()) => {
            REFUSED.end(format_args!("transparent: connections come from their clients' addresses again"));
            true
        }
        Err(error) => {
            REFUSED.begin(format_args!(
                "transparent: connections come from pen's own address: {}",
                SystemReason(&error)
            ));
            false
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
    fn options_are_set_as_the_configuration_says() {
        let services = Services::default();
        let mut config = Config::default();
        for on in [false, true] {
            let snapshot = Snapshot::new(&config, &mut StatsTable::default(), &Resolved::new());
            let socket = socket::stream_to(&SocketAddr::from(([127, 0, 0, 1], 1)).into()).unwrap();
            let options = SockRef::from(&socket);
            set_options(&snapshot, &options);
            assert_eq!((options.tcp_nodelay().unwrap(), options.keepalive().unwrap()), (on, on));
            for line in ["tcp_nodelay", "keepalive"] {
                let command = Command::parse(line, &services).unwrap().unwrap();
                config.apply(&command, Phase::Running).unwrap();
            }
        }
    }
}
