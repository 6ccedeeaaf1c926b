//! Whether new clients are served at all, as far as that is known without a client: what `/health`, `penctl check-health`, the
//! dashboard and the warning [`NOBODY`](super::warnings::NOBODY) say.

use super::{Config, LISTS};
use crate::core::addr::Host;
use crate::core::settings::{AdminState, ProxyProtocol};
use crate::core::snapshot::Role;
use std::cell::OnceCell;
use std::net::IpAddr;

impl Config {
    /// Whether some server serves new clients. `works` tells whether a server works in this moment. Limits of connections do not
    /// count: that a server is full passes.
    pub fn serves_new_clients(&self, works: impl Fn(Role) -> bool) -> bool {
        let settings = &self.settings;
        if self.holds_everybody() {
            return false;
        }
        if self.denies_everybody(settings.client_acl) {
            return settings.abuse.is_some() && works(Role::Abuse);
        }
        let by_weight = settings.weight && !settings.prio;
        let denied: [OnceCell<bool>; LISTS] = Default::default();
        // A list may be long, and most servers have the same.
        let denies =
            |n: usize| denied.get(n).is_some_and(|cell| *cell.get_or_init(|| self.denies_everybody(n)));
        let mut used = self.used_servers();
        used.any(|(n, server)| {
            let takes = server.state == AdminState::Ready && (!by_weight || server.weight > 0);
            takes && works(Role::Regular(n)) && !denies(server.acl)
        }) || (settings.emergency.is_some() && !settings.stubborn && works(Role::Emergency))
    }

    /// Whether no new client is served as long as the configuration stays so, and servers that commands have blacklisted, which
    /// `is_blacklisted` tells of their numbers. Not if there is no server at all.
    pub fn takes_nobody(&self, is_blacklisted: impl Fn(usize) -> bool) -> bool {
        let works = |role| !matches!(role, Role::Regular(n) if is_blacklisted(n));
        let has_servers = self.used_servers().next().is_some();
        has_servers && !self.holds_everybody() && !self.serves_new_clients(works)
    }

    /// Whether `tarpit_acl` denies everybody: clients are held, and none is served.
    pub(super) fn holds_everybody(&self) -> bool {
        self.settings.tarpit_acl.is_some_and(|list| self.denies_everybody(list))
    }

    /// Whether an access list denies every client that can come.
    fn denies_everybody(&self, list: usize) -> bool {
        let header = self.settings.proxy_protocol;
        let all = [true, false];
        let families = match self.listening().map(|endpoint| &endpoint.host) {
            // Clients of a path have no address, which no list denies, unless a header always names one.
            Some(Host::Unix(_)) if header != ProxyProtocol::Require => return false,
            Some(Host::Ip(ip)) if header == ProxyProtocol::Off => match ip.to_canonical() {
                IpAddr::V4(_) => &all[..1],
                IpAddr::V6(ip) if !ip.is_unspecified() => &all[1..],
                IpAddr::V6(_) => &all,
            },
            _ => &all,
        };
        families.iter().all(|is_v4| self.acl(list).denies_family(*is_v4))
    }
}
