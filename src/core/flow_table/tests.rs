use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum FlowStep {
    Client(u8),
    Server(u8),
    Remove(u8),
    Expire,
    Room,
}

fn steps() -> impl Strategy<Value = Vec<(FlowStep, Millis)>> {
    let step = prop_oneof![
        6 => (0u8..12).prop_map(FlowStep::Client),
        4 => (0u8..12).prop_map(FlowStep::Server),
        1 => (0u8..12).prop_map(FlowStep::Remove),
        1 => Just(FlowStep::Expire),
        1 => Just(FlowStep::Room),
    ];
    prop::collection::vec((step, 0u64..20), 0..200)
}

/// A flow of the model: client, ID, rounds (0 asking, 1 answered, 2 lasting), last datagram.
type ModelFlow = (u8, FlowId, u8, Millis);

type ModelFlows = Vec<ModelFlow>;

fn latest(model: &mut ModelFlows, at: usize, rounds: u8, now: Millis) {
    let (client, id, ..) = model.remove(at);
    model.push((client, id, rounds, now));
}

const PATIENCE: Millis = 30;

/// The owner of a client.
fn owner(client: u8) -> u8 {
    client / 4
}

/// The flows of which one ends when room is needed for `client`: exactly one, or those of owners with equally many.
fn least(model: &ModelFlows, client: u8, max: usize, now: Millis) -> Vec<usize> {
    let oldest = |wanted: &dyn Fn(&ModelFlow) -> bool| model.iter().position(wanted);
    let paused = |at: &usize| now - model[*at].3 >= PATIENCE;
    let count = |of: u8| model.iter().filter(|(c, ..)| owner(*c) == of).count();
    let question = oldest(&|(_, _, rounds, _)| *rounds == 1)
        .or_else(|| oldest(&|(_, _, rounds, _)| *rounds == 0).filter(paused));
    if let Some(at) = question {
        return vec![at];
    }
    let (own, all) =
        (count(owner(client)), (0..3).filter(|of| count(*of) > 0 || *of == owner(client)).count());
    if own > 0 && own >= max / all {
        return oldest(&|(c, ..)| owner(*c) == owner(client)).filter(paused).into_iter().collect();
    }
    let most = (0..3).map(count).max().unwrap_or(0);
    if most > own + 1 {
        let heavy = (0..3).filter(|of| count(*of) == most);
        return heavy.filter_map(|of| oldest(&|(c, ..)| owner(*c) == of)).collect();
    }
    oldest(&|(_, _, rounds, _)| *rounds == 2).filter(paused).into_iter().collect()
}

