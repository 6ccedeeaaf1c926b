//! The instance for an installation: a new one, or one that is overwritten.

use super::Root;
use super::admin::Admin;
use super::params::Params;
use crate::cli;

/// The existing state of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Nothing: a new instance.
    Nothing,
    /// The same version for the same processor: its files are merged, and its record is kept.
    Same,
    /// Another version or processor: its record is moved away, and removed at the end.
    Other,
}

/// An installed instance: its name, and whether its version and processor are those to install.
struct Installed {
    name: String,
    same_arch: bool,
    same: bool,
}

/// Chooses an instance as pkgadd(1M) does, by the parameter instance of admin(4) and MAXINST of pkginfo(4), which is 1
/// by default.
pub(crate) fn choose(root: &Root, info: &Params, admin: &Admin) -> anyhow::Result<(String, Existing)> {
    let package = info.get("PKG").unwrap_or_default();
    let installed = installed(root, info, package)?;
    let Some(first) = installed.first() else { return Ok((package.to_owned(), Existing::Nothing)) };
    let setting = admin.get("instance");
    if matches!(setting, "quit" | "newonly") {
        return Err(cli::exit(4, format!("ERROR: <{package}> is installed already")));
    }
    if let Some(same) = installed.iter().find(|old| old.same) {
        println!(
            "\nThis appears to be an attempt to install the same architecture and\nversion of a package which \
             is already installed.  This installation\nwill attempt to overwrite this package."
        );
        return Ok((same.name.clone(), Existing::Same));
    }
    let room = info.get("MAXINST").and_then(|text| text.parse().ok()).unwrap_or(1) > installed.len();
    match setting {
        "overwrite" => {
            let mut candidates = installed.iter().filter(|old| installed.len() == 1 || old.same_arch);
            match (candidates.next(), candidates.next()) {
                (Some(old), None) => Ok((old.name.clone(), Existing::Other)),
                _ => Err(cli::exit(4, format!("ERROR: there is more than one instance of <{package}>"))),
            }
        }
        "unique" if room => Ok((next(package, &installed), Existing::Nothing)),
        "unique" => Err(cli::exit(
            4,
            format!(
                "ERROR: another version of <{package}> is installed, and no more instances may be (MAXINST): \
                 remove it, or use an admin file with instance=overwrite"
            ),
        )),
        _ => {
            let problem = format!("<{package}> is installed already.");
            if room && admin.ask(&problem, "Do you want to create a new instance of this package").is_ok() {
                return Ok((next(package, &installed), Existing::Nothing));
            }
            admin.ask(&problem, "Do you want to overwrite this installed instance")?;
            Ok((first.name.clone(), Existing::Other))
        }
    }
}

/// The installed instances: PKG itself, and PKG.2 and so on.
fn installed(root: &Root, info: &Params, package: &str) -> anyhow::Result<Vec<Installed>> {
    let mut found = Vec::new();
    for name in root.packages()? {
        if name != package && !name.strip_prefix(package).is_some_and(|rest| rest.starts_with('.')) {
            continue;
        }
        let old = Params::read(&root.package(&name).join("pkginfo"))?;
        let same_arch = old.get("ARCH") == info.get("ARCH");
        let same = same_arch && old.get("VERSION") == info.get("VERSION");
        found.push(Installed { name, same_arch, same });
    }
    Ok(found)
}

/// The name for a further instance.
fn next(package: &str, installed: &[Installed]) -> String {
    let names = (2..).map(|number| format!("{package}.{number}"));
    let taken = |name: &String| installed.iter().any(|old| old.name == *name);
    names.into_iter().find(|name| !taken(name)).unwrap_or_default()
}
