//! Templates, smf_template(5): names and documents of a service, and the constraints of its properties.

use std::fmt::Write as _;

use anyhow::bail;
use roxmltree::Node;

use super::manifest::{attribute, elements};
use super::repo::{Group, Groups, Property};

const PG_PATTERN: &str = "tm_pgpatt_";
const PROP_PATTERN: &str = "tm_proppatt_";

/// Converts a template element into groups of type template.
pub(crate) fn read(node: Node, groups: &mut Groups) -> anyhow::Result<()> {
    for child in elements(node) {
        match child.tag_name().name() {
            "common_name" => _ = groups.insert("tm_common_name".to_owned(), text_group(child)),
            "description" => _ = groups.insert("tm_description".to_owned(), text_group(child)),
            "documentation" => {
                for document in elements(child) {
                    let mut group = Group::new("template");
                    let name = match document.tag_name().name() {
                        "manpage" => {
                            for name in ["title", "section"] {
                                group.set(name, Property::one("astring", attribute(document, name)?));
                            }
                            let path = document.attribute("manpath").unwrap_or(":default");
                            group.set("manpath", Property::one("astring", path));
                            format!(
                                "tm_man_{}{}",
                                attribute(document, "title")?,
                                attribute(document, "section")?
                            )
                        }
                        "doc_link" => {
                            for name in ["name", "uri"] {
                                group.set(name, Property::one("astring", attribute(document, name)?));
                            }
                            format!("tm_doc_{}", attribute(document, "name")?.replace(' ', "_"))
                        }
                        other => bail!("documentation: element {other} is not known here"),
                    };
                    groups.insert(name, group);
                }
            }
            "pg_pattern" => pg_pattern(child, groups)?,
            other => bail!("template: element {other} is not known here"),
        }
    }
    Ok(())
}

fn text(node: Node) -> String {
    let text = elements(node).next().and_then(|loctext| loctext.text()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text_group(node: Node) -> Group {
    let mut group = Group::new("template");
    group.set("C", Property::one("ustring", text(node)));
    group
}

fn pg_pattern(node: Node, groups: &mut Groups) -> anyhow::Result<()> {
    let name = node.attribute("name").unwrap_or_default();
    let mut group = Group::new("template_pg_pattern");
    for (key, default) in [("name", ""), ("type", ""), ("required", "false"), ("target", "this")] {
        group.set(key, Property::one("astring", node.attribute(key).unwrap_or(default)));
    }
    for child in elements(node) {
        match child.tag_name().name() {
            "common_name" => group.set("common_name_C", Property::one("ustring", text(child))),
            "description" => group.set("description_C", Property::one("ustring", text(child))),
            "prop_pattern" => prop_pattern(child, name, groups)?,
            other => bail!("pg_pattern: element {other} is not known here"),
        }
    }
    groups.insert(format!("{PG_PATTERN}{name}"), group);
    Ok(())
}

fn prop_pattern(node: Node, pg: &str, groups: &mut Groups) -> anyhow::Result<()> {
    let name = attribute(node, "name")?;
    let mut group = Group::new("template_prop_pattern");
    group.set("pg", Property::one("astring", pg));
    group.set("name", Property::one("astring", name));
    group.set("required", Property::one("boolean", node.attribute("required").unwrap_or("false")));
    match node.attribute("type") {
        Some(kind) => group.set("type", Property::one("astring", kind)),
        None if node.attribute("required") == Some("true") => bail!("prop_pattern {name}: no type"),
        None => {}
    }
    for child in elements(node) {
        match child.tag_name().name() {
            "common_name" => group.set("common_name_C", Property::one("ustring", text(child))),
            "description" => group.set("description_C", Property::one("ustring", text(child))),
            "units" => group.set("units_C", Property::one("ustring", text(child))),
            "visibility" => group.set("visibility", Property::one("astring", attribute(child, "value")?)),
            "cardinality" => {
                for bound in ["min", "max"] {
                    if let Some(value) = child.attribute(bound) {
                        group.set(
                            &format!("cardinality_{bound}"),
                            Property::new("count", vec![value.to_owned()])?,
                        );
                    }
                }
            }
            "constraints" => {
                let (mut values, mut ranges) = (Vec::new(), Vec::new());
                for inner in elements(child) {
                    match inner.tag_name().name() {
                        "value" => values.push(attribute(inner, "name")?.to_owned()),
                        "range" => {
                            ranges.push(format!("{},{}", attribute(inner, "min")?, attribute(inner, "max")?))
                        }
                        other => bail!("constraints: element {other} is not known here"),
                    }
                }
                group.set("constraint_value", Property::new("astring", values)?);
                group.set("constraint_range", Property::new("astring", ranges)?);
            }
            // For user interfaces only.
            "internal_separators" | "values" | "choices" => {}
            other => bail!("prop_pattern: element {other} is not known here"),
        }
    }
    groups.insert(format!("{PROP_PATTERN}{pg}_{name}"), group);
    Ok(())
}

/// The type of a property group, or of a property in it, according to a template.
pub(crate) fn type_of<'a>(groups: &'a Groups, pg: &str, property: Option<&str>) -> Option<&'a str> {
    let name = match property {
        None => format!("{PG_PATTERN}{pg}"),
        Some(property) => format!("{PROP_PATTERN}{pg}_{property}"),
    };
    groups.get(&name)?.get("type").filter(|kind| !kind.is_empty())
}

