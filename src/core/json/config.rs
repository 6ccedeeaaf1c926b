//! `json config`: all settings, server slots and access lists, named as in the control language.

use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::core::acl::LISTS;
use crate::core::config::Config;
use crate::core::report::pieces::{Pieces, Rows, numbered};
use crate::core::settings::{FieldKey, Setting, Settings, Table, Value};

use super::head::DocumentHead;
use super::pieces::{elements, json, members};

/// The number of entries made at a time.
const ROWS: usize = 64;

/// What the document begins with.
#[derive(Serialize)]
struct ConfigHead<'a> {
    #[serde(flatten)]
    head: &'a DocumentHead,
    file: Option<&'a str>,
}

/// The document of a configuration, which was read from `file`. All readers share it.
pub fn config(head: &DocumentHead, file: Option<&str>, config: &Arc<Config>) -> Pieces {
    let once = |text: &str| iter::once(text.to_owned());
    let long = Settings::sni_server();
    let others = Setting::all().filter(|setting| *setting != long);
    let others = others.map(|setting| (setting.word().to_owned(), value(&setting.get(&config.settings))));
    let head = open(&json(&ConfigHead { head, file }));
    let settings = open(&json(&Map::from_iter(others)));
    let begin = format!("{head},\"settings\":{settings},\n\"{}\":[", long.word());
    let routes = elements(routes(Arc::clone(config)));
    let servers = elements(servers(Arc::clone(config)));
    let checks = members(checks(Arc::clone(config)));
    let config = Arc::clone(config);
    let acls = (0..LISTS).flat_map(move |n| {
        let begin = if n == 0 { "[" } else { ",\n[" };
        once(begin).chain(elements(acl(n, Arc::clone(&config)))).chain(once("]"))
    });
    Box::new(
        iter::once(begin)
            .chain(routes)
            .chain(once("]},\n\"servers\":["))
            .chain(servers)
            .chain(once("],\n\"checks\":{"))
            .chain(checks)
            .chain(once("},\n\"acls\":["))
            .chain(acls)
            .chain(once("]}\n")),
    )
}

/// An object without its end.
fn open(object: &str) -> String {
    object.strip_suffix('}').unwrap_or(object).to_owned()
}

/// The routes of `sni_server`, of which there may be as many as there are servers.
fn routes(config: Arc<Config>) -> Rows<String> {
    numbered(move |begin| {
        let rest = config.settings.sni_server.get(begin..).unwrap_or_default();
        rest.iter().take(ROWS).map(ToString::to_string).collect()
    })
}

/// The slots that have a server.
fn servers(config: Arc<Config>) -> Rows<Map<String, Json>> {
    let mut begin = 0;
    Box::new(iter::from_fn(move || {
        let slots = config.servers.iter().enumerate().skip(begin);
        let used = slots.filter(|(_, slot)| slot.address.is_some()).take(ROWS);
        let rows: Vec<_> = used
            .map(|(n, slot)| {
                begin = n + 1;
                let mut row = fields(&**slot);
                row.insert("server".into(), n.into());
                row
            })
            .collect();
        (!rows.is_empty()).then_some(rows)
    }))
}

/// The checks, with their names.
fn checks(config: Arc<Config>) -> Rows<(String, Map<String, Json>)> {
    let mut last: Option<String> = None;
    Box::new(iter::from_fn(move || {
        let after = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = config.checks.range::<str, _>((after, Bound::Unbounded)).take(ROWS);
        let rows: Vec<_> = next.map(|(name, check)| (name.clone(), fields(check))).collect();
        last = rows.last().map(|(name, _)| name.clone());
        (!rows.is_empty()).then_some(rows)
    }))
}

/// The lines of an access list.
fn acl(list: usize, config: Arc<Config>) -> Rows<String> {
    numbered(move |begin| {
        config.acl(list).lines_from(begin).take(ROWS).map(|line| line.to_string()).collect()
    })
}

fn fields<T: Table>(row: &T) -> Map<String, Json> {
    FieldKey::<T>::all().map(|key| (key.word().to_owned(), value(&key.get(row)))).collect()
}

/// A value of the control language in JSON: times are numbers of seconds, addresses and paths are texts. Bytes are a text
/// if they are UTF-8, and otherwise numbers: a text with escapes could be taken for one of these characters.
fn value(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Switch(on) => (*on).into(),
        Value::Number(number) => (*number).into(),
        Value::Seconds(time) if time.subsec_nanos() == 0 => time.as_secs().into(),
        Value::Seconds(time) => time.as_secs_f64().into(),
        Value::Words(words) => words.clone().into(),
        Value::Paths(paths) => paths.clone().into(),
        Value::SniRoutes(routes) => routes.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
        Value::Bytes(bytes) if bytes.is_empty() => Json::Null,
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => bytes.clone().into(),
        },
        other => other.to_string().into(),
    }
}
