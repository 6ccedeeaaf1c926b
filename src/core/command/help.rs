//! What there is in the language: each command's form, and a line about it.

use crate::core::settings::{Kind, Setting};

/// The commands that are no settings: how each is written, and one line for `penctl --help`.
pub const OTHERS: &[(&str, &str)] = &[
    (
        "acl N permit|deny IP [MASK]",
        "add an entry to an access list; also IP6[/LEN]; acl N default permit|deny for the rest",
    ),
    ("no acl N", "empty an access list"),
    ("no server N|NAME", "remove a server: no new clients, and it is gone with its last connection"),
    ("block, delayed_forward, epoll, kqueue, poll, select", "accepted, without effect"),
    ("check NAME KEY VALUE...", "make or change a check of servers"),
    ("no check NAME", "remove a check"),
    ("close N, close server N|NAME", "end a connection, or those of a server"),
    ("connection N", "show a connection"),
    ("diff [FILE]", "show what reading the file again would change, as commands"),
    ("exit", "end pen, if it was started with -X"),
    ("include FILE", "carry out the commands of a file, all or none"),
    (
        "json NAME",
        "show checks, clients, config, connections, servers, version or why ADDRESS as a JSON document",
    ),
    ("mode", "show how servers are selected"),
    ("pid", "show the process id"),
    ("recent [N]", "show the clients of the last N seconds (300)"),
    ("reload", "read the file given with -F again, as HUP does, and show what has changed"),
    (
        "server N|NAME KEY VALUE...",
        "change acl, address, port, max, hard, weight, prio, name, state, check, on_down or blacklist of a server",
    ),
    ("servers", "show the servers"),
    ("show NAME", "show how a setting stands, as the command that makes it so"),
    ("socket FD", "show which connection a descriptor belongs to"),
    ("ssl_reload", "load certificates, keys and OCSP responses anew"),
    ("status", "write and show the status page, if web_stats names a file"),
    ("wait N|NAME idle|up|down [SECONDS]", "wait until a server is so, 60 seconds at the most"),
    ("why ADDRESS[:PORT]", "show which server a client would get, and why"),
    ("write [FILE]", "save the configuration, to the file given with -F by default"),
    ("no WORD", "turn a switch off, unset a text"),
];

/// Whether a word begins one of [`OTHERS`].
pub(super) fn names(word: &str) -> bool {
    OTHERS.iter().any(|(usage, _)| usage.split(' ').next() == Some(word))
}

/// The words that begin one of [`OTHERS`].
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    let usages = OTHERS.iter().flat_map(|(usage, _)| usage.split(", "));
    usages.filter_map(|usage| usage.split(' ').next()).filter(|word| !word.is_empty())
}

/// Every command of the language with one line each, by their words.
pub fn lines() -> Vec<(String, &'static str)> {
    let mut lines: Vec<_> = OTHERS.iter().map(|(usage, help)| ((*usage).to_owned(), *help)).collect();
    lines.extend(Setting::all().map(|setting| (usage(setting), setting.spec().help)));
    lines.sort_by_key(|(usage, _)| usage.trim_start_matches("[no] ").to_owned());
    lines
}

fn usage(setting: Setting) -> String {
    let (word, kind) = (setting.word(), setting.spec().kind);
    match kind {
        Kind::Switch => format!("[no] {word}"),
        _ if setting.shows() => format!("{word} [{}]", kind.placeholder()),
        _ => format!("{word} {}", kind.placeholder()),
    }
}
