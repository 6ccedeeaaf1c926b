//! The page as it is before, or without, its script.

use std::sync::Arc;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use parking_lot::Mutex;

use crate::core::report::pieces::Pieces;

use super::super::server_source::ServerSource;
use super::contents::{self, Fact, PageContents};
use super::history::{History, RecordedChange};
use super::server_history::POINTS;
use super::view::{self, Bar, COLUMNS, CONNECTIONS, Cell, Curve, HEIGHT, PageRow, STATE};

/// The heading of the column with the curves.
const TRAFFIC: &str = "Last 5 minutes";

/// Marks the place of the rows in the page without them. No text in the page is the same, since each `<` is escaped.
const ROWS: &str = "<!-- rows -->";

/// The page, made as it is read.
pub(in crate::admin) fn page(
    contents: impl FnOnce() -> PageContents + Send + 'static,
    source: &Arc<impl ServerSource>,
    history: &Arc<Mutex<History>>,
) -> Pieces {
    let (source, history) = (Arc::clone(source), Arc::clone(history));
    let pieces = std::iter::once_with(move || {
        let page = around_rows(&contents(), &history.lock());
        let (begin, end) = page.split_once(ROWS).unwrap_or((&page, ""));
        let text = |rows: Vec<PageRow>| rows.iter().map(|row| table_row(row).into_string()).collect();
        let rows = contents::rows(&*source, &history).map(text);
        std::iter::once(begin.to_owned()).chain(rows).chain(std::iter::once(end.to_owned()))
    });
    Box::new(pieces.flatten())
}

/// The page with [`ROWS`] in place of the rows of the servers.
fn around_rows(contents: &PageContents, history: &History) -> String {
    let title = format!("pen at {}", contents.listen);
    let (state, health) = contents.health();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="dashboard.css";
                link rel="icon" type="image/svg+xml" href="dashboard.svg";
                noscript { meta http-equiv="refresh" content="5"; }
                script src="dashboard.js" defer {}
            }
            body data-start=(contents.version.start_time) {
                header {
                    img src="dashboard.svg" alt="" width="32" height="32";
                    h1 { (title) }
                    span .protocol { (contents.protocol) }
                    p id="health" .state.(state) role="status" { (health) }
                    p id="lost" role="alert" hidden {}
                }
                main {
                    dl id="facts" { @for fact in contents.facts(history) { (tile(&fact)) } }
                    (traffic(history))
                    (servers())
                    section aria-labelledby="changes-title" {
                        h2 id="changes-title" { "Changes of state" }
                        ol id="changes" .panel aria-live="polite" tabindex="0" aria-labelledby="changes-title" {
                            @for change in history.changes() { (item(change)) }
                        }
                        p .none { "None since pen started." }
                    }
                    (on_demand("connections", "Connections"))
                    (on_demand("clients", "Clients"))
                }
                footer {
                    (contents.version.name) " " (contents.version.version) ", " (contents.version.tls_library)
                    ". For programs: "
                    a href="metrics" { "metrics" } ", "
                    a href="api/v1/servers" { "servers" } ", "
                    a href="api/v1/checks" { "checks" } ", "
                    a href="api/v1/config" { "configuration" } ", "
                    a href="health" { "health" }
                }
            }
        }
    };
    page.into_string()
}

fn tile(fact: &Fact) -> Markup {
    html! {
        div .panel {
            dt { (fact.name) }
            dd { (cell(&fact.cell)) (bar(fact.bar)) }
        }
    }
}

fn traffic(history: &History) -> Markup {
    let curve = Curve::new(history.totals().curve.iter().copied());
    html! {
        figure id="traffic" .panel {
            figcaption {
                "Traffic of all servers, both ways, in the last 5 minutes "
                span .note { (curve.peak) }
            }
            (drawn(&curve))
        }
    }
}

fn servers() -> Markup {
    html! {
        section {
            h2 id="servers-title" { "Servers" }
            p .tools.needs-script {
                label { "Find " input id="filter" type="search" autocomplete="off"; }
                label { input id="troubled" type="checkbox"; " Only those that are not up" }
            }
            // The roles are those that the elements have, unless a narrow screen shows them as blocks.
            div .scroll.panel role="region" aria-labelledby="servers-title" tabindex="0" {
                table id="servers" role="table" aria-labelledby="servers-title" {
                    thead role="rowgroup" {
                        tr role="row" {
                            @for name in COLUMNS { th scope="col" role="columnheader" { (name) } }
                            th scope="col" role="columnheader" { (TRAFFIC) }
                        }
                    }
                    tbody role="rowgroup" { (PreEscaped(ROWS)) }
                }
            }
            p .none { "No server has an address." }
            template id="row" { (table_row(&EMPTY)) }
        }
    }
}

/// A template that the script fills in for a new server.
static EMPTY: PageRow = PageRow {
    id: String::new(),
    state: "",
    cells: [const { Cell(String::new(), String::new()) }; COLUMNS.len()],
    bar: None,
    curve: Curve { line: String::new(), peak: String::new() },
};

fn table_row(row: &PageRow) -> Markup {
    html! {
        tr role="row" data-id=(row.id) {
            th scope="row" role="rowheader" data-name=(COLUMNS[0]) { (cell(&row.cells[0])) }
            @for (n, (name, value)) in COLUMNS.iter().zip(&row.cells).enumerate().skip(1) {
                td role="cell" data-name=(name) {
                    @if n == STATE {
                        span .state.(row.state) { (value.0) }
                        span .note { (value.1) }
                    } @else {
                        (cell(value))
                    }
                    @if n == CONNECTIONS { (bar(row.bar)) }
                }
            }
            td role="cell" data-name=(TRAFFIC) {
                (drawn(&row.curve))
                span .note { (row.curve.peak) }
            }
        }
    }
}

fn cell(Cell(text, note): &Cell) -> Markup {
    html! {
        span { (text) }
        span .note { (note) }
    }
}

/// How much of a limit is used. The text beside it says the same.
fn bar(bar: Option<Bar>) -> Markup {
    let Bar { used, class } = bar.unwrap_or(Bar { used: 0, class: "bar" });
    html! {
        svg class=(class) viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" hidden[bar.is_none()] {
            rect .all width="100" height="6" {}
            rect .used width=(used) height="6" {}
        }
    }
}

fn drawn(curve: &Curve) -> Markup {
    html! {
        svg .curve viewBox={ "0 0 " (POINTS - 1) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
            polygon points=(curve.area()) {}
            polyline points=(curve.line) {}
        }
    }
}

fn item(change: &RecordedChange) -> Markup {
    html! {
        li data-number=(change.number) {
            time datetime=(change.time) { (view::local(&change.time)) }
            span .state.(change.to) { (change.to) }
            span { (view::named(change)) }
            span .note { (view::note(change)) }
        }
    }
}

/// A table that is loaded when the reader opens it.
fn on_demand(name: &str, title: &str) -> Markup {
    html! {
        details .needs-script data-document=(name) {
            summary { (title) }
            p .tools { button type="button" { "Read again" } " " span .note role="status" {} }
            div .scroll.panel role="region" aria-label=(title) tabindex="0" { table { thead {} tbody {} } }
        }
    }
}
