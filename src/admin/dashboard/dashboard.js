"use strict";

// Rows of a table on demand that are shown at most.
const MOST = 200;
const byId = (id) => document.getElementById(id);
const body = document.querySelector("#servers tbody");
const shown = new Map(Array.from(body.rows, (row) => [row.dataset.id, row]));
let lost = null;

function text(element, value) {
    if (element.textContent !== value) element.textContent = value;
}

function fill(row, server) {
    server.cells.forEach((value, n) => {
        const cell = row.cells[n];
        text(cell.firstElementChild ?? cell, value);
    });
    const state = row.querySelector(".state");
    const classes = `state ${server.state}`;
    if (state.className !== classes) state.className = classes;
    const meter = row.querySelector("meter");
    meter.hidden = !server.meter;
    if (server.meter) [meter.value, meter.max] = server.meter;
    const curve = row.querySelector("polyline");
    if (curve.getAttribute("points") !== server.curve) curve.setAttribute("points", server.curve);
}

function filter() {
    const wanted = byId("filter").value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
}

function show(data) {
    const health = byId("health");
    text(health, data.health);
    health.className = `state ${data.state}`;
    document.querySelectorAll("#facts dd").forEach((fact, n) => text(fact, data.facts[n]));
    const present = new Set();
    data.rows.forEach((server, n) => {
        let row = shown.get(server.id);
        if (!row) {
            row = byId("row").content.firstElementChild.cloneNode(true);
            row.dataset.id = server.id;
            shown.set(server.id, row);
        }
        fill(row, server);
        if (body.rows[n] !== row) body.insertBefore(row, body.rows[n] ?? null);
        present.add(server.id);
    });
    for (const [id, row] of shown) {
        if (!present.has(id)) {
            row.remove();
            shown.delete(id);
        }
    }
    const list = byId("changes");
    const known = list.firstElementChild?.textContent;
    const fresh = [];
    for (const change of data.changes) {
        const item = document.createElement("li");
        const time = document.createElement("time");
        time.textContent = change.time;
        item.append(time, ` ${change.text}`);
        if (item.textContent === known) break;
        fresh.push(item);
    }
    list.prepend(...fresh);
    while (list.children.length > data.changes.length) list.lastElementChild.remove();
    if (byId("filter").value) filter();
}

async function follow() {
    if (!document.hidden) {
        try {
            const answer = await fetch("dashboard/data");
            if (!answer.ok) throw new Error(answer.statusText);
            show(await answer.json());
            lost = null;
            byId("lost").hidden = true;
        } catch {
            lost ??= new Date();
            text(byId("lost"), `No answer since ${lost.toLocaleTimeString()}: what is shown is from before.`);
            byId("lost").hidden = false;
        }
    }
    setTimeout(follow, 1000);
}

// Reads a document row by row: each has a line of its own, and the rest of a long document is not asked for.
async function firstRows(name) {
    const stop = new AbortController();
    const answer = await fetch(`api/v1/${name}`, { signal: stop.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const rows = [];
    let rest = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return { rows, more: false };
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
            if (!line.startsWith("{\"") || line.startsWith("{\"time\"")) continue;
            if (rows.length === MOST) {
                stop.abort();
                return { rows, more: true };
            }
            rows.push(JSON.parse(line.replace(/,$/, "")));
        }
    }
}

async function read(details) {
    const note = details.querySelector(".note");
    const [head, content] = [details.querySelector("thead"), details.querySelector("tbody")];
    try {
        const { rows, more } = await firstRows(details.dataset.document);
        const names = rows.length ? Object.keys(rows[0]) : [];
        const line = (cells, kind) => {
            const row = document.createElement("tr");
            for (const value of cells) {
                const cell = document.createElement(kind);
                if (kind === "th") cell.scope = "col";
                cell.textContent = value === null ? "-" : typeof value === "string" ? value : JSON.stringify(value);
                row.append(cell);
            }
            return row;
        };
        head.replaceChildren(...(names.length ? [line(names.map((name) => name.replaceAll("_", " ")), "th")] : []));
        content.replaceChildren(...rows.map((row) => line(names.map((name) => row[name]), "td")));
        note.textContent = more ? `The first ${MOST} of more.` : `${rows.length} in all.`;
    } catch {
        note.textContent = "No answer.";
    }
}

for (const details of document.querySelectorAll("details[data-document]")) {
    details.addEventListener("toggle", () => details.open && read(details));
    details.querySelector("button").addEventListener("click", () => read(details));
}
byId("filter").addEventListener("input", filter);
follow();
