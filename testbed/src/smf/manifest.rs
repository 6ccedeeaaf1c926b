//! Service manifests, service_bundle(4): converts XML to property groups, by the rules of the DTD.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use roxmltree::{Document, Node, ParsingOptions};

use super::fmri::Fmri;
use super::repo::{Group, Groups, Property};
use super::template;

/// A service of a manifest.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) name: String,
    pub(crate) groups: Groups,
    pub(crate) instances: Vec<(String, Groups)>,
    /// Dependencies that this service adds to other services: the other service, the name of the group, the group.
    pub(crate) dependents: Vec<(Fmri, String, Group)>,
}

/// Reads a manifest file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Parsed>> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| name.to_string())?;
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options).with_context(|| name.to_string())?;
    let root = document.root_element();
    if root.tag_name().name() != "service_bundle" {
        bail!("{name}: not a service bundle");
    }
    if attribute(root, "type")? != "manifest" {
        bail!("{name}: not a manifest");
    }
    attribute(root, "name")?;
    let mut services = Vec::new();
    for node in elements(root) {
        match node.tag_name().name() {
            "service" => {
                let row = document.text_pos_at(node.range().start).row;
                services.push(service(node).with_context(|| format!("{name}: service in line {row}"))?);
            }
            other => bail!("{name}: element {other} is not known here"),
        }
    }
    Ok(services)
}

pub(crate) fn elements<'a, 'b>(node: Node<'a, 'b>) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(Node::is_element)
}

pub(crate) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> anyhow::Result<&'a str> {
    node.attribute(name).with_context(|| format!("element {}: no attribute {name}", node.tag_name().name()))
}

/// The content model of service and instance in the DTD: their children come in this order.
const ORDER: [&str; 13] = [
    "create_default_instance",
    "single_instance",
    "restarter",
    "dependency",
    "dependent",
    "method_context",
    "exec_method",
    "notification_parameters",
    "property_group",
    "instance",
    "stability",
    "template",
    "",
];

fn service(node: Node) -> anyhow::Result<Parsed> {
    let name = attribute(node, "name")?;
    attribute(node, "version")?.parse::<u32>().context("version")?;
    if !matches!(attribute(node, "type")?, "service" | "restarter" | "milestone") {
        bail!("type of service {name}: service, restarter or milestone");
    }
    let mut parsed = Parsed { name: name.to_owned(), ..Parsed::default() };
    for child in in_order(node)? {
        match child.tag_name().name() {
            "create_default_instance" => {
                let mut groups = Groups::new();
                general(&mut groups, "enabled", "boolean", attribute(child, "enabled")?)?;
                parsed.instances.push(("default".to_owned(), groups));
            }
            "instance" => {
                let mut groups = Groups::new();
                general(&mut groups, "enabled", "boolean", attribute(child, "enabled")?)?;
                for inner in in_order(child)? {
                    part(inner, &mut groups, &mut parsed.dependents)?;
                }
                let name = attribute(child, "name")?.to_owned();
                if parsed.instances.iter().any(|(other, _)| *other == name) {
                    bail!("instance {name} is there twice");
                }
                parsed.instances.push((name, groups));
            }
            _ => part(child, &mut parsed.groups, &mut parsed.dependents)?,
        }
    }
    let of_service = Fmri::new(name, None);
    for (_, _, group) in &mut parsed.dependents {
        group.set("entities", Property::one("fmri", of_service.to_string()));
    }
    if !parsed.groups.contains_key("tm_common_name") {
        bail!("service {name}: a manifest needs a template with a common_name");
    }
    Ok(parsed)
}

fn in_order<'a, 'b>(node: Node<'a, 'b>) -> anyhow::Result<Vec<Node<'a, 'b>>> {
    let mut last = 0;
    let children: Vec<Node> = elements(node).collect();
    for child in &children {
        let name = child.tag_name().name();
        let Some(place) = ORDER.iter().position(|known| *known == name) else {
            bail!("element {name} is not allowed in {}", node.tag_name().name());
        };
        if place < last {
            bail!("element {name} comes too late in {}", node.tag_name().name());
        }
        last = place;
    }
    Ok(children)
}

