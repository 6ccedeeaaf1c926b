//! The documents of `json`: as their schemas say, with the values that the other replies have.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use pen::core::json::Document;
use pen::core::settings::{Keyword as _, Setting};
use serde_json::{Value, json};

use crate::support::backend::{Backend, greeters};
use crate::support::pen::run_penctl;
use crate::support::schema::{schema, valid};
use crate::support::tree::{self, top};
use crate::support::{Pen, Setup, wait_until};

fn document(pen: &Pen, name: &str) -> Value {
    valid(name.split(' ').next().unwrap(), &pen.control(&format!("json {name}")))
}

fn schemas_there_must_be() -> Vec<&'static str> {
    Document::WORDS.iter().copied().chain(["why"]).collect()
}

#[test]
fn every_document_is_as_its_schema_says() {
    let backends = [Backend::echo(), Backend::echo()];
    let pen = Setup::new().servers(&backends).command("emergency 127.0.0.1:9").start();
    let mut client = pen.client();
    client.send(b"12345");
    assert_eq!(client.bytes(5), b"12345");
    for name in Document::WORDS {
        document(&pen, name);
    }
    document(&pen, "why 127.0.0.1");
    document(&pen, "why [::1]:80");
    let schemas: Vec<_> = tree::files("doc/schema", |_| true);
    let names: Vec<_> = schemas.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    let mut wanted = schemas_there_must_be();
    wanted.push("connection_log");
    wanted.sort_unstable();
    assert_eq!(names, wanted, "a schema for each document, for the connection log and no other");
}

#[test]
fn documents_say_what_the_other_replies_say() {
    let backends = [Backend::echo(), Backend::echo()];
    let pen = Setup::new()
        .servers(&backends)
        .command("emergency 127.0.0.1:9")
        .command("server 3 address no.such.name.invalid port 80")
        .start();
    pen.control("server 1 max 7 hard 9 weight 2 prio 3 acl 4");
    let mut client = pen.client();
    client.send(b"12345");
    assert_eq!(client.bytes(5), b"12345");

    wait_until("the bytes to be counted", || pen.control("servers").contains("sx 5 rx 5"));
    let servers = document(&pen, "servers");
    let rows = servers["servers"].as_array().unwrap();
    let numbers: Vec<_> =
        rows.iter().map(|row| (row["server"].as_u64(), row["role"].as_str().unwrap())).collect();
    assert_eq!(
        numbers,
        [(Some(0), "regular"), (Some(1), "regular"), (Some(3), "regular"), (None, "emergency")]
    );
    for line in pen.servers() {
        let row = &rows[line.number.min(2)];
        assert_eq!(row["address"], line.address, "{line:?}");
        assert_eq!(row["port"], line.port);
        assert_eq!(row["connections"], line.conn);
        assert_eq!(row["sent_bytes"], line.sx);
        assert_eq!(row["received_bytes"], line.rx);
    }
    let keys = ["max", "hard", "weight", "prio", "acl"].map(|key| rows[1][key].as_u64().unwrap());
    assert_eq!(keys, [7, 9, 2, 3, 4]);
    assert_eq!((&rows[0]["state"], &rows[2]["state"]), (&json!("up"), &json!("unresolved")));

    let served = rows.iter().position(|row| row["connections"] == 1).unwrap();
    let clients = document(&pen, "clients");
    let known = &clients["clients"][0];
    assert_eq!(known["address"], "127.0.0.1");
    assert_eq!((&known["server"], &known["connects"]), (&json!(served), &json!(1)));
    assert_eq!((&known["sent_bytes"], &known["received_bytes"]), (&json!(5), &json!(5)));

    let connections = document(&pen, "connections");
    let open = &connections["connections"][0];
    assert_eq!(
        (&open["connection"], &open["client"], &open["server"]),
        (&json!(0), &json!(0), &json!(served))
    );
    assert_eq!(open["client_port"], client.0.local_addr().unwrap().as_socket().unwrap().port());
    assert_eq!((&open["to_client_bytes"], &open["to_server_bytes"]), (&json!(5), &json!(5)));
    assert_eq!((&open["state"], &open["tls"]), (&json!("connected"), &Value::Null));

    pen.control("server 0 blacklist 60");
    let blacklisted = &document(&pen, "servers")["servers"][0];
    assert_eq!(blacklisted["state"], "blacklisted");
    let left = blacklisted["blacklisted_seconds"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 60.0, "{left}");
}