proptest! {
    /// Compared with a plain list whose last element is the latest, with room for `max` flows.
    #[test]
    fn flows_come_and_go_as_in_a_plain_list(max in 1usize..6, idle in 1u64..60, steps in steps()) {
        let mut flows: FlowTable<u8, u8, u8> = FlowTable::default();
        let mut model: ModelFlows = Vec::new();
        let mut ended: Vec<FlowId> = Vec::new();
        let mut now = 0;
        for (step, pause) in steps {
            now += pause;
            match step {
                FlowStep::Client(client) => {
                    let known = flows.from_client(&client, now).map(|(id, value)| (id, *value));
                    let at = model.iter().position(|(c, ..)| *c == client);
                    prop_assert_eq!(known, at.map(|at| (model[at].1, client)));
                    if let Some(at) = at {
                        let rounds = if model[at].2 == 0 { 0 } else { 2 };
                        latest(&mut model, at, rounds, now);
                        continue;
                    }
                    if flows.len() == max {
                        let gone = flows.make_room(&owner(client), max, now, PATIENCE);
                        let least = least(&model, client, max, now);
                        prop_assert_eq!(gone.is_some(), !least.is_empty());
                        let Some(gone) = gone else { continue };
                        let at = least.into_iter().find(|at| model[*at].0 == gone);
                        prop_assert!(at.is_some(), "{gone} went");
                        ended.push(model.remove(at.unwrap()).1);
                    }
                    let (id, before) = flows.insert(client, owner(client), client, now);
                    prop_assert_eq!(before, None);
                    model.push((client, id, 0, now));
                }
                FlowStep::Server(client) => {
                    let Some(at) = model.iter().position(|(c, ..)| *c == client) else { continue };
                    prop_assert!(flows.from_server(model[at].1, now));
                    let rounds = model[at].2.max(1);
                    latest(&mut model, at, rounds, now);
                }
                FlowStep::Remove(client) => {
                    let Some(at) = model.iter().position(|(c, ..)| *c == client) else { continue };
                    let (_, id, ..) = model.remove(at);
                    prop_assert_eq!(flows.remove(id), Some(client));
                    ended.push(id);
                }
                FlowStep::Expire => {
                    prop_assert_eq!(flows.due(idle), model.first().map(|(.., last)| last + idle));
                    let mut gone = std::iter::from_fn(|| flows.expire(now, idle)).collect::<Vec<_>>();
                    let keep = model.iter().position(|(.., last)| now - last < idle).unwrap_or(model.len());
                    let mut old: Vec<u8> = model.iter().take(keep).map(|(client, ..)| *client).collect();
                    ended.extend(model.drain(..keep).map(|(_, id, ..)| id));
                    // Flows of the same millisecond end in any order.
                    gone.sort_unstable();
                    old.sort_unstable();
                    prop_assert_eq!(gone, old);
                }
                FlowStep::Room => {
                    let at = model.iter().position(|(c, ..)| owner(*c) == 1);
                    let over = at.filter(|at| model[*at].2 == 1 || now - model[*at].3 >= PATIENCE);
                    prop_assert_eq!(flows.make_own_room(&1, now, PATIENCE), over.map(|at| model[at].0));
                    if let Some(at) = over {
                        ended.push(model.remove(at).1);
                    }
                }
            }
            prop_assert_eq!(flows.len(), model.len());
            prop_assert_eq!(flows.places.len(), model.len());
            prop_assert!(flows.owners.is_consistent());
            for of in 0..3 {
                let count = model.iter().filter(|(c, ..)| owner(*c) == of).count();
                prop_assert_eq!(flows.count_of(&of), count);
            }
            prop_assert!(flows.len() <= max);
            for id in &ended {
                prop_assert!(!flows.from_server(*id, now) && flows.remove(*id).is_none(), "{:?} lives on", id);
            }
        }
        // Both orders hold each flow exactly once.
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
    let (first, _) = flows.insert('a', 0, 1, 0);
    let (second, before) = flows.insert('a', 0, 2, 0);
    assert_eq!((before, flows.len()), (Some(1), 1));
    assert_eq!(flows.remove(first), None);
    assert_eq!(flows.remove(second), Some(2));
}

#[test]
fn a_conversation_ends_early_only_when_it_has_paused() {
    let mut flows = FlowTable::default();
    let room = |flows: &mut FlowTable<_, _, _>, now| flows.make_room(&"all", 9, now, 10).is_some();
    let (question, _) = flows.insert("question", "all", (), 0);
    let (talk, _) = flows.insert("talk", "all", (), 0);
    assert!(!room(&mut flows, 9), "both wait for their answers");
    assert!(flows.from_server(talk, 1) && flows.from_server(question, 2));
    flows.from_client(&"talk", 3);
    flows.from_server(talk, 4);
    flows.insert("in vain", "all", (), 5);
    assert!(room(&mut flows, 5));
    assert!(!flows.from_server(question, 6), "that was the one");
    assert!(flows.from_server(talk, 10));
    assert!(!room(&mut flows, 14));
    assert!(room(&mut flows, 15));
    assert!(flows.from_server(talk, 99), "still there");
    assert!(!room(&mut flows, 108));
    assert!(room(&mut flows, 109));
    assert!(flows.is_empty());
}

/// A flow whose client has sent again after an answer.
fn converse(flows: &mut FlowTable<u32, &'static str, u32>, key: u32, owner: &'static str, now: Millis) {
    let (id, _) = flows.insert(key, owner, key, now);
    flows.from_server(id, now);
    flows.from_client(&key, now);
}

#[test]
fn one_address_that_holds_all_of_the_room_gives_others_their_share() {
    let mut flows = FlowTable::default();
    (0..100).for_each(|key| converse(&mut flows, key, "flood", 0));
    // Another address is admitted at once, until both have equally many.
    for key in 100..150 {
        assert_eq!(flows.make_room(&"other", 100, 1, 1000), Some(key - 100));
        converse(&mut flows, key, "other", 1);
    }
    assert_eq!((flows.count_of(&"flood"), flows.count_of(&"other")), (50, 50));
    for owner in ["flood", "other"] {
        assert_eq!(flows.make_room(&owner, 100, 2, 1000), None, "{owner} has its share");
    }
    // An address that has its share and wants more ends a paused conversation of its own.
    flows.from_client(&100, 500);
    assert_eq!(flows.make_room(&"other", 100, 1001, 1000), Some(101));
    // A third address takes its room from the one that now has the most.
    converse(&mut flows, 200, "flood", 2);
    assert_eq!(flows.make_room(&"third", 100, 2, 1000), Some(50));
}
