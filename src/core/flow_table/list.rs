//! Lists of flows in the order of their last datagrams. A flow is in several of them at a time.

use slab::Slab;

/// The neighbours of a flow in one list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Links {
    older: Option<usize>,
    newer: Option<usize>,
}

/// The ends of a list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RecencyList {
    pub(super) oldest: Option<usize>,
    pub(super) newest: Option<usize>,
}

/// Takes the flow at `place` out of `list`, which it is in by its links `which`.
pub(super) fn detach<N: AsMut<[Links; 2]>>(
    nodes: &mut Slab<N>,
    list: &mut RecencyList,
    which: usize,
    place: usize,
) {
    let Some(node) = nodes.get_mut(place) else { return };
    let Links { older, newer } = std::mem::take(&mut node.as_mut()[which]);
    match older.and_then(|older| nodes.get_mut(older)) {
        Some(node) => node.as_mut()[which].newer = newer,
        None => list.oldest = newer,
    }
    match newer.and_then(|newer| nodes.get_mut(newer)) {
        Some(node) => node.as_mut()[which].older = older,
        None => list.newest = older,
    }
}

/// Puts the flow at `place` at the new end of `list`, by its links `which`.
pub(super) fn append<N: AsMut<[Links; 2]>>(
    nodes: &mut Slab<N>,
    list: &mut RecencyList,
    which: usize,
    place: usize,
) {
    let older = list.newest.replace(place);
    match older.and_then(|older| nodes.get_mut(older)) {
        Some(node) => node.as_mut()[which].newer = Some(place),
        None => list.oldest = Some(place),
    }
    if let Some(node) = nodes.get_mut(place) {
        node.as_mut()[which].older = older;
    }
}
