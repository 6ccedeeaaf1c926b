//! svccfg(1M).

mod entity;
mod props;

use std::io::{self, BufRead};
use std::path::Path;

use anyhow::{Context, bail};
use lexopt::prelude::*;

use super::fmri::Fmri;
use super::lex::{Token, split};
use super::repo::{Group, Groups, Repository, View};
use super::startd::broker::delegate;
use super::{auth, door, manifest};
use crate::cli;
use entity::{delete_hash, import_file};

const USAGE: &str = "usage: svccfg [-v] [-s FMRI] [-f file | subcommand [args...]]";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    if let Some(status) = delegate("svccfg")? {
        return Ok(status);
    }
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
            ("delhash", ["-d", file] | [file]) => delete_hash(file)?,
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
                auth::action(&Repository::read()?, &fmri)?;
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
            ("setprop", [name, "=", rest @ ..]) => self.setprop(name, rest, false)?,
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

    fn entity(&self) -> anyhow::Result<Fmri> {
        self.selected.clone().context("An entity must be selected (-s FMRI)")
    }

    fn instance(&self) -> anyhow::Result<Fmri> {
        self.entity()?.clone().instance_or_error()
    }

    /// Changes the groups of the selection; the second argument are those of its service, with the templates.
    fn change<T>(&self, change: impl FnOnce(&mut Groups, &Groups) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let fmri = self.entity()?;
        let result = Repository::update(|repo| {
            let composed = repo.view(&fmri, View::Composed)?;
            let groups = repo.groups_mut(&fmri)?;
            let old = groups.clone();
            let result = change(groups, &composed)?;
            auth::change(&old, groups, &composed)?;
            Ok(result)
        })?;
        door::tell(&format!("changed {fmri}"));
        Ok(result)
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
