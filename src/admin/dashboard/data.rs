//! The data that updates the page.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use crate::core::json;
use crate::core::report::pieces::Pieces;

use super::history::{Change, History};
use super::subject::Subject;
use super::view::{self, Bar, COLUMNS, Cell, Curve, Row};

/// The number of rows made at a time.
const ROWS: usize = 32;

/// What is not about a single server.
#[derive(Serialize)]
struct Head {
    /// When pen started.
    start: String,
    state: &'static str,
    health: &'static str,
    facts: Vec<(Cell, Option<Bar>)>,
    /// How many points the curves have got so far.
    points: u64,
    /// The traffic of all servers; `None` if the page has it.
    curve: Option<Curve>,
    changes: Vec<ChangeItem>,
}

/// A change of a server's state.
#[derive(Serialize)]
struct ChangeItem {
    number: u64,
    time: String,
    shown_time: String,
    server: String,
    state: &'static str,
    note: String,
}

impl From<&Change> for ChangeItem {
    fn from(change: &Change) -> Self {
        ChangeItem {
            number: change.number,
            time: change.time.clone(),
            shown_time: view::local(&change.time),
            server: view::named(change),
            state: change.to,
            note: view::note(change),
        }
    }
}

/// A row of the table of servers.
#[derive(Serialize)]
struct RowItem {
    id: String,
    state: &'static str,
    cells: [Cell; COLUMNS.len()],
    bar: Option<Bar>,
    /// `None` if the page has it.
    curve: Option<Curve>,
}

impl RowItem {
    fn new(row: Row, has_curve: bool) -> Self {
        let Row { id, state, cells, bar, curve } = row;
        RowItem { id, state, cells, bar, curve: (!has_curve).then_some(curve) }
    }
}

/// The texts of the page. Curves are left out if the page has all of their points, of which it has `known`.
pub(in crate::admin) fn data(subject: Subject, history: &Arc<Mutex<History>>, known: Option<u64>) -> Pieces {
    let head = head(&subject, &history.lock(), known);
    let has_curves = head.curve.is_none();
    let (history, mut servers) = (Arc::clone(history), subject.servers.into_iter());
    let rows = std::iter::from_fn(move || {
        let piece: Vec<_> = servers.by_ref().take(ROWS).collect();
        let history = history.lock();
        let row = |server| RowItem::new(Row::new(server, &history), has_curves);
        (!piece.is_empty()).then(|| piece.iter().map(row).collect())
    });
    json::list(&head, "rows", Box::new(rows))
}

fn head(subject: &Subject, history: &History, known: Option<u64>) -> Head {
    let (state, health) = subject.health();
    let has_curves = known == Some(history.points());
    Head {
        start: subject.version.start_time.clone(),
        state,
        health,
        facts: subject.facts(history).into_iter().map(|fact| (fact.cell, fact.bar)).collect(),
        points: history.points(),
        curve: (!has_curves).then(|| Curve::new(history.sum().into_iter())),
        changes: history.changes().map(ChangeItem::from).collect(),
    }
}
