//! pkgadd(1M): the command line, the menu, and one installation after the other.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use lexopt::prelude::*;

use super::Root;
use super::admin::Admin;
use super::install::Installation;
use super::source::Source;
use crate::cli;

const USAGE: &str = "usage: pkgadd [-nv] [-a admin] [-G] [[-M] -R root_path] [-d device] [pkginst...]";
const SPOOL: &str = "/var/spool/pkg";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let (mut device, mut admin, mut root) = (PathBuf::from(SPOOL), None, None);
    let (mut interactive, mut trace, mut names) = (true, false, Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short('n') => interactive = false,
            Short('v') => trace = true,
            // Only this zone, and no vfstab of a client: the stand-in does nothing else anyway.
            Short('G' | 'M') => {}
            Short('a') => admin = Some(args.value()?.string()?),
            Short('d') => device = PathBuf::from(args.value()?),
            Short('R') => root = Some(PathBuf::from(args.value()?)),
            Value(name) => names.push(name.string()?),
            _ => return Err(cli::exit(2, USAGE)),
        }
    }
    let root = Root::new(root)?;
    let admin = Admin::read(admin.as_deref(), interactive)?;
    let source = Source::open(&device)?;
    if names.is_empty() {
        names = menu(&source, interactive)?;
    }
    let mut worst = 0;
    for name in source.select(&names)? {
        println!("\nProcessing package instance <{name}> from <{}>", device.display());
        let prepared = Installation::prepare(source.dir.join(&name), &root, &admin, trace);
        let installation = prepared.inspect_err(|_| {
            println!("\nInstallation of <{name}> failed.\nNo changes were made to the system.");
        })?;
        let instance = installation.instance().to_owned();
        match installation.install(&admin) {
            Ok(0) => println!("\nInstallation of <{instance}> was successful."),
            Ok(status @ (10 | 20)) => {
                println!("\nInstallation of <{instance}> was successful.");
                println!("*** IMPORTANT NOTICE *** reboot (status {status})");
                worst = worst.max(status);
            }
            Ok(status) => {
                println!("\nInstallation of <{instance}> partially failed.");
                worst = worst.max(status);
            }
            Err(error) => {
                println!("\nInstallation of <{instance}> failed.");
                return Err(error);
            }
        }
    }
    Ok(worst)
}

/// The menu that pkgadd(1M) shows when no package is named.
fn menu(source: &Source, interactive: bool) -> anyhow::Result<Vec<String>> {
    if !interactive {
        return Err(cli::exit(1, "ERROR: no package names a package instance, and -n allows no question"));
    }
    println!("\nThe following packages are available:");
    for (number, name) in (1..).zip(&source.packages) {
        println!("  {number}  {name}");
    }
    print!(
        "\nSelect package(s) you wish to process (or 'all' to process\nall packages). (default: all) [?,??,q]: "
    );
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "" | "all" => Ok(vec!["all".into()]),
        "q" => Err(cli::exit(3, "")),
        answer => answer
            .split([',', ' '])
            .map(|number| {
                let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                index.and_then(|index| source.packages.get(index)).cloned().context("no such choice")
            })
            .collect(),
    }
}
