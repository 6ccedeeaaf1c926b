//! The JSON schemas of doc/schema.

use std::fs;

use jsonschema::Validator;
use serde_json::Value;

use super::tree;

/// The schema of a document.
#[track_caller]
pub(crate) fn schema(name: &str) -> Value {
    let path = tree::top().join("doc/schema").join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn validator(name: &str) -> Validator {
    jsonschema::options().should_validate_formats(true).build(&schema(name)).unwrap()
}

#[track_caller]
fn conforms(validator: &Validator, name: &str, document: &Value) {
    let errors: Vec<_> =
        validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert_eq!(errors, [""; 0], "json {name}: {document:#}");
}

/// Parses a document, which must conform to its schema.
#[track_caller]
pub(crate) fn valid(name: &str, text: &str) -> Value {
    let document = serde_json::from_str(text).unwrap_or_else(|e| panic!("json {name}: {e}: {text}"));
    conforms(&validator(name), name, &document);
    document
}

/// Lines of a log, each of which must conform to the schema `name`.
#[track_caller]
pub(crate) fn valid_lines(name: &str, lines: &[Value]) {
    let validator = validator(name);
    lines.iter().for_each(|line| conforms(&validator, name, line));
}
