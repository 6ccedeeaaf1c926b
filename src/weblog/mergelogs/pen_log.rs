//! The log that pen wrote: reads its entries into the window.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use ahash::RandomState;
use memchr::memchr;

use crate::weblog::entry::{FILE_REQUEST, LoggedClient, file_byte, first_line, is_plain, parse_beginning};
use crate::weblog::key::{KeyMaker, RequestKey, ServerKeys, ServerName};

use super::doubt::{Decision, Doubt};
use super::frontier::Frontier;
use super::lines::LineReader;
use super::window::EntryWindow;

/// The number of entries that are read ahead to decide whether a stamp is correct: about 25 MB of memory.
const AHEAD: u64 = 500_000;

/// The number of server names in the log that are compared one after the other; further ones are looked up.
const SEEN: usize = 8;

/// Pen's log.
pub(super) struct PenLog {
    pub(super) lines: LineReader,
    is_open: bool,
    frontier: Frontier,
    doubt: Doubt<Option<(RequestKey, LoggedClient)>>,
    servers: MergedServers,
    request: Vec<u8>,
    /// Lines that are not entries, or whose stamp is damaged.
    pub(super) bad: u64,
}

impl PenLog {
    /// A log of which nothing has been read. Only its entries for `servers` are used.
    pub(super) fn new<'a>(
        lines: LineReader,
        slack: i64,
        keys: &KeyMaker,
        servers: impl Iterator<Item = &'a str>,
    ) -> PenLog {
        PenLog {
            lines,
            is_open: true,
            frontier: Frontier::new(slack, AHEAD),
            doubt: Doubt::default(),
            servers: MergedServers::new(keys, servers),
            request: Vec::new(),
            bad: 0,
        }
    }

    /// Reads until every entry up to the time `limit` is in the window, and possibly more.
    ///
    /// # Errors
    /// The log cannot be read further; the entries read before are in the window, and this error is returned once.
    pub(super) fn read_until(&mut self, limit: i64, window: &mut EntryWindow) -> io::Result<()> {
        while self.is_open && self.frontier.time() <= limit {
            let more = self.lines.advance();
            self.is_open = matches!(more, Ok(true));
            if !self.is_open {
                self.release_held(None, window);
                more?;
                break;
            }
            let Some((epoch, item)) = parse(self.lines.line(), &mut self.servers, &mut self.request) else {
                self.bad += 1;
                continue;
            };
            self.release_held(Some(epoch), window);
            if self.doubt.is_doubtful(epoch) {
                self.doubt.hold(epoch, item);
            } else {
                self.add(epoch, item, window);
            }
        }
        Ok(())
    }

    fn release_held(&mut self, next: Option<i64>, window: &mut EntryWindow) {
        match self.doubt.decide(next) {
            Some(Decision::Right(epoch, item)) => self.add(epoch, item, window),
            Some(Decision::Damaged(..)) => self.bad += 1,
            None => {}
        }
    }

    fn add(&mut self, epoch: i64, item: Option<(RequestKey, LoggedClient)>, window: &mut EntryWindow) {
        self.frontier.see(epoch, 1);
        if let Some((key, client)) = item {
            window.add(key, epoch, client);
        }
    }
}

/// Parses an entry: its time, and its key and client if the log of its server is merged.
#[inline]
fn parse(
    line: &[u8],
    servers: &mut MergedServers,
    buffer: &mut Vec<u8>,
) -> Option<(i64, Option<(RequestKey, LoggedClient)>)> {
    let (client, epoch, rest) = parse_beginning(line)?;
    let (keys, request) = servers.find(rest)?;
    Some((epoch, keys.map(|keys| (keys.key(clean(request, buffer)), client))))
}

/// The request as this pen would have written it: C pen leaves control characters in.
fn clean<'a>(request: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let head = &request[..request.len().min(FILE_REQUEST)];
    if is_plain(head) {
        return head;
    }
    buffer.clear();
    buffer.extend(first_line(head).iter().map(|&byte| file_byte(byte)));
    buffer
}

/// The servers whose logs are merged, by their names in pen's log.
struct MergedServers {
    keys: Vec<ServerKeys>,
    /// The indices in `keys`.
    by_address: HashMap<IpAddr, usize, RandomState>,
    by_name: HashMap<String, usize, RandomState>,
    /// The first names in the log, and their indices in `keys`; `None` for servers whose logs are not merged.
    seen: Vec<(Vec<u8>, Option<usize>)>,
}

impl MergedServers {
    fn new<'a>(keys: &KeyMaker, wanted: impl Iterator<Item = &'a str>) -> MergedServers {
        let (by_address, by_name) = (HashMap::default(), HashMap::default());
        let mut servers = MergedServers { keys: Vec::new(), by_address, by_name, seen: Vec::new() };
        for (n, name) in wanted.enumerate() {
            let name = ServerName::parse(name);
            servers.keys.push(keys.server(&name));
            match name {
                ServerName::Ip(address) => servers.by_address.insert(address, n),
                ServerName::Other(name) => servers.by_name.insert(name.to_owned(), n),
            };
        }
        servers
    }

    /// The key maker of the server at the beginning of `text`, if its log is merged, and the rest of the text. `None`
    /// if there is no server.
    fn find<'t>(&mut self, text: &'t [u8]) -> Option<(Option<&ServerKeys>, &'t [u8])> {
        let begins =
            |(name, _): &&(Vec<u8>, _)| text.starts_with(name) && text.get(name.len()) == Some(&b' ');
        let (length, place) = match self.seen.iter().find(begins) {
            Some((name, place)) => (name.len(), *place),
            None => {
                let name = &text[..memchr(b' ', text)?];
                let server =
                    ServerName::parse(std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?);
                let place = match server {
                    ServerName::Ip(address) => self.by_address.get(&address),
                    ServerName::Other(name) => self.by_name.get(name),
                };
                let place = place.copied();
                if self.seen.len() < SEEN {
                    self.seen.push((name.to_vec(), place));
                }
                (name.len(), place)
            }
        };
        Some((place.map(|place| &self.keys[place]), &text[length + 1..]))
    }
}
