//! `penctl check-health`: the state of the servers as a Nagios plugin reports it (Monitoring Plugins Development
//! Guidelines): one line with performance data after a bar, and the status 0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN.

use std::process::ExitCode;
use std::time::Duration;

use crate::core::addr::Endpoint;
use crate::core::error::{SystemReason, one_line};

use super::output;
use super::servers::{self, ListedServer, ServersDocument};

/// The status where the state of the servers could not be found out or reported.
const UNKNOWN: u8 = 3;

/// Reports the state of the servers of the pen at `target`, which has to answer within `limit`.
pub fn run(target: &Endpoint, limit: Duration) -> ExitCode {
    match servers::read(target, limit) {
        Ok(read) => report(judge(&read)),
        Err(error) => unknown(&[format!("{target}: {}", SystemReason(&error))]),
    }
}

/// Reports that the state is unknown for these reasons, of which one may be the command line.
pub fn unknown(reasons: &[String]) -> ExitCode {
    // What follows a bar is performance data.
    let reasons = one_line(reasons.join("; ")).replace('|', "/");
    report((UNKNOWN, format!("PEN UNKNOWN - {reasons}")))
}

fn report((status, line): (u8, String)) -> ExitCode {
    let status = if output::print(line + "\n").is_ok() { status } else { UNKNOWN };
    ExitCode::from(status)
}

/// All up is OK, not all is WARNING, and that no client is served is CRITICAL. A server that an administrator has taken out of
/// service is not a fault.
fn judge(ServersDocument { servers, can_serve, .. }: &ServersDocument) -> (u8, String) {
    let regular: Vec<&ListedServer> = servers
        .iter()
        .filter(|s| s.role == "regular" && !["unused", "removed"].contains(&&*s.state))
        .collect();
    let up = regular.iter().filter(|s| s.standing() == "up").count();
    let out = regular.iter().filter(|s| !s.is_ready()).count();
    let ill: Vec<String> = regular
        .iter()
        .filter(|s| s.is_ready() && s.state != "up")
        .map(|s| format!("{} {}", s.label(), s.state))
        .collect();
    let (status, word) = match (can_serve, up, ill.len()) {
        (false, ..) => (2, "CRITICAL"),
        (true, 1.., 0) => (0, "OK"),
        _ => (1, "WARNING"),
    };
    let mut line = format!("PEN {word} - {up} of {} servers up", regular.len());
    if out > 0 {
        line.push_str(&format!(", {out} taken out"));
    }
    if !can_serve && up > 0 {
        line.push_str(", but no server can serve new clients");
    }
    if !ill.is_empty() {
        line.push_str(&format!(": {}", ill.join(", ")));
    }
    let connections: u32 = regular.iter().map(|s| s.connections).sum();
    (status, format!("{line} | up={up};;;0;{} connections={connections}", regular.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: usize, state: &str, admin: &str) -> ListedServer {
        ListedServer {
            server: Some(number),
            name: None,
            role: "regular".into(),
            address: "192.0.2.1".into(),
            port: 80,
            state: state.into(),
            admin_state: admin.into(),
            connections: 2,
            max: 0,
            sent_bytes: 0,
            received_bytes: 0,
            connects: 0,
            failures: 0,
            connect_p99_seconds: None,
        }
    }

    #[test]
    fn the_status_is_that_of_the_servers() {
        let judged_as = |can_serve, states: &[(&str, &str)]| {
            let servers: Vec<_> = states.iter().enumerate().map(|(n, (s, a))| server(n, s, a)).collect();
            judge(&ServersDocument { time: String::new(), can_serve, servers })
        };
        let judged = |states: &[(&str, &str)]| judged_as(states.contains(&("up", "ready")), states);
        let up = ("up", "ready");
        assert_eq!(judged(&[up, up]), (0, "PEN OK - 2 of 2 servers up | up=2;;;0;2 connections=4".into()));
        let (status, line) = judged(&[up, ("blacklisted", "ready")]);
        assert_eq!(
            (status, &*line),
            (1, "PEN WARNING - 1 of 2 servers up: 1 blacklisted | up=1;;;0;2 connections=4")
        );
        assert_eq!(judged(&[("blacklisted", "ready")]).0, 2);
        assert_eq!(judged(&[]).0, 2);
        let (status, line) = judged(&[up, ("up", "maint")]);
        assert_eq!((status, line.contains("1 of 2 servers up, 1 taken out |")), (0, true), "{line}");
        assert_eq!(judged(&[("up", "drain")]).0, 2);
        assert_eq!(judged(&[up, ("unused", "ready")]).0, 0);
        // The emergency server serves, or the access lists of those that are up deny everybody.
        assert_eq!(judged_as(true, &[("blacklisted", "ready")]).0, 1);
        assert_eq!(judged_as(true, &[("unknown", "ready")]).0, 1);
        let (status, line) = judged_as(false, &[up, up]);
        let told =
            line.starts_with("PEN CRITICAL - 2 of 2 servers up, but no server can serve new clients |");
        assert_eq!((status, told), (2, true), "{line}");
    }
}
