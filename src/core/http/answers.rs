//! Which answer of the server belongs to which request, for as long as that is certain.
//!
//! Needed only to learn whether a request for another protocol was granted, so it is followed on connections whose
//! very first request asks for one (WebSocket clients, CONNECT, HTTP clients that offer h2c with every request).

use std::collections::VecDeque;

use super::body::{Body, Then};
use super::head::{Ask, Framing, MAX_HEAD, Scan, Tunnel, read_answer, recycle, scan};

/// Most requests that may wait for their answers; a client with more is no longer followed.
const MAX_WAITING: usize = 64;

/// The server's side of one connection.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Ask>,
    head: Vec<u8>,
    body: Option<Body>,
    lost: bool,
}

impl Answers {
    /// Notes a request whose answer is to come. False: too many are, so that none can be followed any longer.
    #[must_use]
    pub(super) fn expect(&mut self, ask: Ask) -> bool {
        let room = self.waiting.len() < MAX_WAITING;
        if room {
            self.waiting.push_back(ask);
        }
        room
    }

    /// Whether it can no longer be told which answer belongs to which request.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Takes what the server sent. Returns whether the protocol last asked for was granted, once that is known.
    pub(super) fn observe(&mut self, mut input: &[u8]) -> Option<bool> {
        let mut granted = None;
        while !self.lost && !input.is_empty() {
            let used = match &mut self.body {
                Some(body) => {
                    let (used, then) = body.advance(input);
                    match then {
                        Then::More => {}
                        Then::Done => self.body = None,
                        Then::Unclear => self.lost = true,
                    }
                    used
                }
                None => match scan(&self.head, input) {
                    Scan::End(end) if self.head.len() + end <= MAX_HEAD => {
                        self.head.extend(input.iter().take(end));
                        granted = self.answer().or(granted);
                        self.head = recycle(std::mem::take(&mut self.head));
                        end
                    }
                    Scan::More if self.head.len() + input.len() <= MAX_HEAD => {
                        self.head.extend_from_slice(input);
                        input.len()
                    }
                    _ => {
                        self.lost = true;
                        0
                    }
                },
            };
            input = input.get(used..).unwrap_or_default();
        }
        granted
    }

    /// Pairs the answer whose head is complete with its request (RFC 9112, section 6.3).
    fn answer(&mut self) -> Option<bool> {
        let (Some(answer), Some(&ask)) = (read_answer(&self.head), self.waiting.front()) else {
            self.lost = true;
            return None;
        };
        if matches!(answer.code, 100 | 102..=199) {
            return None;
        }
        self.waiting.pop_front();
        let granted = match (ask.tunnel, answer.code) {
            (Tunnel::Upgrade, 101) | (Tunnel::Connect, 200..=299) => {
                self.lost = true;
                return Some(true);
            }
            // Nobody asked for it: who knows what goes on.
            (_, 101) => {
                self.lost = true;
                return None;
            }
            (Tunnel::No, _) => None,
            _ => Some(false),
        };
        self.body = match answer.framing {
            _ if ask.head || matches!(answer.code, 204 | 304) => None,
            Framing::Length(length) => Body::of_length(length),
            Framing::Chunked => Some(Body::chunked()),
            // Up to the end of the connection.
            Framing::Unstated => {
                self.lost = true;
                None
            }
        };
        granted
    }
}