/// A child element that service and instance have in common.
fn part(node: Node, groups: &mut Groups, dependents: &mut Vec<(Fmri, String, Group)>) -> anyhow::Result<()> {
    match node.tag_name().name() {
        "single_instance" => general(groups, "single_instance", "boolean", "true")?,
        "restarter" => {
            let fmri = elements(node).next().context("restarter: no service_fmri")?;
            general(groups, "restarter", "fmri", attribute(fmri, "value")?)?;
        }
        "dependency" => {
            let mut group = Group::new("dependency");
            one_of(
                node,
                "grouping",
                &["require_all", "require_any", "exclude_all", "optional_all"],
                &mut group,
            )?;
            one_of(node, "restart_on", &["error", "restart", "refresh", "none"], &mut group)?;
            one_of(node, "type", &["service", "path"], &mut group)?;
            let mut entities = Vec::new();
            for child in elements(node) {
                match child.tag_name().name() {
                    "service_fmri" => entities.push(attribute(child, "value")?.to_owned()),
                    _ => property(child, &mut group)?,
                }
            }
            group.set("entities", Property::new("fmri", entities)?);
            insert(groups, attribute(node, "name")?, group)?;
        }
        "dependent" => {
            let mut group = Group::new("dependency");
            one_of(
                node,
                "grouping",
                &["require_all", "require_any", "exclude_all", "optional_all"],
                &mut group,
            )?;
            one_of(node, "restart_on", &["error", "restart", "refresh", "none"], &mut group)?;
            group.set("type", Property::one("astring", "service"));
            group.set("external", Property::one("boolean", "true"));
            let target = elements(node).next().context("dependent: no service_fmri")?;
            let target = Fmri::parse(attribute(target, "value")?)?;
            dependents.push((target, attribute(node, "name")?.to_owned(), group));
        }
        "method_context" => {
            let mut group = Group::new("framework");
            method_context(node, &mut group)?;
            insert(groups, "method_context", group)?;
        }
        "exec_method" => {
            let mut group = Group::new("method");
            one_of(node, "type", &["method", "monitor"], &mut group)?;
            group.set("exec", Property::one("astring", attribute(node, "exec")?));
            let timeout = attribute(node, "timeout_seconds")?;
            // -1 is the deprecated way to say 0: no limit.
            let timeout = if timeout == "-1" { "0" } else { timeout };
            group.set("timeout_seconds", Property::new("count", vec![timeout.to_owned()])?);
            for child in elements(node) {
                match child.tag_name().name() {
                    "method_context" => method_context(child, &mut group)?,
                    _ => property(child, &mut group)?,
                }
            }
            insert(groups, attribute(node, "name")?, group)?;
        }
        "property_group" => {
            let mut group = Group::new(attribute(node, "type")?);
            for child in elements(node) {
                property(child, &mut group)?;
            }
            insert(groups, attribute(node, "name")?, group)?;
        }
        "stability" => general(groups, "entity_stability", "astring", attribute(node, "value")?)?,
        "template" => template::read(node, groups)?,
        // Notifications of state changes by mail: not supported.
        _ => {}
    }
    Ok(())
}

fn insert(groups: &mut Groups, name: &str, group: Group) -> anyhow::Result<()> {
    match groups.insert(name.to_owned(), group) {
        Some(_) => bail!("property group {name} is there twice"),
        None => Ok(()),
    }
}

fn general(groups: &mut Groups, name: &str, kind: &str, value: &str) -> anyhow::Result<()> {
    let group = groups.entry("general".to_owned()).or_insert_with(|| Group::new("framework"));
    group.set(name, Property::new(kind, vec![value.to_owned()])?);
    Ok(())
}

fn one_of(node: Node, name: &str, allowed: &[&str], group: &mut Group) -> anyhow::Result<()> {
    let value = attribute(node, name)?;
    if !allowed.contains(&value) {
        bail!("{}: {name}={value}: {}", node.tag_name().name(), allowed.join(", "));
    }
    group.set(name, Property::one("astring", value));
    Ok(())
}

/// propval, property or stability in a group.
fn property(node: Node, group: &mut Group) -> anyhow::Result<()> {
    let element = node.tag_name().name();
    if element == "stability" {
        group.set("stability", Property::one("astring", attribute(node, "value")?));
        return Ok(());
    }
    let (name, kind) = (attribute(node, "name")?, attribute(node, "type")?);
    let values = match element {
        "propval" => vec![attribute(node, "value")?.to_owned()],
        "property" => {
            let mut values = Vec::new();
            for list in elements(node) {
                if list.tag_name().name() != format!("{kind}_list") {
                    bail!("property {name} of type {kind} holds a {}", list.tag_name().name());
                }
                for value in elements(list) {
                    values.push(attribute(value, "value")?.to_owned());
                }
            }
            values
        }
        other => bail!("element {other} is not allowed in a property group"),
    };
    group.set(name, Property::new(kind, values).with_context(|| format!("property {name}"))?);
    Ok(())
}

fn method_context(node: Node, group: &mut Group) -> anyhow::Result<()> {
    for name in ["working_directory", "project", "resource_pool", "security_flags"] {
        if let Some(value) = node.attribute(name) {
            group.set(name, Property::one("astring", value));
        }
    }
    for child in elements(node) {
        match child.tag_name().name() {
            "method_credential" => {
                attribute(child, "user")?;
                for name in ["user", "group", "supp_groups", "privileges", "limit_privileges"] {
                    if let Some(value) = child.attribute(name) {
                        group.set(name, Property::one("astring", value));
                    }
                }
                group.set("use_profile", Property::one("boolean", "false"));
            }
            "method_environment" => {
                let mut values = Vec::new();
                for variable in elements(child) {
                    values.push(format!(
                        "{}={}",
                        attribute(variable, "name")?,
                        attribute(variable, "value")?
                    ));
                }
                group.set("environment", Property::new("astring", values)?);
            }
            other => bail!("method_context: element {other} is not known here"),
        }
    }
    Ok(())
}
