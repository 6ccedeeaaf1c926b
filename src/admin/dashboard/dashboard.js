"use strict";

// Rows of a table on demand that are shown at most.
const MOST = 200;
// The right end and the bottom of the box of a curve.
const [RIGHT, BOTTOM] = document.querySelector(".curve").getAttribute("viewBox").split(" ").slice(2);

const byId = (id) => document.getElementById(id);
const body = document.querySelector("#servers tbody");
const shown = new Map(Array.from(body.rows, (row) => [row.dataset.id, row]));
let lost = null;
// The points that the curves have on this page.
let points = "";

function text(element, value) {
    if (element.textContent !== value) element.textContent = value;
}

function attribute(element, name, value) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// A text and the note below it.
function fill(place, [value, note]) {
    text(place.children[0], value);
    text(place.children[1], note);
}

function fillBar(place, level) {
    const bar = place.querySelector(".bar");
    bar.toggleAttribute("hidden", !level);
    if (!level) return;
    attribute(bar, "class", level.class);
    attribute(bar.querySelector(".used"), "width", String(level.used));
}

function fillCurve(place, { line, peak }) {
    attribute(place.querySelector("polyline"), "points", line);
    const area = line && `${line.split(",")[0]},${BOTTOM} ${line} ${RIGHT},${BOTTOM}`;
    attribute(place.querySelector("polygon"), "points", area);
    text(place.querySelector(".note"), peak);
}

function fillRow(row, server) {
    server.cells.forEach((cell, n) => fill(row.cells[n], cell));
    attribute(row.querySelector(".state"), "class", `state ${server.state}`);
    fillBar(row, server.bar);
    if (server.curve) fillCurve(row.lastElementChild, server.curve);
}

function filter() {
    const wanted = byId("filter").value.toLowerCase();
    const troubled = byId("troubled").checked;
    for (const row of body.rows) {
        const isUp = row.querySelector(".state").classList.contains("up");
        row.hidden = (troubled && isUp) || !row.textContent.toLowerCase().includes(wanted);
    }
}

function showServers(servers) {
    const present = new Set();
    servers.forEach((server, n) => {
        let row = shown.get(server.id);
        if (!row) {
            row = byId("row").content.firstElementChild.cloneNode(true);
            row.dataset.id = server.id;
            shown.set(server.id, row);
        }
        fillRow(row, server);
        if (body.rows[n] !== row) body.insertBefore(row, body.rows[n] ?? null);
        present.add(server.id);
    });
    for (const [id, row] of shown) {
        if (!present.has(id)) {
            row.remove();
            shown.delete(id);
        }
    }
    if (byId("filter").value || byId("troubled").checked) filter();
}

function changeItem(change) {
    const item = document.createElement("li");
    item.dataset.number = change.number;
    const time = document.createElement("time");
    time.dateTime = change.time;
    time.textContent = change.shown_time;
    item.append(time);
    for (const [name, value] of [[`state ${change.state}`, change.state], ["", change.server], ["note", change.note]]) {
        const part = document.createElement("span");
        part.className = name;
        part.textContent = value;
        item.append(part);
    }
    return item;
}

function showChanges(changes) {
    const list = byId("changes");
    const known = Number(list.firstElementChild?.dataset.number ?? 0);
    list.prepend(...changes.filter((change) => change.number > known).map(changeItem));
    while (list.children.length > changes.length) list.lastElementChild.remove();
}

function show(data) {
    // Another pen, and possibly another version of this page.
    if (data.start !== document.body.dataset.start) return location.reload();
    const health = byId("health");
    text(health, data.health);
    attribute(health, "class", `state ${data.state}`);
    document.querySelectorAll("#facts dd").forEach((place, n) => {
        const [cell, bar] = data.facts[n];
        fill(place, cell);
        fillBar(place, bar);
    });
    if (data.curve) fillCurve(byId("traffic"), data.curve);
    showServers(data.rows);
    showChanges(data.changes);
    points = data.points;
}

async function follow() {
    if (!document.hidden) {
        try {
            const answer = await fetch(`dashboard/data?points=${points}`);
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

// The columns of the tables on demand: the heading, and what a row of the document has for it.
const COLUMNS = {
    connections: [
        ["Connection", (row) => row.connection],
        ["Client", (row) => [row.client_address, row.client_port].filter((part) => part !== null).join(" port ")],
        ["State", (row) => row.state],
        ["Server", (row) => row.server],
        ["Seconds", (row) => row.age_seconds],
        ["Bytes to server", (row) => row.to_server_bytes],
        ["Bytes to client", (row) => row.to_client_bytes],
        ["TLS", (row) => row.tls && `${row.tls.version} ${row.tls.server_name ?? ""}`],
    ],
    clients: [
        ["Client", (row) => row.address],
        ["Server", (row) => row.server],
        ["Last connected, seconds ago", (row) => row.age_seconds],
        ["Connections", (row) => row.connects],
        ["Bytes from it", (row) => row.received_bytes],
        ["Bytes to it", (row) => row.sent_bytes],
    ],
};

function tableRow(kind, values) {
    const row = document.createElement("tr");
    for (const value of values) {
        const cell = document.createElement(kind);
        if (kind === "th") cell.scope = "col";
        const isNumber = typeof value === "number";
        cell.classList.toggle("number", isNumber);
        cell.textContent = isNumber ? value.toLocaleString() : value || "-";
        row.append(cell);
    }
    return row;
}

async function read(details) {
    const note = details.querySelector(".note");
    const columns = COLUMNS[details.dataset.document];
    try {
        const { rows, more } = await firstRows(details.dataset.document);
        const head = tableRow("th", columns.map(([name]) => name));
        const lines = rows.map((row) => tableRow("td", columns.map(([, value]) => value(row))));
        Array.from(head.cells).forEach((cell, n) => {
            cell.classList.toggle("number", lines.some((line) => line.cells[n].className === "number"));
        });
        details.querySelector("thead").replaceChildren(head);
        details.querySelector("tbody").replaceChildren(...lines);
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
byId("troubled").addEventListener("change", filter);
follow();
