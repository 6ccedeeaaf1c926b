//! Subcommands on property groups and properties.

use anyhow::{Context, bail};

use super::super::repo::{Group, Property, Repository, View};
use super::super::{template, value};
use super::Session;

impl Session {
    pub(super) fn listprop(&self, pattern: Option<&&str>, properties: bool) -> anyhow::Result<()> {
        let pattern = pattern.map(|pattern| glob::Pattern::new(pattern)).transpose()?;
        let shown = |name: &str| pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
        let mut rows = Vec::new();
        for (name, group) in Repository::read()?.view(&self.entity()?, View::Direct)? {
            if shown(&name) {
                let flags = if group.nonpersistent { "NONPERSISTENT" } else { "" };
                rows.push((name.clone(), group.kind.clone(), flags.to_owned()));
            }
            for (property, Property { kind, values }) in group.properties.iter().filter(|_| properties) {
                let full = format!("{name}/{property}");
                if shown(&full) || (pattern.is_some() && shown(&name)) {
                    let values: Vec<String> = values.iter().map(|value| value::for_svccfg(value)).collect();
                    rows.push((full, kind.clone(), values.join(" ")));
                }
            }
        }
        let width =
            |column: fn(&(String, String, String)) -> usize| rows.iter().map(column).max().unwrap_or(0);
        let (names, kinds) = (width(|row| row.0.len()), width(|row| row.1.len()));
        for (name, kind, values) in &rows {
            println!("{}", format!("{name:names$}  {kind:kinds$}  {values}").trim_end());
        }
        Ok(())
    }

    /// `describe [-v] [-t] [pg[/property]]`: values of application groups with their descriptions from the templates.
    pub(super) fn describe(&self, words: &[&str]) -> anyhow::Result<()> {
        let wanted = words.iter().find(|word| !word.starts_with('-')).copied();
        let groups = Repository::read()?.view(&self.entity()?, View::Composed)?;
        if words.iter().any(|word| word.starts_with('-') && word.contains('t')) {
            // The properties that may be set, without values.
            for (pg, name, kind, text) in template::properties(&groups) {
                let full = format!("{pg}/{name}");
                if wanted.is_none_or(|wanted| wanted == pg || wanted == full) {
                    println!("{}", format!("{full}  {kind}\n    {text}").trim_end());
                }
            }
            return Ok(());
        }
        for (name, group) in groups.iter().filter(|(name, _)| !name.starts_with("tm_")) {
            if wanted.is_none_or(|wanted| wanted == name) {
                println!("{name}  {}", group.kind);
            }
            for (property, Property { kind, values }) in &group.properties {
                let full = format!("{name}/{property}");
                if wanted.is_none_or(|wanted| wanted == name || wanted == full) {
                    let values: Vec<String> = values.iter().map(|value| value::for_svccfg(value)).collect();
                    println!("{}", format!("{full}  {kind}  {}", values.join(" ")).trim_end());
                    if let Some(text) = template::description(&groups, name, property) {
                        println!("    {text}");
                    }
                }
            }
        }
        Ok(())
    }

    /// `setprop pg/name = [type:] value | (value...)` and `addpropvalue pg/name [type:] value`.
    pub(super) fn setprop(&self, name: &str, rest: &[&str], append: bool) -> anyhow::Result<()> {
        let (pg, property) = name.split_once('/').context("pg/name is expected")?;
        let (kind, rest) = match rest {
            [kind, rest @ ..] if kind.strip_suffix(':').is_some_and(value::is_type) => {
                (Some(kind.trim_end_matches(':')), rest)
            }
            _ => (None, rest),
        };
        let values: Vec<String> = match rest {
            ["(", values @ .., ")"] if !append => values.iter().map(|value| (*value).to_owned()).collect(),
            [value] if !matches!(*value, "(" | ")" | "=") => vec![(*value).to_owned()],
            _ => bail!(
                "syntax error: {name} = [type:] value, or (value...); quote what holds a space, ( ) = or >"
            ),
        };
        self.change(|groups, composed| {
            if !groups.contains_key(pg) {
                // The type as in the service, or as a template describes it.
                let of_service = composed.get(pg).map(|group| group.kind.as_str());
                let kind = of_service.or_else(|| template::type_of(composed, pg, None));
                let kind = kind
                    .with_context(|| format!("No such property group \"{pg}\" (addpg {pg} application)"))?;
                groups.insert(pg.to_owned(), Group::new(kind));
            }
            let group = groups.get_mut(pg).context("no group")?;
            let old = group.properties.get(property);
            if let (Some(old), Some(kind)) = (old, kind)
                && old.kind != kind
            {
                bail!("Property \"{name}\" has type {}, not {kind}", old.kind);
            }
            let inherited = composed.get(pg).and_then(|group| group.properties.get(property));
            let known = old.or(inherited).map(|property| property.kind.as_str());
            let known = kind.or(known).or_else(|| template::type_of(composed, pg, Some(property)));
            let kind =
                known.with_context(|| format!("Type required for new properties ({name} = type: value)"))?;
            let mut all = old.filter(|_| append).map(|old| old.values.clone()).unwrap_or_default();
            all.extend(values);
            let new = Property::new(kind, all).with_context(|| name.to_owned())?;
            group.set(property, new);
            Ok(())
        })
    }

    pub(super) fn setenv(&self, name: &str, value: Option<&str>) -> anyhow::Result<()> {
        self.change(|groups, composed| {
            let place = if composed.contains_key("start") { "start" } else { "method_context" };
            let old = composed.get(place).and_then(|group| group.properties.get("environment"));
            let mut values = old.map(|old| old.values.clone()).unwrap_or_default();
            values.retain(|entry| entry.split_once('=').is_none_or(|(key, _)| key != name));
            values.extend(value.map(|value| format!("{name}={value}")));
            let kind = if place == "start" { "method" } else { "framework" };
            let group = groups.entry(place.to_owned()).or_insert_with(|| Group::new(kind));
            group.set("environment", Property { kind: "astring".into(), values });
            Ok(())
        })
    }
}
