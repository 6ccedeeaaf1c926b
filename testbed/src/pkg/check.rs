//! pkgchk(1M).

use std::path::PathBuf;

use lexopt::prelude::*;

use super::Root;
use super::contents::{Contents, Owned};
use super::verify;
use crate::cli;

const USAGE: &str = "usage: pkgchk [-l | -acfnqv] [-p path...] [-R root] [pkginst...]";
/// The exit status of pkgchk when anything differs.
const DIFFERS: u8 = 99;

#[derive(Default)]
struct Options {
    attributes_only: bool,
    contents_only: bool,
    fix: bool,
    /// -n: do not check the contents of volatile and editable files.
    skip_editable: bool,
    quiet: bool,
    list: bool,
    verbose: bool,
}

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let (mut options, mut root) = (Options::default(), None);
    let (mut paths, mut names) = (Vec::new(), Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short('a') => options.attributes_only = true,
            Short('c') => options.contents_only = true,
            Short('f') => options.fix = true,
            Short('n') => options.skip_editable = true,
            Short('q') => options.quiet = true,
            Short('l') => options.list = true,
            Short('v') => options.verbose = true,
            Short('p') => {
                let list = args.value()?.string()?;
                paths.extend(list.split([',', ' ']).map(str::to_owned));
            }
            Short('R') => root = Some(PathBuf::from(args.value()?)),
            Value(name) => names.push(name.string()?),
            _ => return Err(cli::exit(2, USAGE)),
        }
    }
    let root = Root::new(root)?;
    let contents = Contents::read(&root)?;
    let known = root.packages()?;
    let mut status = 0;
    for name in &names {
        if !known.contains(name) {
            eprintln!("WARNING: no pathnames were associated with <{name}>");
            status = 1;
        }
    }
    for path in &paths {
        if !contents.paths.contains_key(path) {
            eprintln!("WARNING: no information associated with pathname <{path}>");
            status = 1;
        }
    }
    for owned in contents.paths.values() {
        let of_package = names.is_empty() || owned.packages.iter().any(|package| names.contains(package));
        if !of_package || !(paths.is_empty() || paths.contains(&owned.entry.path)) {
            continue;
        }
        if options.list {
            list(owned);
        } else if !check(owned, &root, &options)? {
            status = DIFFERS;
        }
    }
    Ok(status)
}

/// Checks one object; false when it still differs.
fn check(owned: &Owned, root: &Root, options: &Options) -> anyhow::Result<bool> {
    let entry = &owned.entry;
    let path = root.join(&entry.path);
    if options.verbose {
        println!("{}", entry.path);
    }
    let editable = matches!(entry.kind, 'e' | 'v');
    let contents = !(options.attributes_only || options.skip_editable && editable);
    if options.fix {
        if entry.is_dir() && !path.exists() {
            std::fs::create_dir_all(&path)?;
        }
        if path.exists() {
            verify::set_attributes(entry, &path)?;
        }
    }
    let mut found = verify::differences(entry, &path, contents, !options.contents_only);
    if options.quiet {
        found.retain(|difference| difference != "pathname does not exist");
    }
    if found.is_empty() {
        return Ok(true);
    }
    eprintln!("ERROR: {}", path.display());
    for difference in found {
        eprintln!("    {difference}");
    }
    Ok(false)
}

fn list(owned: &Owned) {
    let entry = &owned.entry;
    println!("Pathname: {}", entry.path);
    let kind = match entry.kind {
        'd' | 'x' => "directory",
        's' => "symbolic link",
        'l' => "linked file",
        'e' => "editted file",
        'v' => "volatile file",
        _ => "regular file",
    };
    println!("Type: {kind}");
    if let Some(target) = &entry.target {
        println!("Source of link: {target}");
    }
    if let Some(attributes) = &entry.attributes {
        if let Some(mode) = attributes.mode {
            println!("Expected mode: {mode:04o}");
        }
        println!("Expected owner: {}\nExpected group: {}", attributes.owner, attributes.group);
    }
    if let Some(content) = entry.content {
        println!(
            "Expected file size (bytes): {}\nExpected sum(1) of contents: {}",
            content.size, content.sum
        );
    }
    println!("Referenced by the following packages:\n        {}", owned.packages.join(" "));
    println!("Current status: installed\n");
}
