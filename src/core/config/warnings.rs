//! Configurations that are valid but probably not what the administrator wants.

use super::Config;
use crate::core::addr::{Endpoint, Host};
use crate::core::error::Error;
use crate::core::settings::{Keyword as _, ProxyProtocol, Settings};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// No new client is served, see [`Config::takes_nobody`].
pub const NOBODY: &str = "no server takes new clients, and they are closed: all are drained, in maintenance, blacklisted, \
                          without weight or denied by access lists";

impl Config {
    /// The warnings about a configuration, each about a setting or about `server N`.
    pub fn warnings(&self) -> Vec<Error> {
        let mut warnings = self.nobody_served();
        warnings.extend(self.empty_lists());
        warnings.extend(self.anybody_is_a_proxy());
        warnings.extend(self.headers_without_http());
        warnings.extend(self.routes_without_effect());
        warnings.extend(self.unencrypted_emergency());
        warnings.extend((0..self.acls().len()).filter_map(|n| self.open_family(n)));
        warnings.extend(self.checks.keys().filter_map(|name| self.keys_without_effect(name)));
        let mut known = HashMap::new();
        for (n, server) in self.servers.iter().enumerate() {
            let mut warn = |text: String| warnings.push(Error::new(text).of(&format!("server {n}")));
            let Some(address) = &server.address else { continue };
            if server.port == 0 {
                warn("it has no port, and is not used".into());
                continue;
            }
            match known.entry((address.canonical(), server.port)) {
                Entry::Occupied(first) => {
                    warn(format!("it has the address and the port of server {}", first.get()));
                }
                Entry::Vacant(free) => _ = free.insert(n),
            }
            match (server.max, server.hard) {
                (_, 0) => {}
                (0, hard) => warn(format!("hard {hard} has no effect without max")),
                (max, hard) if hard < max => {
                    warn(format!("hard {hard} has no effect: expected more than max {max}"));
                }
                _ => {}
            }
        }
        warnings
    }

    fn nobody_served(&self) -> Vec<Error> {
        let settings = &self.settings;
        let used = || self.used_servers().map(|(_, server)| server);
        let warning = if self.serves_new_clients(|_| true) {
            return Vec::new();
        } else if used().count() == 0 {
            Error::new("no servers: clients are closed until a server command names one")
        } else if settings.weight && !settings.prio && used().all(|s| s.weight == 0) {
            Error::new("every server has weight 0, so nobody is served").of("weight")
        } else if self.holds_everybody() {
            Error::new("every client is held, and none is served").of("tarpit_acl")
        } else {
            Error::new(NOBODY)
        };
        vec![warning]
    }

    /// A warning that access list `n` leaves one address family open although its entries of the other family suggest a
    /// closed list.
    pub fn open_family(&self, n: usize) -> Option<Error> {
        let family = self.acls().get(n)?.left_open()?;
        let text = format!(
            "{family} clients that no entry matches are permitted, the opposite of the last entry; \
             acl {n} default deny would deny them"
        );
        Some(Error::new(text).of(&format!("acl {n}")))
    }

    /// That keys of the check `name` do not fit its type.
    pub fn keys_without_effect(&self, name: &str) -> Option<Error> {
        let check = self.checks.get(name)?;
        let keys = check.keys_without_effect();
        let text = format!("has no effect with type {}: {}", check.kind.word(), keys.join(", "));
        (!keys.is_empty()).then(|| Error::new(text).of(&format!("check {name}")))
    }

    /// That nothing says whose PROXY headers count.
    fn anybody_is_a_proxy(&self) -> Option<Error> {
        let Settings { proxy_protocol, proxy_acl, .. } = &self.settings;
        let is_off = *proxy_protocol == ProxyProtocol::Off || self.listens_at_path();
        if is_off || *proxy_acl != 0 || !self.acl(0).is_empty() {
            return None;
        }
        let text = "no proxy_acl says who may send PROXY headers, and any client can claim to be another";
        Some(Error::new(text).of("proxy_protocol"))
    }

