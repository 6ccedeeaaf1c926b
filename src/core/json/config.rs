//! `json config`: all settings, server slots and access lists, named as in the control language.

use serde_json::{Map, Value as Json, json};

use crate::core::config::Config;
use crate::core::report::pieces::Pieces;
use crate::core::settings::{FieldKey, Setting, Table, Value};

use super::head::DocumentHead;
use super::pieces::document;

/// The document of `config`, which was read from `file`.
pub fn config(head: &DocumentHead, config: &Config, file: Option<&str>) -> Pieces {
    let settings =
        Setting::all().map(|setting| (setting.word().to_owned(), value(&setting.get(&config.settings))));
    let servers: Vec<Json> = config
        .servers
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.address.is_some())
        .map(|(n, slot)| {
            let mut row = fields(slot);
            row.insert("server".into(), n.into());
            Json::Object(row)
        })
        .collect();
    let acls: Vec<Vec<String>> =
        config.acls().iter().map(|acl| acl.lines().map(|line| line.to_string()).collect()).collect();
    document(&json!({
        "time": head.time,
        "file": file,
        "settings": Map::from_iter(settings),
        "servers": servers,
        "checks": config.checks.iter().map(|(name, check)| (name.clone(), fields(check).into())).collect::<Map<_, _>>(),
        "acls": acls,
    }))
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
