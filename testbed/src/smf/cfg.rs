//! svccfg(1M).

use std::io::{self, BufRead};
use std::path::Path;

use anyhow::{Context, bail};
use lexopt::prelude::*;

use super::fmri::{Fmri, entity};
use super::lex::{Token, split};
use super::repo::{Group, Groups, Instance, Property, Repository, View};
use super::{door, import, manifest, template, value};
use crate::cli;

const USAGE: &str = "usage: svccfg [-v] [-s FMRI] [-f file | subcommand [args...]]";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let (mut selected, mut file, mut line) = (None, None, String::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short('v') => {}
            Short('s') => selected = Some(args.value()?.string()?),
            Short('f') => file = Some(args.value()?.string()?),
            Value(word) => {
                // The subcommand has options of its own.
                line = word.string()?;
                for word in args.raw_args()? {
                    line.push(' ');
                    line.push_str(&word.string()?);
                }
            }
            _ => return Err(cli::exit(2, USAGE)),
        }
    }
    let mut session = Session { selected: None };
    if let Some(operand) = selected {
        session.select(&operand)?;
    }
    if !line.is_empty() {
        session.run(&line)?;
        return Ok(0);
    }
    let input: Box<dyn BufRead> = match file.as_deref() {
        None | Some("-") => Box::new(io::stdin().lock()),
        Some(file) => {
            Box::new(io::BufReader::new(std::fs::File::open(file).with_context(|| file.to_owned())?))
        }
    };
    let mut status = 0;
    for (number, line) in (1..).zip(input.lines()) {
        match session.run(&line?) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                eprintln!("svccfg: line {number}: {error:#}");
                status = 1;
            }
        }
    }
    Ok(status)
}

struct Session {
    selected: Option<Fmri>,
}

impl Session {
    /// Runs one subcommand; false when it ends the session.
    fn run(&mut self, line: &str) -> anyhow::Result<bool> {
        if line.trim_start().starts_with('#') {
            return Ok(true);
        }
        let tokens = split(line)?;
        let Some((Token::Word(command), tokens)) = tokens.split_first() else {
            return if tokens.is_empty() { Ok(true) } else { bail!("syntax error") };
        };
        let words: Vec<&str> = tokens
            .iter()
            .map(|token| match token {
                Token::Word(word) => word.as_str(),
                Token::Open => "(",
                Token::Close => ")",
                Token::Equals => "=",
            })
            .collect();
        match (command.as_str(), words.as_slice()) {
            ("end" | "exit" | "quit", []) => return Ok(false),
            ("select", [operand]) => self.select(operand)?,
            ("unselect", []) => {
                self.selected = self.selected.take().filter(|f| f.instance.is_some()).map(|f| f.of_service())
            }
            ("import", ["-V", file]) => import_file(file, true)?,
            ("import", [file]) => import_file(file, false)?,
            ("inventory", [file]) => {
                for service in manifest::read(Path::new(file))? {
                    for (instance, _) in &service.instances {
                        println!("{}", Fmri::new(&service.name, Some(instance)));
                    }
                    println!("{}", Fmri::new(&service.name, None));
                }
            }
            ("validate", operands) => self.validate(operands)?,
            ("add", [name]) => self.add(name)?,
            ("delete", ["-f", operand]) => self.delete(operand, true)?,
            ("delete", [operand]) => self.delete(operand, false)?,
            ("list", []) => self.list()?,
            ("listpg", pattern @ ([] | [_])) => self.listprop(pattern.first(), false)?,
            ("listprop", pattern @ ([] | [_])) => self.listprop(pattern.first(), true)?,
            ("describe", rest) => self.describe(rest)?,
            ("listsnap", []) => {
                let fmri = self.instance()?;
                if Repository::read()?.instance(&fmri).is_some_and(|instance| instance.running.is_some()) {
                    println!("running");
                }
            }
            ("refresh", []) => {
                let fmri = self.instance()?;
                Repository::update(|repo| repo.refresh(&fmri))?;
                door::tell(&format!("refresh {fmri}"));
            }
            ("addpg", [name, kind, flags @ ..]) => self.change(|groups, _| {
                let nonpersistent = flags.iter().any(|flags| flags.contains(['p', 'P']));
                if groups.contains_key(*name) {
                    bail!("Property group \"{name}\" already exists");
                }
                groups.insert((*name).to_owned(), Group { nonpersistent, ..Group::new(kind) });
                Ok(())
            })?,
            ("delpg", [name]) => self.change(|groups, _| {
                groups.remove(*name).map(drop).with_context(|| format!("No such property group \"{name}\""))
            })?,
            ("delprop", [name]) => self.change(|groups, _| match name.split_once('/') {
                None => groups
                    .remove(*name)
                    .map(drop)
                    .with_context(|| format!("No such property group \"{name}\"")),
                Some((pg, property)) => groups
                    .get_mut(pg)
                    .and_then(|group| group.properties.remove(property))
                    .map(drop)
                    .with_context(|| format!("No such property \"{name}\"")),
            })?,
            ("setprop", [name, "=", rest @ ..] | [name, rest @ ..]) => self.setprop(name, rest, false)?,
            ("addpropvalue", [name, rest @ ..]) => self.setprop(name, rest, true)?,
            ("delpropvalue", [name, pattern]) => {
                let pattern = glob::Pattern::new(pattern)?;
                self.change(|groups, _| {
                    let (pg, property) = name.split_once('/').context("pg/name is expected")?;
                    let property = groups.get_mut(pg).and_then(|group| group.properties.get_mut(property));
                    let property = property.with_context(|| format!("No such property \"{name}\""))?;
                    property.values.retain(|value| !pattern.matches(value));
                    Ok(())
                })?;
            }
            ("setenv", [name, value]) => self.setenv(name, Some(value))?,
            ("setenv", ["-m", _, ..]) => bail!("setenv -m is not known here"),
            ("unsetenv", [name]) => self.setenv(name, None)?,
            _ => bail!("syntax error, or a subcommand that is not known here: {line}"),
        }
        Ok(true)
    }

