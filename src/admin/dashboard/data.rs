//! The data that updates the page.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use crate::core::json;
use crate::core::report::pieces::Pieces;

use super::super::server_source::ServerSource;
use super::contents::{self, PageContents};
use super::history::{History, RecordedChange};
use super::view::{self, Bar, COLUMNS, Cell, Curve, PageRow};

/// What is not about a single server.
#[derive(Serialize)]
struct PageHead {
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

impl From<&RecordedChange> for ChangeItem {
    fn from(change: &RecordedChange) -> Self {
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
    fn new(row: PageRow, has_curve: bool) -> Self {
        let PageRow { id, state, cells, bar, curve } = row;
        RowItem { id, state, cells, bar, curve: (!has_curve).then_some(curve) }
    }
}

/// The texts of the page. Curves are left out if the page has all of their points, of which it has `known`.
pub(in crate::admin) fn data(
    contents: impl FnOnce() -> PageContents + Send + 'static,
    source: &Arc<impl ServerSource>,
    history: &Arc<Mutex<History>>,
    known: Option<u64>,
) -> Pieces {
    let (source, history) = (Arc::clone(source), Arc::clone(history));
    let pieces = std::iter::once_with(move || {
        let head = head(&contents(), &history.lock(), known);
        let has_curves = head.curve.is_none();
        let rows = contents::rows(&*source, &history);
        let items = rows.map(move |rows| rows.into_iter().map(|row| RowItem::new(row, has_curves)).collect());
        json::list(&head, "rows", Box::new(items))
    });
    Box::new(pieces.flatten())
}

fn head(contents: &PageContents, history: &History, known: Option<u64>) -> PageHead {
    let (state, health) = contents.health();
    let has_curves = known == Some(history.points());
    PageHead {
        start: contents.version.start_time.clone(),
        state,
        health,
        facts: contents.facts(history).into_iter().map(|fact| (fact.cell, fact.bar)).collect(),
        points: history.points(),
        curve: (!has_curves).then(|| Curve::new(history.totals().curve.iter().copied())),
        changes: history.changes().map(ChangeItem::from).collect(),
    }
}
