//! The dashboard: one page that shows the servers and updates itself.
//!
//! It can be read without JavaScript. With it, the page requests [`data`] every second: the same texts as in the page,
//! so that values are formatted only here.

pub(super) mod history;
mod view;

use maud::{DOCTYPE, Markup, html};
use serde_json::{Value, json};

use crate::core::json::Version;
use crate::core::report::model::ServerRow;

use history::{Change, History};
use view::{COLUMNS, HEIGHT, Row};

/// The style sheet of the page.
pub(super) const STYLE: &str = include_str!("dashboard.css");
/// The script that updates the page.
pub(super) const SCRIPT: &str = include_str!("dashboard.js");
/// The icon of the page.
pub(super) const ICON: &str = include_str!("icon.svg");

/// The contents of the page.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The address that clients connect to.
    pub listen: String,
    /// The program and its process.
    pub version: Version,
    /// Connections, or flows of datagrams.
    pub connections: usize,
    /// The limit of them.
    pub connections_max: usize,
    /// Clients in the affinity table.
    pub clients: usize,
    /// The limit of them.
    pub clients_max: usize,
    /// The servers.
    pub servers: Vec<ServerRow>,
    /// Whether some server can serve new clients.
    pub can_serve: bool,
}

impl Subject {
    fn facts(&self) -> [(&'static str, String); 4] {
        let Subject { connections, connections_max, clients, clients_max, .. } = self;
        let uptime = view::age(self.version.uptime_seconds);
        [
            ("Connections", format!("{connections} of {connections_max}")),
            ("Clients remembered", format!("{clients} of {clients_max}")),
            ("Serving since", format!("{} ({uptime})", self.version.start_time)),
            ("Version", format!("pen {}, {}", self.version.version, self.version.tls_library)),
        ]
    }

    fn health(&self) -> (&'static str, &'static str) {
        if self.can_serve { ("up", "serving") } else { ("down", "no server can serve new clients") }
    }
}

fn rows<'a>(servers: &'a [ServerRow], history: &'a History) -> impl Iterator<Item = Row> + use<'a> {
    servers.iter().map(move |row| Row::new(row, history))
}

fn change(change: &Change) -> String {
    let Change { server, address, from, to, .. } = change;
    format!("server {server} ({address}): {from}, now {to}")
}

/// The data that updates the page.
pub(super) fn data(subject: &Subject, history: &History) -> Value {
    let (state, health) = subject.health();
    let rows = rows(&subject.servers, history).map(|row| {
        json!({ "id": row.id, "state": row.state, "cells": row.cells, "meter": row.meter, "curve": row.curve })
    });
    let changes = history.changes().map(|c| json!({ "time": c.time, "text": change(c) }));
    json!({
        "state": state,
        "health": health,
        "facts": subject.facts().map(|(_, value)| value),
        "rows": rows.collect::<Vec<_>>(),
        "changes": changes.collect::<Vec<_>>(),
    })
}

/// The page.
pub(super) fn page(subject: &Subject, history: &History) -> String {
    let title = format!("pen at {}", subject.listen);
    let (state, health) = subject.health();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href="dashboard.css";
                link rel="icon" type="image/svg+xml" href="dashboard.svg";
                noscript { meta http-equiv="refresh" content="5"; }
                script src="dashboard.js" defer {}
            }
            body {
                header {
                    h1 { (title) }
                    p id="health" .state.(state) { (health) }
                    p id="lost" role="alert" hidden {}
                }
                main {
                    dl id="facts" {
                        @for (name, value) in subject.facts() { div { dt { (name) } dd { (value) } } }
                    }
                    (servers(subject, history))
                    section aria-labelledby="changes-title" {
                        h2 id="changes-title" { "Changes of state" }
                        ol id="changes" aria-live="polite" {
                            @for c in history.changes() { li { time { (c.time) } " " (change(c)) } }
                        }
                        p .none { "None yet." }
                    }
                    (on_demand("connections", "Connections"))
                    (on_demand("clients", "Clients"))
                }
                footer {
                    "The same for programs: "
                    a href="metrics" { "metrics" } ", "
                    a href="api/v1/servers" { "servers" } ", "
                    a href="api/v1/config" { "configuration" } ", "
                    a href="health" { "health" } "."
                }
            }
        }
    };
    page.into_string()
}

fn servers(subject: &Subject, history: &History) -> Markup {
    let servers = &subject.servers;
    html! {
        section {
            h2 id="servers-title" { "Servers" }
            label .needs-script { "Show those with " input id="filter" type="search" autocomplete="off"; }
            div .scroll role="region" aria-labelledby="servers-title" tabindex="0" {
                table id="servers" {
                    thead {
                        tr {
                            @for name in COLUMNS { th scope="col" { (name) } }
                            th scope="col" { "Traffic of 5 minutes" }
                        }
                    }
                    tbody { @for row in rows(servers, history) { (table_row(&row)) } }
                }
            }
            p .none { "No server has an address." }
            template id="row" { (table_row(&EMPTY)) }
        }
    }
}

/// A template that the script fills in for a new server.
static EMPTY: Row = Row {
    id: String::new(),
    state: "",
    cells: [const { String::new() }; COLUMNS.len()],
    meter: None,
    curve: String::new(),
};

fn table_row(row: &Row) -> Markup {
    let (value, most) = row.meter.unwrap_or_default();
    html! {
        tr data-id=(row.id) {
            th scope="row" data-name=(COLUMNS[0]) { (row.cells[0]) }
            @for (name, text) in COLUMNS.iter().zip(&row.cells).skip(1) {
                @match *name {
                    "State" => td data-name=(name) { span .state.(row.state) { (text) } },
                    "Connections" => td data-name=(name) {
                        span { (text) }
                        meter min="0" max=(most) value=(value) hidden[row.meter.is_none()] aria-hidden="true" {}
                    },
                    _ => td data-name=(name) { (text) },
                }
            }
            td data-name="Traffic of 5 minutes" {
                svg viewBox={ "0 0 " (history::POINTS - 1) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
                    polyline points=(row.curve) {}
                }
            }
        }
    }
}

/// A table that is loaded when the reader opens it.
fn on_demand(name: &str, title: &str) -> Markup {
    html! {
        details .needs-script data-document=(name) {
            summary { (title) }
            p { button type="button" { "Read again" } " " span .note {} }
            div .scroll role="region" aria-label=(title) tabindex="0" { table { thead {} tbody {} } }
        }
    }
}