    fn select(&mut self, operand: &str) -> anyhow::Result<()> {
        let repo = Repository::read()?;
        let child = self.selected.as_ref().filter(|fmri| fmri.instance.is_none()).and_then(|service| {
            let fmri = Fmri::new(&service.service, Some(operand));
            repo.instance(&fmri).map(|_| fmri)
        });
        self.selected = Some(child.map_or_else(|| entity(&repo, operand), Ok)?);
        Ok(())
    }

    fn entity(&self) -> anyhow::Result<Fmri> {
        self.selected.clone().context("An entity must be selected (-s FMRI)")
    }

    fn instance(&self) -> anyhow::Result<Fmri> {
        self.entity()?.clone().instance_or_error()
    }

    /// Changes the groups of the selection; the second argument is what its service and templates say.
    fn change<T>(&self, change: impl FnOnce(&mut Groups, &Groups) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let fmri = self.entity()?;
        let result = Repository::update(|repo| {
            let composed = repo.view(&fmri, View::Composed)?;
            change(repo.groups_mut(&fmri)?, &composed)
        })?;
        door::tell(&format!("changed {fmri}"));
        Ok(result)
    }

    fn add(&self, name: &str) -> anyhow::Result<()> {
        let good = |letter: char| letter.is_ascii_alphanumeric() || "_-.,".contains(letter);
        let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && name.chars().all(|c| good(c) || c == '/');
        if !is_name || (self.selected.is_some() && name.contains('/')) {
            bail!("\"{name}\" is not a valid name");
        }
        Repository::update(|repo| match &self.selected {
            None => match repo.services.contains_key(name) {
                true => bail!("svc:/{name} already exists"),
                false => {
                    repo.services.entry(name.to_owned()).or_default();
                    Ok(())
                }
            },
            Some(fmri @ Fmri { instance: Some(_), .. }) => bail!("{fmri}: an instance has no children"),
            Some(fmri) => {
                let service = repo.services.get_mut(&fmri.service).context("no such service")?;
                if service.instances.contains_key(name) {
                    bail!("{fmri}:{name} already exists");
                }
                service.instances.insert(name.to_owned(), Instance::default());
                Ok(())
            }
        })
    }