#[test]
fn the_configuration_is_that_in_force() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).command("acl 2 deny 10.0.0.0/8").start();
    let config = document(&pen, "config");
    let settings = config["settings"].as_object().unwrap();
    assert_eq!(settings.len(), Setting::all().count());
    assert_eq!((&settings["blacklist"], &settings["roundrobin"]), (&json!(30), &json!(false)));
    assert_eq!((&settings["log"], &settings["ssl_option"]), (&Value::Null, &json!([])));
    assert_eq!(config["servers"][0]["port"], backends[0].address().port());
    assert_eq!((&config["acls"][2], &config["file"]), (&json!(["deny 10.0.0.0 255.0.0.0"]), &Value::Null));
    pen.control("blacklist 5");
    pen.control("roundrobin");
    let settings = &document(&pen, "config")["settings"];
    assert_eq!((&settings["blacklist"], &settings["roundrobin"]), (&json!(5), &json!(true)));
    let version = document(&pen, "version");
    assert_eq!(
        (&version["pid"], &version["version"]),
        (&json!(pen.pid()), &json!(env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn keys_of_checks_have_values_and_not_words() {
    let pen = Setup::new().start();
    for line in [
        "check unset type tcp",
        r#"check web type http path /a body "\"ok\"" expect "200,204""#,
        r#"check text type send send "a b\t\r\n" expect "\xc3\xa9\\" every 0.5"#,
        r#"check bytes type udp send "\xff\x00a" expect x"#,
    ] {
        assert_eq!(pen.control(line), "", "{line}");
    }
    // The document conforms to its schema, which allows no other key.
    let config = document(&pen, "config");
    let checks = &config["checks"];
    for key in ["send", "expect", "body", "sni", "host", "name", "program"] {
        assert_eq!(checks["unset"][key], Value::Null, "{key}");
    }
    let web = ["path", "body", "expect", "send"].map(|key| &checks["web"][key]);
    assert_eq!(web, [&json!("/a"), &json!("\"ok\""), &json!("200,204"), &Value::Null]);
    let text = ["send", "expect", "every"].map(|key| &checks["text"][key]);
    assert_eq!(text, [&json!("a b\t\r\n"), &json!("\u{e9}\\"), &json!(0.5)]);
    assert_eq!(checks["bytes"]["send"], json!([255, 0, 97]));
}

#[test]
fn a_name_that_is_none_is_refused() {
    let pen = Setup::new().start();
    for (line, words) in [
        (
            "json",
            "json: expected checks, clients, config, connections, servers, version or why with a client, got nothing",
        ),
        (
            "json client",
            "json: expected checks, clients, config, connections, servers, version or why with a client, got 'client'",
        ),
        ("json servers 1", "json: '1' is one word too many"),
    ] {
        let reply = pen.control(line);
        assert!(reply.starts_with(&format!("error: {words}")), "{reply}");
    }
    let output = run_penctl([pen.file("control").as_str(), "json", "nonsense"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(output.stderr.starts_with(b"error: json: expected"));
}

/// A client that takes its time, or that goes, with most of a long document unread: others are answered meanwhile, and
/// the rest is still right.
#[test]
fn a_long_document_holds_up_nobody() {
    let pen = Setup::new().start();
    pen.has_servers(20_000);
    let ask = || {
        let mut stream = UnixStream::connect(pen.control_path()).unwrap();
        stream.write_all(b"json servers\n").unwrap();
        let mut first = [0; 100];
        stream.read_exact(&mut first).unwrap();
        (stream, first)
    };
    let (mut slow, first) = ask();
    drop(ask());
    assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
    let mut rest = String::new();
    slow.read_to_string(&mut rest).unwrap();
    let whole = valid("servers", &(String::from_utf8_lossy(&first) + rest.as_str()));
    assert_eq!(whole["servers"].as_array().unwrap().len(), 20_000);
    let output = run_penctl([pen.file("control").as_str(), "json", "servers"]);
    assert!(output.status.success());
    assert_eq!(
        valid("servers", &String::from_utf8(output.stdout).unwrap())["servers"][19_999]["server"],
        19_999
    );
}

/// The names and types in the tables of a section of penctl(1) that have both.
fn tables(section: &str) -> Vec<Vec<(String, String)>> {
    let page = fs::read_to_string(top().join("man1/penctl.1")).unwrap();
    let (_, section) = page.split_once(&format!("\n.SS \"{section}\"\n")).unwrap();
    let section = section.split("\n.S").next().unwrap();
    let rows = |table: &str| {
        let table = table.split("\n.TE").next().unwrap();
        let cells = |line: &str| {
            let (name, rest) = line.strip_prefix("\\fB")?.split_once("\\fR@")?;
            Some((name.to_owned(), rest.split_once('@')?.0.to_owned()))
        };
        sorted(table.lines().filter_map(cells))
    };
    let tables = section.split("\n.TS\n").skip(1).map(rows);
    tables.filter(|rows| !rows.is_empty()).collect()
}

/// The fields of a schema, with their types.
fn fields_of(name: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    fields(&schema(name), &mut rows);
    sorted(rows)
}

/// The tables of penctl(1) have the fields of the schemas, with their types.
#[test]
fn the_page_of_penctl_tells_every_field() {
    let mut told = tables("JSON Documents");
    told.sort();
    let mut wanted: Vec<_> = schemas_there_must_be().into_iter().map(fields_of).collect();
    wanted.sort();
    assert_eq!(told, wanted);
    assert_eq!(tables("Connection Log"), [fields_of("connection_log")]);
}

fn sorted(rows: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort();
    rows
}

/// The fields of an object that a schema describes, and of the objects in them, with their types.
fn fields(schema: &Value, rows: &mut Vec<(String, String)>) {
    for (name, field) in schema["properties"].as_object().unwrap() {
        assert!(
            field["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{name} is not described"
        );
        rows.push((name.clone(), kind(field)));
        let parts = field["oneOf"].as_array().into_iter().flatten().chain([&field["items"]]);
        parts.filter(|part| part["additionalProperties"] == false).for_each(|part| fields(part, rows));
    }
}

fn kind(field: &Value) -> String {
    match &field["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            kinds.iter().map(|kind| kind.as_str().unwrap()).collect::<Vec<_>>().join(" or ")
        }
        _ if field["enum"].is_array() => "word".into(),
        _ if field["const"].is_string() => "string".into(),
        _ if field["oneOf"][0]["type"] == "null" => "object or null".into(),
        _ => "object".into(),
    }
}
