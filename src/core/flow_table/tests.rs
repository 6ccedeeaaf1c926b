use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Client(u8),
    Server(u8),
    Remove(u8),
    Expire,
    Room,
}

fn steps() -> impl Strategy<Value = Vec<(Step, Millis)>> {
    let step = prop_oneof![
        6 => (0u8..12).prop_map(Step::Client),
        4 => (0u8..12).prop_map(Step::Server),
        1 => (0u8..12).prop_map(Step::Remove),
        1 => Just(Step::Expire),
        1 => Just(Step::Room),
    ];
    prop::collection::vec((step, 0u64..20), 0..200)
}

/// A flow of the model: client, name, rounds (0 asking, 1 answered, 2 lasting), last datagram.
type Model = Vec<(u8, FlowId, u8, Millis)>;

fn latest(model: &mut Model, at: usize, rounds: u8, now: Millis) {
    let (client, id, ..) = model.remove(at);
    model.push((client, id, rounds, now));
}

const PATIENCE: Millis = 30;

/// The flow that goes first when room is needed.
fn least(model: &Model, now: Millis) -> Option<usize> {
    let oldest = |wanted: u8| model.iter().position(|(_, _, rounds, _)| *rounds == wanted);
    oldest(1).or_else(|| oldest(0).filter(|at| now - model[*at].3 >= PATIENCE))
}

proptest! {
    /// Against a plain list with the latest at its end, where there is room for `max` flows.
    #[test]
    fn flows_come_and_go_as_in_a_plain_list(max in 1usize..6, idle in 1u64..60, steps in steps()) {
        let mut flows: FlowTable<u8, u8> = FlowTable::default();
        let mut model: Model = Vec::new();
        let mut ended: Vec<FlowId> = Vec::new();
        let mut now = 0;
        for (step, pause) in steps {
            now += pause;
            match step {
                Step::Client(client) => {
                    let known = flows.from_client(&client, now).map(|(id, value)| (id, *value));
                    let at = model.iter().position(|(c, ..)| *c == client);
                    prop_assert_eq!(known, at.map(|at| (model[at].1, client)));
                    if let Some(at) = at {
                        let rounds = if model[at].2 == 0 { 0 } else { 2 };
                        latest(&mut model, at, rounds, now);
                        continue;
                    }
                    if flows.len() == max {
                        let gone = flows.make_room(now, PATIENCE);
                        let at = least(&model, now);
                        prop_assert_eq!(gone, at.map(|at| model[at].0));
                        let Some(at) = at else { continue };
                        ended.push(model.remove(at).1);
                    }
                    let (id, before) = flows.insert(client, client, now);
                    prop_assert_eq!(before, None);
                    model.push((client, id, 0, now));
                }
                Step::Server(client) => {
                    let Some(at) = model.iter().position(|(c, ..)| *c == client) else { continue };
                    prop_assert!(flows.from_server(model[at].1, now));
                    let rounds = model[at].2.max(1);
                    latest(&mut model, at, rounds, now);
                }
                Step::Remove(client) => {
                    let Some(at) = model.iter().position(|(c, ..)| *c == client) else { continue };
                    let (_, id, ..) = model.remove(at);
                    prop_assert_eq!(flows.remove(id), Some(client));
                    ended.push(id);
                }
                Step::Expire => {
                    prop_assert_eq!(flows.due(idle), model.first().map(|(.., last)| last + idle));
                    let mut gone = std::iter::from_fn(|| flows.expire(now, idle)).collect::<Vec<_>>();
                    let keep = model.iter().position(|(.., last)| now - last < idle).unwrap_or(model.len());
                    let mut old: Vec<u8> = model.iter().take(keep).map(|(client, ..)| *client).collect();
                    ended.extend(model.drain(..keep).map(|(_, id, ..)| id));
                    // Those of the same millisecond go in any order.
                    gone.sort_unstable();
                    old.sort_unstable();
                    prop_assert_eq!(gone, old);
                }
                Step::Room => {
                    let at = least(&model, now);
                    prop_assert_eq!(flows.make_room(now, PATIENCE), at.map(|at| model[at].0));
                    if let Some(at) = at {
                        ended.push(model.remove(at).1);
                    }
                }
            }
            prop_assert_eq!(flows.len(), model.len());
            prop_assert_eq!(flows.places.len(), model.len());
            prop_assert!(flows.len() <= max);
            for id in &ended {
                prop_assert!(!flows.from_server(*id, now) && flows.remove(*id).is_none(), "{:?} lives on", id);
            }
        }
        // Both orders hold each flow once.
        let mut count = 0;
        while flows.expire(now + idle, idle).is_some() {
            count += 1;
        }
        prop_assert_eq!(count, model.len());
        prop_assert!(flows.is_empty() && flows.places.is_empty() && flows.due(idle).is_none());
    }
}

#[test]
fn a_client_that_is_entered_again_has_one_flow() {
    let mut flows = FlowTable::default();
    let (first, _) = flows.insert('a', 1, 0);
    let (second, before) = flows.insert('a', 2, 0);
    assert_eq!((before, flows.len()), (Some(1), 1));
    assert_eq!(flows.remove(first), None);
    assert_eq!(flows.remove(second), Some(2));
}

#[test]
fn a_conversation_is_not_ended_early() {
    let mut flows = FlowTable::default();
    let (question, _) = flows.insert("question", (), 0);
    let (talk, _) = flows.insert("talk", (), 0);
    assert!(flows.make_room(9, 10).is_none(), "both wait for their answers");
    assert!(flows.from_server(talk, 1) && flows.from_server(question, 2));
    flows.from_client(&"talk", 3);
    flows.from_server(talk, 4);
    flows.insert("in vain", (), 5);
    assert!(flows.make_room(5, 10).is_some());
    assert!(!flows.from_server(question, 6), "that was the one");
    assert!(flows.make_room(14, 10).is_none());
    assert!(flows.make_room(15, 10).is_some());
    assert!(flows.make_room(99, 10).is_none());
    assert!(flows.from_server(talk, 99), "still there");
}