    fn delete(&self, operand: &str, force: bool) -> anyhow::Result<()> {
        let repo = Repository::read()?;
        let child = self.selected.as_ref().map(|fmri| Fmri::new(&fmri.service, Some(operand)));
        let fmri = match child.filter(|fmri| repo.instance(fmri).is_some()) {
            Some(fmri) => fmri,
            None => entity(&repo, operand)?,
        };
        let all: Vec<Fmri> =
            repo.instances().filter(|other| *other == fmri || other.of_service() == fmri).collect();
        for instance in &all {
            if matches!(repo.state(instance, "state"), Some("online" | "degraded")) && !force {
                bail!("Instance \"{instance}\" is online: disable it first, or delete -f");
            }
        }
        Repository::update(|repo| {
            match (&fmri.instance, repo.services.get_mut(&fmri.service)) {
                (Some(name), Some(service)) => _ = service.instances.remove(name),
                _ => _ = repo.services.remove(&fmri.service),
            }
            Ok(())
        })?;
        for instance in all {
            door::tell(&format!("delete {instance}"));
        }
        Ok(())
    }

    fn list(&self) -> anyhow::Result<()> {
        let repo = Repository::read()?;
        match &self.selected {
            None => repo.services.keys().for_each(|name| println!("{name}")),
            Some(fmri) => {
                println!(":properties");
                let service = repo.services.get(&fmri.service).filter(|_| fmri.instance.is_none());
                service
                    .into_iter()
                    .flat_map(|service| service.instances.keys())
                    .for_each(|name| println!("{name}"));
            }
        }
        Ok(())
    }

    fn listprop(&self, pattern: Option<&&str>, properties: bool) -> anyhow::Result<()> {
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

    /// `describe [-v] [-t] [pg[/property]]`: values of application groups with what the templates say of them.
    fn describe(&self, words: &[&str]) -> anyhow::Result<()> {
        let wanted = words.iter().find(|word| !word.starts_with('-')).copied();
        let groups = Repository::read()?.view(&self.entity()?, View::Composed)?;
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

    fn validate(&self, operands: &[&str]) -> anyhow::Result<()> {
        let found = match operands {
            [file] if Path::new(file).exists() => import::violations(&manifest::read(Path::new(file))?),
            [] | [_] => {
                let repo = Repository::read()?;
                let fmri =
                    operands.first().map_or_else(|| self.entity(), |operand| entity(&repo, operand))?;
                template::violations(&repo.view(&fmri.instance_or_error()?, View::Effective)?)
            }
            _ => bail!("validate [file | fmri]"),
        };
        match found.as_slice() {
            [] => Ok(()),
            lines => bail!("{}", lines.join("\nsvccfg: ")),
        }
    }

    /// `setprop pg/name = [type:] value | (value...)` and `addpropvalue pg/name [type:] value`.
    fn setprop(&self, name: &str, rest: &[&str], append: bool) -> anyhow::Result<()> {
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
                // As the service has it, or as a template describes it.
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

    fn setenv(&self, name: &str, value: Option<&str>) -> anyhow::Result<()> {
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

impl Fmri {
    fn instance_or_error(self) -> anyhow::Result<Fmri> {
        match self.instance {
            Some(_) => Ok(self),
            None => bail!("{self} is a service, an instance must be selected"),
        }
    }
}

fn import_file(file: &str, strict: bool) -> anyhow::Result<()> {
    let imported = Repository::update(|repo| import::import(repo, Path::new(file), strict))?;
    for warning in imported.warnings {
        eprintln!("svccfg: warning: {warning}");
    }
    for fmri in imported.instances {
        door::tell(&format!("refresh {fmri}"));
    }
    Ok(())
}
