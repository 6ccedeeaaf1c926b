//! Authorizations for changes: smf_security(5) with the databases of rbac(5).
//!
//! Only root can write the repository. Another user's svcadm or svccfg has the restarter run the command for it
//! (see `startd::broker`); that run knows its caller and asks here before each change.

use std::fs;
use std::path::Path;

use anyhow::bail;
use nix::unistd::{Uid, User};

use super::fmri::Fmri;
use super::repo::{Groups, Repository, View};

/// The variable that passes the user to a command that runs for another user.
pub(crate) const CALLER: &str = "TESTBED_CALLER";

/// The user that a command runs for; `None` for root.
fn caller() -> Option<Uid> {
    let uid = std::env::var(CALLER).ok()?.parse().ok()?;
    Some(Uid::from_raw(uid)).filter(|uid| !uid.is_root())
}

/// Refuses unless the caller has one of the authorizations.
fn need(wanted: &[&str]) -> anyhow::Result<()> {
    let Some(uid) = caller() else { return Ok(()) };
    let name = User::from_uid(uid)?.map(|user| user.name).unwrap_or_default();
    let granted = authorizations(&name);
    let has = |wanted: &str| {
        granted
            .iter()
            .any(|auth| auth == wanted || auth.strip_suffix('*').is_some_and(|stem| wanted.starts_with(stem)))
    };
    match wanted.iter().any(|wanted| has(wanted)) {
        true => Ok(()),
        false => bail!("Permission denied."),
    }
}

/// The authorizations of a user in user_attr(4), directly and through the rights profiles of prof_attr(4).
fn authorizations(user: &str) -> Vec<String> {
    let mut granted = Vec::new();
    for attributes in entries("/etc/user_attr", user) {
        granted.extend(list(&attributes, "auths"));
        let mut profiles = list(&attributes, "profiles");
        while let Some(profile) = profiles.pop() {
            for attributes in entries("/etc/security/prof_attr", &profile) {
                granted.extend(list(&attributes, "auths"));
                profiles.extend(list(&attributes, "profiles").into_iter().filter(|inner| *inner != profile));
            }
        }
    }
    granted
}

/// On a system with this script, only it reads the fragments in the directories `.d`, and merges them.
const MERGE: &str = "/usr/sadm/install/scripts/i.rbac";

/// The last field of the lines about `name` in a database, and in the fragments of its directory `.d` if the system
/// reads these.
fn entries(database: &str, name: &str) -> Vec<String> {
    let fragments = match Path::new(MERGE).exists() {
        true => None,
        false => fs::read_dir(format!("{database}.d")).ok(),
    };
    let fragments = fragments.into_iter().flatten().flatten().map(|entry| entry.path());
    let files = std::iter::once(database.into()).chain(fragments);
    let text: String =
        files.map(|file: std::path::PathBuf| fs::read_to_string(file).unwrap_or_default()).collect();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.splitn(5, ':').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.first() == Some(&name))
        .filter_map(|fields| Some((*fields.get(4)?).to_owned()))
        .collect()
}

/// The values of `key` in `key=value,value;key=...`.
fn list(attributes: &str, key: &str) -> Vec<String> {
    let values =
        attributes.split(';').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name == key);
    values.flat_map(|(_, values)| values.split(',')).map(str::to_owned).collect()
}

/// Requires the authorization to add or delete services and instances.
pub(crate) fn structure() -> anyhow::Result<()> {
    need(&["solaris.smf.modify"])
}

/// Requires the authorization to restart, refresh or clear; the service's own authorization suffices.
pub(crate) fn action(repo: &Repository, fmri: &Fmri) -> anyhow::Result<()> {
    let groups = repo.view(fmri, View::Composed).unwrap_or_default();
    let mut wanted = vec!["solaris.smf.manage"];
    let general = groups.get("general").and_then(|group| group.properties.get("action_authorization"));
    wanted.extend(general.into_iter().flat_map(|property| &property.values).map(String::as_str));
    need(&wanted)
}

/// Requires the authorization to change the groups of an entity from `old` to `new`; `composed` is the old state
/// combined with the groups of the service.
pub(crate) fn change(old: &Groups, new: &Groups, composed: &Groups) -> anyhow::Result<()> {
    for name in old.keys().chain(new.keys()) {
        let (before, after) = (old.get(name), new.get(name));
        if before == after {
            continue;
        }
        let Some(kind) = after.or(before).map(|group| group.kind.as_str()) else { continue };
        let of_kind = format!("solaris.smf.modify.{kind}");
        let mut wanted = vec!["solaris.smf.modify"];
        if matches!(kind, "method" | "dependency" | "application" | "framework") {
            wanted.push(&of_kind);
        }
        let own = |property: &str| {
            let property = composed.get(name).and_then(|group| group.properties.get(property));
            property.into_iter().flat_map(|property| &property.values).map(String::as_str)
        };
        if let (Some(before), Some(after)) = (before, after) {
            wanted.extend(own("modify_authorization"));
            // Only values change: no property is added, removed or given another type.
            let shape = |properties: &std::collections::BTreeMap<String, super::repo::Property>| {
                properties
                    .iter()
                    .map(|(name, property)| (name.clone(), property.kind.clone()))
                    .collect::<Vec<_>>()
            };
            let guard = |group: &super::repo::Group| group.properties.get("modify_authorization").cloned();
            if shape(&before.properties) == shape(&after.properties) && guard(before) == guard(after) {
                wanted.extend(own("value_authorization"));
            }
        }
        need(&wanted)?;
    }
    Ok(())
}
