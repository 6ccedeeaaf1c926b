//! The help of the control language: each command's form, and a line about it.

use crate::core::settings::{Setting, ValueKind};

/// The commands that are not settings: the form of each, and its line for `penctl --help`.
pub const OTHERS: &[(&str, &str)] = &[
    (
        "acl N permit|deny IP [MASK]",
        "add an entry to an access list; also IP6[/LEN]; acl N default permit|deny for the rest",
    ),
    ("no acl N", "empty an access list"),
    ("no server N|NAME", "remove a server: it gets no new clients, and disappears with its last connection"),
    ("block, delayed_forward, epoll, kqueue, poll, select", "accepted, without effect"),
    ("check NAME KEY VALUE...", "add or change a check of servers"),
    ("no check NAME", "remove a check"),
    ("close N, close server N|NAME", "end a connection, or those of a server"),
    ("connection N", "show a connection"),
    ("diff [FILE]", "show what reading the file again would change, as commands"),
    ("exit", "end pen, if it was started with -X"),
    ("include FILE", "carry out the commands of a file, all or none"),
    ("json NAME", "show a JSON document: checks, clients, config, connections, servers, version or why"),
    ("mode", "show how servers are selected"),
    ("pid", "show the process id"),
    ("recent [N]", "show the clients of the last N seconds (300)"),
    ("reload", "read the file given with -F again, as HUP does, and show what has changed"),
    (
        "server N|NAME KEY VALUE...",
        "change acl, address, port, max, hard, weight, prio, name, state, check, on_down, proxy, tls, tls_verify, tls_name or blacklist of a server",
    ),
    ("servers", "show the servers"),
    ("show NAME", "show a setting as the command that sets it"),
    ("socket FD", "show which connection a descriptor belongs to"),
    ("ssl_reload", "reload certificates, keys and OCSP responses"),
    ("status", "write and show the status page, if web_stats names a file"),
    ("wait N|NAME idle|up|down [SECONDS]", "wait until a server meets the condition, 60 seconds by default"),
    ("why ADDRESS[:PORT]", "show which server a client would get, and why"),
    ("write [FILE]", "save the configuration, to the file given with -F by default"),
    ("no WORD", "turn a switch off, unset a text"),
];

/// Whether a word begins one of [`OTHERS`].
pub(super) fn names(word: &str) -> bool {
    OTHERS.iter().any(|(usage, _)| usage.split(' ').next() == Some(word))
}

/// The words that begin a command.
pub fn words() -> impl Iterator<Item = &'static str> {
    let usages = OTHERS.iter().flat_map(|(usage, _)| usage.split(", "));
    let others = usages.filter_map(|usage| usage.split(' ').next()).filter(|word| !word.is_empty());
    Setting::all().map(Setting::word).chain(others)
}

/// A heading of the help, and the first words of the commands under it; one that ends in `*` matches any word with that
/// prefix.
type Topic = (&'static str, &'static [&'static str]);

/// The topics of the help. Commands of no topic come last.
const TOPICS: [Topic; 10] = [
    (
        "Servers",
        &["server", "servers", "check*", "wait", "emergency", "abuse", "blacklist", "source", "transparent"],
    ),
    (
        "Choosing a server",
        &[
            "hash",
            "mode",
            "nomemory",
            "prio",
            "roundrobin",
            "stubborn",
            "tracking",
            "weight",
            "clients_max",
            "client_mask",
            "fail_max",
            "slowstart",
            "why",
        ],
    ),
    ("Access lists", &["acl", "client_acl", "tarpit_acl", "control_acl", "admin_acl", "proxy_acl"]),
    (
        "Connections",
        &[
            "listen",
            "proxy_protocol",
            "udp*",
            "conn_max",
            "client_conn_max",
            "client_rate*",
            "pending_max",
            "queue*",
            "proxy_*",
            "backlog",
            "multi_accept",
            "workers",
            "batch",
            "timeout",
            "idle_timeout",
            "tcp_*",
            "keepalive",
            "close",
            "connection",
            "recent",
            "socket",
        ],
    ),
    ("HTTP", &["http*", "dummy"]),
    ("TLS", &["ssl_*", "server_*", "sni_server"]),
    (
        "Logs and statistics",
        &["log", "log_*", "connection_log*", "debug", "ascii", "web_stats", "status", "json"],
    ),
    ("Configuration", &["show", "write", "diff", "reload*", "include", "no"]),
    (
        "How pen runs",
        &[
            "control",
            "admin",
            "user",
            "chroot",
            "pidfile",
            "pid",
            "foreground",
            "abort_on_error",
            "stop_timeout",
            "enable_exit",
            "exit",
        ],
    ),
    ("Accepted for compatibility", &["block"]),
];

/// The position of a command's topic.
fn topic(usage: &str) -> usize {
    let command = usage.trim_start_matches("[no] ");
    // `no acl N` belongs to `acl`; `no WORD` is a command of its own.
    let command = command.strip_prefix("no ").filter(|rest| !rest.starts_with("WORD")).unwrap_or(command);
    let word = command.split([' ', ',']).next().unwrap_or(command);
    let begins = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(prefix) => word.starts_with(prefix),
        None => *pattern == word,
    };
    TOPICS.iter().position(|(_, words)| words.iter().any(begins)).unwrap_or(TOPICS.len())
}

/// A command's form, and a line about it.
type HelpLine = (String, &'static str);

/// Every command of the language with one line each, by topic and word.
pub fn topics() -> Vec<(&'static str, Vec<HelpLine>)> {
    let mut topics: Vec<_> = TOPICS.iter().map(|(heading, _)| (*heading, Vec::new())).collect();
    topics.push(("Others", Vec::new()));
    let others = OTHERS.iter().map(|(usage, help)| ((*usage).to_owned(), *help));
    for line in others.chain(Setting::all().map(|setting| (usage(setting), setting.spec().help))) {
        topics[topic(&line.0)].1.push(line);
    }
    for (_, lines) in &mut topics {
        lines.sort_by_key(|(usage, _)| usage.trim_start_matches("[no] ").to_owned());
    }
    topics
}

fn usage(setting: Setting) -> String {
    let (word, kind) = (setting.word(), setting.spec().kind);
    match kind {
        ValueKind::Switch => format!("[no] {word}"),
        _ if setting.shows() => format!("{word} [{}]", kind.placeholder()),
        _ => format!("{word} {}", kind.placeholder()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_topic() {
        let topics = topics();
        assert_eq!(topics.last(), Some(&("Others", Vec::new())));
        for (heading, lines) in &topics[..TOPICS.len()] {
            assert!(!lines.is_empty(), "{heading}");
        }
    }
}
