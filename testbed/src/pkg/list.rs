//! pkginfo(1).

use std::path::PathBuf;

use lexopt::prelude::*;

use super::contents::Contents;
use super::params::Params;
use super::source::Source;
use super::{PARTIAL, Root};
use crate::cli;

const USAGE: &str = "usage: pkginfo [-q | -x | -l] [-d device] [-R root] [pkginst...]";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let (mut style, mut root, mut device, mut names) = (' ', None, None, Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short(letter @ ('q' | 'x' | 'l')) => style = letter,
            Short('R') => root = Some(PathBuf::from(args.value()?)),
            Short('d') => device = Some(PathBuf::from(args.value()?)),
            Value(name) => names.push(name.string()?),
            _ => return Err(cli::exit(2, USAGE)),
        }
    }
    let root = Root::new(root)?;
    let source = device.map(|device| Source::open(&device)).transpose()?;
    let known = match &source {
        Some(source) => source.packages.clone(),
        None => root.packages()?,
    };
    let chosen: Vec<String> = match names.is_empty() {
        true => known.clone(),
        false => names.iter().map(|name| name.trim_end_matches(".*").to_owned()).collect(),
    };
    let contents = Contents::read(&root)?;
    let mut missing = false;
    for name in &chosen {
        if !known.contains(name) {
            missing = true;
            if style != 'q' {
                eprintln!("ERROR: information for \"{name}\" was not found");
            }
            continue;
        }
        let dir = source.as_ref().map_or_else(|| root.package(name), |source| source.dir.join(name));
        let info = Params::read(&dir.join("pkginfo"))?;
        let get = |param: &str| info.get(param).unwrap_or_default();
        match style {
            'q' => {}
            'x' => println!("{name:<15} {}\n{:<15} ({}) {}", get("NAME"), "", get("ARCH"), get("VERSION")),
            'l' => {
                println!("{:>10}:  {name}", "PKGINST");
                for param in [
                    "NAME", "CATEGORY", "ARCH", "VERSION", "BASEDIR", "VENDOR", "DESC", "PSTAMP", "INSTDATE",
                    "HOTLINE",
                ] {
                    if let Some(value) = info.get(param) {
                        println!("{param:>10}:  {value}");
                    }
                }
                if source.is_some() {
                    println!("{:>10}:  spooled", "STATUS");
                } else {
                    let partial = dir.join(PARTIAL).exists();
                    println!(
                        "{:>10}:  {} installed",
                        "STATUS",
                        if partial { "partially" } else { "completely" }
                    );
                    files(&contents, name);
                }
                println!();
            }
            _ => println!(
                "{:<11} {name:<15} {}",
                get("CATEGORY").split(',').next().unwrap_or_default(),
                get("NAME")
            ),
        }
    }
    Ok(u8::from(missing))
}

/// The counts at the end of the long listing.
fn files(contents: &Contents, package: &str) {
    let (mut paths, mut shared, mut dirs, mut executables, mut blocks) = (0, 0, 0, 0, 0);
    for owned in contents.of(package) {
        paths += 1;
        shared += usize::from(owned.packages.len() > 1);
        dirs += usize::from(owned.entry.is_dir());
        let mode = owned.entry.attributes.as_ref().and_then(|attributes| attributes.mode).unwrap_or(0);
        executables += usize::from(owned.entry.is_file() && mode & 0o111 != 0);
        blocks += owned.entry.content.map_or(0, |content| content.size.div_ceil(512));
    }
    let lines = [
        (paths, "installed pathnames"),
        (shared, "shared pathnames"),
        (dirs, "directories"),
        (executables, "executables"),
    ];
    let mut label = "FILES:";
    for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
        println!("{label:>11}  {count:>7} {what}");
        label = "";
    }
    println!("{:>11}  {blocks:>7} blocks used (approx)", "");
}
