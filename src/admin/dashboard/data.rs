//! The data that updates the page.

use serde_json::{Value, json};

use super::history::History;
use super::subject::Subject;
use super::view::{self, Curve};

/// The texts of the page. Curves are left out if the page has all of their points, of which it has `known`.
pub(in crate::admin) fn data(subject: &Subject, history: &History, known: Option<u64>) -> Value {
    let (state, health) = subject.health();
    let has_curves = known == Some(history.points());
    let rows = subject.rows(history).map(|row| {
        let curve = (!has_curves).then_some(&row.curve);
        json!({ "id": row.id, "state": row.state, "cells": row.cells, "bar": row.bar, "curve": curve })
    });
    let changes = history.changes().map(|change| {
        let (day, clock) = view::local(&change.time);
        json!({
            "number": change.number,
            "time": change.time,
            "day": day,
            "clock": clock,
            "server": view::named(change),
            "state": change.to,
            "note": view::note(change),
        })
    });
    json!({
        "start": subject.version.start_time,
        "state": state,
        "health": health,
        "facts": subject.facts(history).map(|fact| json!({ "cell": fact.cell, "bar": fact.bar })),
        "points": history.points(),
        "curve": (!has_curves).then(|| Curve::new(history.sum().into_iter())),
        "rows": rows.collect::<Vec<_>>(),
        "changes": changes.collect::<Vec<_>>(),
    })
}