    /// Whether clients of TLS connect over TCP, so that pen ends it if it has a certificate.
    pub fn ends_tls(&self) -> bool {
        !self.settings.ssl_certfile.is_empty() && !self.listens_at_path()
    }

    /// Server names that are not looked for, and servers that TLS within TLS would go to.
    fn routes_without_effect(&self) -> Vec<Error> {
        if self.settings.sni_server.is_empty() {
            return Vec::new();
        }
        let warn = |text: String| Error::new(text).of("sni_server");
        if self.ends_tls() {
            return vec![warn("has no effect: with ssl_certfile (-E) pen ends TLS itself".into())];
        }
        let routes = self.sni_routes().ok().flatten();
        let named = |n: &usize| routes.as_ref().is_some_and(|routes| routes.names(*n));
        let twice = (0..self.servers.len()).filter(named).filter(|n| self.servers[*n].tls);
        twice
            .map(|n| warn(format!("server {n} has tls on: the TLS of its clients goes within that of pen")))
            .collect()
    }

    /// An emergency server that gets in clear over the network what servers get by TLS.
    fn unencrypted_emergency(&self) -> Option<Error> {
        let Endpoint { host, .. } = self.settings.emergency.as_ref()?;
        let n = self.servers.iter().position(|server| server.tls)?;
        let here = match host {
            Host::Unix(_) => true,
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(name) => name == "localhost",
        };
        let text = format!("pen does not use TLS with it: it gets in clear what server {n} gets by TLS");
        (!here).then(|| Error::new(text).of("emergency"))
    }

    /// Settings about headers that are not added: servers may believe what clients send in them.
    fn headers_without_http(&self) -> Vec<Error> {
        let Settings { http, http_forwarded, http_rfc7239, .. } = self.settings;
        let set = [
            (Settings::http_forwarded(), http_forwarded != Settings::default().http_forwarded),
            (Settings::http_rfc7239(), http_rfc7239),
        ];
        let without = set.into_iter().filter(|(_, set)| *set && !http);
        without.map(|(setting, _)| Error::new("has no effect without http (-H)").of(setting.word())).collect()
    }

