//! One line for the log that says what pen serves.

use crate::core::addr::{Endpoint, Host};
use crate::core::config::Config;

/// The version of this pen.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The maximum number of servers named.
const SERVERS: usize = 8;

/// The address and protocol that pen serves, and the servers.
pub(super) fn summary(config: &Config) -> String {
    let settings = &config.settings;
    let kind = match config.listening() {
        _ if settings.udp => "UDP on ",
        Some(Endpoint { host: Host::Unix(_), .. }) => "",
        _ if !settings.ssl_certfile.is_empty() => "TLS on ",
        _ => "TCP on ",
    };
    let address = config.listening().map(ToString::to_string).unwrap_or_default();
    let used = || config.servers.iter().filter(|server| server.port != 0 && server.address.is_some());
    let count = used().count();
    let mut text = format!("{kind}{address}, {}", Count(count, "server"));
    if count > 0 {
        let named = used().take(SERVERS).filter_map(|server| {
            let host = server.address.clone()?;
            Some(Endpoint { host, port: server.port }.to_string())
        });
        let named = named.collect::<Vec<_>>().join(", ");
        let more = if count > SERVERS { ", ..." } else { "" };
        text.push_str(&format!(" ({named}{more})"));
    }
    for (name, endpoint) in [("emergency", &settings.emergency), ("abuse", &settings.abuse)] {
        if let Some(endpoint) = endpoint {
            text.push_str(&format!(", {name} server {endpoint}"));
        }
    }
    text
}

/// A number of things: "1 server", "2 servers".
pub(super) struct Count(pub(super) usize, pub(super) &'static str);

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::config_file::tests::made_of;

    fn of(lines: &str) -> String {
        summary(&made_of(lines).0)
    }

    #[test]
    fn tells_where_clients_are_served_and_by_whom() {
        assert_eq!(
            of(
                "listen 80\nserver 0 address ::1 port 8080\nserver 2 address www port 8080\nserver 3 address x\n"
            ),
            "TCP on 0.0.0.0:80, 2 servers ([::1]:8080, www:8080)"
        );
        assert_eq!(
            of("listen 10.0.0.1:443\nssl_certfile /c\nemergency sorry:80\nabuse 10.0.0.9:80\n"),
            "TLS on 10.0.0.1:443, 0 servers, emergency server sorry:80, abuse server 10.0.0.9:80"
        );
        assert_eq!(of("listen /run/x\nserver 0 address /run/y\n"), "/run/x, 1 server (/run/y)");
        let many: String = (0..9).map(|n| format!("server {n} address 10.0.0.{n} port 53\n")).collect();
        let text = of(&format!("listen 53\nudp\n{many}"));
        assert!(text.starts_with("UDP on 0.0.0.0:53, 9 servers (10.0.0.0:53,"), "{text}");
        assert!(text.ends_with("10.0.0.7:53, ...)"), "{text}");
    }
}
