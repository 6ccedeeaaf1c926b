//! The matcher compared with a plain model.

use super::*;
use crate::weblog::key::{KeyMaker, ServerName};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Duration;

/// The behaviour of the matcher in its simplest form: entries as (key, client, used), lines as (key, number, due).
#[derive(Default)]
struct ModelMatcher {
    entries: Vec<(u8, u8, bool)>,
    held: VecDeque<(u8, u8, u64)>,
}

impl ModelMatcher {
    fn recent(&mut self, size: usize) -> &mut [(u8, u8, bool)] {
        let from = self.entries.len().saturating_sub(size);
        &mut self.entries[from..]
    }

    fn newest(&mut self, size: usize, key: u8, used: bool) -> Option<&mut (u8, u8, bool)> {
        self.recent(size).iter_mut().rev().find(|e| e.0 == key && e.2 == used)
    }
}

#[derive(Clone, Debug)]
enum MatcherStep {
    Entry(u8, u8),
    Line(u8, u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = MatcherStep> {
    prop_oneof![
        (0_u8..4, any::<u8>()).prop_map(|(k, c)| MatcherStep::Entry(k, c)),
        (0_u8..4, any::<u8>()).prop_map(|(k, n)| MatcherStep::Line(k, n)),
        (0_u64..30).prop_map(MatcherStep::Wait),
    ]
}

fn client(n: u8) -> LoggedClient {
    Some([192, 0, 2, n].into())
}

proptest! {
    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec(step(), 0..200), size in 1_usize..6) {
        let keys = KeyMaker::default().server(&ServerName::Other("a"));
        let (mut matcher, mut model) = (Matcher::new(size), ModelMatcher::default());
        let (origin, mut now) = (Instant::now(), 0);
        for step in steps {
            let (mut got, mut wanted) = (Vec::new(), Vec::new());
            match step {
                MatcherStep::Entry(k, c) => {
                    let key = keys.key(&[k]);
                    matcher.entry(key, client(c), |line, client| got.push((line[0], Some(client))));
                    let waiting = model.held.iter().position(|h| h.0 == k).and_then(|at| model.held.remove(at));
                    model.entries.push((k, c, waiting.is_some()));
                    wanted.extend(waiting.map(|h| (h.1, Some(client(c)))));
                }
                MatcherStep::Line(k, n) => {
                    let key = keys.key(&[k]);
                    match matcher.find(key) {
                        Some(client) => got.push((n, Some(client))),
                        None => matcher.hold(key, &[n], origin + Duration::from_millis(now + 10), |_, _| {}),
                    }
                    match model.newest(size, k, false) {
                        Some(e) => {
                            e.2 = true;
                            wanted.push((n, Some(client(e.1))));
                        }
                        None => model.held.push_back((k, n, now + 10)),
                    }
                }
                MatcherStep::Wait(ms) => {
                    now += ms;
                    let at = origin + Duration::from_millis(now);
                    matcher.release_due(at, |line, client| got.push((line[0], client)));
                    while let Some(&(k, n, _)) = model.held.front().filter(|h| h.2 <= now) {
                        model.held.pop_front();
                        wanted.push((n, model.newest(size, k, true).map(|e| client(e.1))));
                    }
                }
            }
            prop_assert_eq!(got, wanted);
        }
    }
}

#[test]
fn too_many_held_lines_push_the_oldest_out() {
    let keys = KeyMaker::default().server(&ServerName::Other("a"));
    let key = keys.key(b"x");
    let (mut matcher, mut out) = (Matcher::new(10), Vec::new());
    let now = Instant::now();
    for n in 0..=HELD.0 as u32 {
        matcher.hold(key, &n.to_be_bytes(), now, |line, client| out.push((line.to_vec(), client)));
    }
    assert_eq!(out, [(0_u32.to_be_bytes().to_vec(), None)]);
}

#[test]
fn long_held_lines_cost_no_more_memory_than_many() {
    let key = KeyMaker::default().server(&ServerName::Other("a")).key(b"x");
    let (mut matcher, mut out) = (Matcher::new(10), 0);
    let line = vec![b'x'; 60_000];
    for _ in 0..2000 {
        matcher.hold(key, &line, Instant::now(), |_, _| out += 1);
        assert!(matcher.held_bytes <= HELD.1);
    }
    assert_eq!(out, 2000 - HELD.1 / line.len());
    matcher.release_all(|_, _| out += 1);
    assert_eq!((out, matcher.held_bytes, matcher.spare.len()), (2000, 0, 0));
}