    /// Access lists that are in use and empty. List 0 is the default.
    fn empty_lists(&self) -> Vec<Error> {
        let settings = &self.settings;
        let tarpit = settings.tarpit_acl.map(|n| ("tarpit_acl", n));
        let global = [
            ("client_acl", settings.client_acl),
            ("control_acl", settings.control_acl),
            ("admin_acl", settings.admin_acl),
            ("proxy_acl", settings.proxy_acl),
        ];
        let global = global.into_iter().chain(tarpit);
        let is_empty = |n: usize| n != 0 && self.acl(n).is_empty();
        let global = global.filter(|(_, n)| is_empty(*n)).map(|(word, n)| (word.to_owned(), n));
        let servers = self.servers.iter().enumerate().filter(|(_, server)| is_empty(server.acl));
        let of_servers = servers.map(|(n, server)| (format!("server {n}"), server.acl));
        let mut warnings: Vec<Error> = global
            .chain(of_servers)
            .map(|(subject, n)| {
                Error::new(format!("access list {n} is empty, and permits everybody")).of(&subject)
            })
            .collect();
        if let Some(control) = &settings.control
            && control.is_bare_port()
            && settings.control_acl == 0
            && self.acl(0).is_empty()
        {
            let text = format!("{control} is open to every address, as no control_acl guards it");
            warnings.push(Error::new(text).of("control"));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::NOBODY;
    use crate::core::config_file::LineIndex;
    use crate::core::config_file::tests::made_of;

    fn warnings(lines: &str) -> Vec<String> {
        let (config, lines) = made_of(lines);
        let index = LineIndex::new(&lines, &config);
        let place = |error| index.place(error).to_string();
        config.warnings().into_iter().map(place).collect()
    }

    #[test]
    fn each_is_told_with_its_line() {
        let good = "acl 1 deny 10.0.0.1\nclient_acl 1\nserver 0 address a port 1 max 5 hard 6 acl 1\n";
        assert_eq!(warnings(good), Vec::<String>::new());
        let bad = format!(
            "{good}server 1 address 10.0.0.1\nserver 2 address a port 1\nserver 3 address b port 1 hard 3 max 4\n\
             server 4 address c port 1 hard 2\nserver 5 address /run/x acl 7\nserver 6 address /run/x\nclient_acl 3\n\
             control_acl 4\nadmin_acl 6\nweight\n"
        );
        assert_eq!(
            warnings(&bad),
            [
                "f:13: weight: every server has weight 0, so nobody is served",
                "f:10: client_acl: access list 3 is empty, and permits everybody",
                "f:11: control_acl: access list 4 is empty, and permits everybody",
                "f:12: admin_acl: access list 6 is empty, and permits everybody",
                "f:8: server 5: access list 7 is empty, and permits everybody",
                "f:4: server 1: it has no port, and is not used",
                "f:5: server 2: it has the address and the port of server 0",
                "f:6: server 3: hard 3 has no effect: expected more than max 4",
                "f:7: server 4: hard 2 has no effect without max",
                "f:9: server 6: it has the address and the port of server 5",
            ]
        );
        for (one, other) in [("www.example", "WWW.example"), ("10.0.0.1", "::ffff:10.0.0.1")] {
            let same = format!("server 0 address {one} port 1\nserver 1 address {other} port 1\n");
            assert_eq!(warnings(&same), ["f:2: server 1: it has the address and the port of server 0"]);
        }
        let open = "server 0 address a port 1\nacl 1 permit 10.0.0.0/8\nacl 1 deny ::/0\n";
        assert!(
            warnings(open)[0].starts_with("f:3: acl 1: IPv4 clients that no entry matches are permitted")
        );
        assert_eq!(warnings("control 8888\nserver 0 address a port 1\n").len(), 1);
        assert_eq!(warnings("blacklist 3\n").len(), 1);
        let server = "server 0 address a port 1\n";
        for nobody in [
            "server 0 state maint\n",
            "server 0 state drain\n",
            "acl 1 default deny\nserver 0 acl 1\n",
            "acl 1 deny 0.0.0.0/0\nacl 1 deny ::/0\nclient_acl 1\n",
        ] {
            assert_eq!(warnings(&format!("{server}{nobody}")), [NOBODY], "{nobody}");
        }
        for served in
            ["emergency b:1\nserver 0 state maint\n", "server 1 address b port 1\nserver 0 state maint\n"]
        {
            assert_eq!(warnings(&format!("{server}{served}")), Vec::<String>::new(), "{served}");
        }
        let headers = "server 0 address a port 1\nhttp_forwarded replace\nhttp_rfc7239\n";
        let without = |n, word| format!("f:{n}: {word}: has no effect without http (-H)");
        assert_eq!(warnings(headers), [without(2, "http_forwarded"), without(3, "http_rfc7239")]);
        assert_eq!(warnings(&format!("{headers}http\n")), Vec::<String>::new());
        let proxied =
            |lines: &str| warnings(&format!("server 0 address a port 1\nproxy_protocol accept\n{lines}"));
        assert!(proxied("")[0].starts_with("f:2: proxy_protocol: no proxy_acl says"));
        assert!(proxied("proxy_acl 2\n")[0].starts_with("f:3: proxy_acl: access list 2 is empty"));
        assert_eq!(proxied("proxy_acl 2\nacl 2 permit 10.0.0.1\nacl 2 default deny\n"), Vec::<String>::new());
        assert_eq!(proxied("listen /run/pen\n"), Vec::<String>::new());
    }

    #[test]
    fn that_nobody_is_served_is_told_as_far_as_it_is_known() {
        let of = |lines: &str| warnings(&format!("server 0 address a port 1\n{lines}"));
        let nobody = |lines: &str| of(lines).contains(&NOBODY.to_owned());
        let v4 = "acl 1 deny 0.0.0.0/0\nserver 0 acl 1\n";
        for (listen, is_told) in [
            ("listen 8080\n", true),
            ("listen 127.0.0.1:8080\n", true),
            ("listen [::ffff:127.0.0.1]:8080\n", true),
            ("listen [::1]:8080\n", false),
            ("listen [::]:8080\n", false),
            ("listen /run/x\n", false),
            ("listen 127.0.0.1:8080\nproxy_protocol require\n", false),
        ] {
            assert_eq!(nobody(&format!("{listen}{v4}")), is_told, "{listen}");
        }
        let drained = "server 0 state drain\nemergency b:1\n";
        let mixed = "weight\nserver 0 weight 0\nserver 1 address b port 1 weight 1 state maint\n";
        let denied = "acl 1 default deny\nclient_acl 1\n";
        for (lines, is_told) in [
            (drained.to_owned(), false),
            (format!("{drained}stubborn\n"), true),
            (mixed.to_owned(), true),
            (format!("{mixed}prio\n"), false),
            (denied.to_owned(), true),
            (format!("{denied}abuse b:1\n"), false),
        ] {
            assert_eq!(nobody(&lines), is_told, "{lines}");
        }
        assert_eq!(of("weight\nserver 0 weight 0\nemergency b:1\n"), Vec::<String>::new());
        let held = "f:2: tarpit_acl: every client is held, and none is served";
        assert_eq!(of("tarpit_acl 1\nacl 1 default deny\n"), [held]);
        assert_eq!(of("tarpit_acl 1\nacl 1 permit 10.0.0.0/8\nacl 1 default deny\n"), Vec::<String>::new());
    }

    #[test]
    fn keys_of_checks_that_do_not_fit_their_type_are_told_with_their_line() {
        let about = |check: &str| warnings(&format!("server 0 address a port 1\n{check}\n"));
        let without =
            |n, name, kind, keys| format!("f:{n}: check {name}: has no effect with type {kind}: {keys}");
        for (check, kind, keys) in [
            ("body x path /a", "tcp", "path, body"),
            ("type http send x name b", "http", "send, name"),
            ("type send send x expect y host c method HEAD", "send", "host, method"),
            ("type udp send x expect y tls on sni d", "udp", "tls, sni"),
            ("type dns name b expect x", "dns", "expect"),
            ("type exec program /p proxy on verify on", "exec", "verify, proxy"),
        ] {
            assert_eq!(about(&format!("check web {check}")), [without(2, "web", kind, keys)], "{check}");
        }
        for check in [
            "port 2 tls on",
            "type http path /a host b method HEAD expect 200",
            "type exec program /p port 3",
        ] {
            assert_eq!(about(&format!("check web {check}")), Vec::<String>::new(), "{check}");
        }
        let two = "check web type http body x\ncheck web type tcp\n";
        assert_eq!(about(two.trim()), [without(3, "web", "tcp", "body")]);
    }

    #[test]
    fn what_is_not_done_with_tls_is_told_with_its_line() {
        let tls = "server 0 address a port 1 tls on\n";
        let routes = |lines: &str| warnings(&format!("{tls}server 1 address a port 2\n{lines}"));
        assert_eq!(routes("sni_server a.b 1\n"), Vec::<String>::new());
        assert_eq!(
            routes("sni_server a.b 1 0\n"),
            ["f:3: sni_server: server 0 has tls on: the TLS of its clients goes within that of pen"]
        );
        let ended = "ssl_certfile /c\nsni_server a.b 0\n";
        assert_eq!(
            routes(ended),
            ["f:4: sni_server: has no effect: with ssl_certfile (-E) pen ends TLS itself"]
        );
        assert_eq!(routes(&format!("listen /run/pen\n{}", ended.replace('0', "1"))), Vec::<String>::new());
        let emergency = |host: &str| warnings(&format!("{tls}emergency {host}\n"));
        assert_eq!(
            emergency("sorry:80"),
            ["f:2: emergency: pen does not use TLS with it: it gets in clear what server 0 gets by TLS"]
        );
        for host in ["/run/sorry", "127.0.0.1:80", "localhost:80"] {
            assert_eq!(emergency(host), Vec::<String>::new());
        }
    }
}