/// The description of a property according to a template.
pub(crate) fn description<'a>(groups: &'a Groups, pg: &str, property: &str) -> Option<&'a str> {
    groups.get(&format!("{PROP_PATTERN}{pg}_{property}"))?.get("description_C")
}

/// The properties that templates describe: group, name, type, description.
pub(crate) fn properties(groups: &Groups) -> impl Iterator<Item = (&str, &str, &str, &str)> {
    let patterns = groups.iter().filter(|(name, _)| name.starts_with(PROP_PATTERN)).map(|(_, group)| group);
    patterns.map(|pattern| {
        let get = |name: &str| pattern.get(name).unwrap_or_default();
        (get("pg"), get("name"), get("type"), get("description_C"))
    })
}

/// Compares composed groups with the templates among them; a line for each violation.
pub(crate) fn violations(groups: &Groups) -> Vec<String> {
    let mut found = Vec::new();
    for (name, pattern) in groups.iter().filter(|(name, _)| name.starts_with(PG_PATTERN)) {
        let pg = name.trim_start_matches(PG_PATTERN);
        match groups.get(pg) {
            None if pattern.get("required") == Some("true") => {
                found.push(format!("Required property group \"{pg}\" is missing"));
            }
            Some(group) if pattern.get("type").is_some_and(|kind| !kind.is_empty() && kind != group.kind) => {
                found.push(format!(
                    "Property group \"{pg}\" has type \"{}\", not that of its template",
                    group.kind
                ));
            }
            _ => {}
        }
    }
    for pattern in groups.iter().filter(|(name, _)| name.starts_with(PROP_PATTERN)).map(|(_, group)| group) {
        let (pg, name) = (pattern.get("pg").unwrap_or_default(), pattern.get("name").unwrap_or_default());
        let Some(group) = groups.get(pg) else { continue };
        match group.properties.get(name) {
            None if pattern.get("required") == Some("true") => {
                found.push(format!("Required property \"{pg}/{name}\" is missing"));
            }
            None => {}
            Some(property) => check(pattern, property, &format!("{pg}/{name}"), &mut found),
        }
    }
    found
}

fn check(pattern: &Group, property: &Property, name: &str, found: &mut Vec<String>) {
    if let Some(kind) = pattern.get("type").filter(|kind| *kind != property.kind) {
        found.push(format!(
            "Property \"{name}\" has type \"{}\", the template says \"{kind}\"",
            property.kind
        ));
    }
    let bound =
        |bound: &str| pattern.get(&format!("cardinality_{bound}")).and_then(|value| value.parse().ok());
    let (min, max) = (bound("min").unwrap_or(0), bound("max").unwrap_or(usize::MAX));
    let count = property.values.len();
    if count < min || count > max {
        let mut line = format!("Property \"{name}\" has {count} values, the template wants at least {min}");
        if max != usize::MAX {
            _ = write!(line, " and at most {max}");
        }
        found.push(line);
    }
    let list =
        |name: &str| pattern.properties.get(name).map(|property| property.values.clone()).unwrap_or_default();
    let (values, ranges) = (list("constraint_value"), list("constraint_range"));
    if values.is_empty() && ranges.is_empty() {
        return;
    }
    for value in &property.values {
        let in_range = |range: &String| {
            let (min, max) = range.split_once(',').unwrap_or_default();
            let number = value.parse::<i128>().ok();
            number.is_some_and(|number| {
                min.parse().is_ok_and(|min| number >= min) && max.parse().is_ok_and(|max| number <= max)
            })
        };
        if !values.contains(value) && !ranges.iter().any(in_range) {
            found.push(format!("Property \"{name}\": value \"{value}\" is out of range"));
        }
    }
}
