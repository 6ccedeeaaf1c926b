//! Merges a manifest into the repository, as `svccfg import` does: changes by the administrator are kept.

use std::path::Path;

use anyhow::bail;

use super::fmri::Fmri;
use super::manifest::{self, Parsed};
use super::repo::{Groups, Repository, compose};
use super::template;

/// The result of an import.
pub(crate) struct Imported {
    pub(crate) instances: Vec<Fmri>,
    pub(crate) warnings: Vec<String>,
}

/// Imports a manifest; with `strict` (-V), violated templates stop it.
pub(crate) fn import(repo: &mut Repository, path: &Path, strict: bool) -> anyhow::Result<Imported> {
    let parsed = manifest::read(path)?;
    let mut warnings = violations(&parsed);
    if strict && !warnings.is_empty() {
        bail!("{}: {}", path.display(), warnings.join("; "));
    }
    let mut instances = Vec::new();
    for Parsed { name, groups, instances: given, dependents } in parsed {
        let service = repo.services.entry(name.clone()).or_default();
        let of_service = Fmri::new(&name, None);
        merge(&of_service, &mut service.groups, &service.last_import, &groups, &mut warnings);
        service.last_import = groups;
        for (instance_name, groups) in given {
            let fmri = Fmri::new(&name, Some(&instance_name));
            let instance = service.instances.entry(instance_name).or_default();
            merge(&fmri, &mut instance.groups, &instance.last_import, &groups, &mut warnings);
            instance.last_import = groups;
        }
        // Changes in the service also affect instances that the administrator added.
        instances.extend(service.instances.keys().map(|instance| Fmri::new(&name, Some(instance))));
        for (target, group_name, group) in dependents {
            if let Ok(groups) = repo.groups_mut(&target) {
                groups.insert(group_name, group);
            }
        }
    }
    for fmri in &instances {
        repo.refresh(fmri)?;
    }
    Ok(Imported { instances, warnings })
}

/// The violations of a manifest's own templates.
pub(crate) fn violations(parsed: &[Parsed]) -> Vec<String> {
    let mut found = Vec::new();
    for service in parsed {
        for (name, groups) in &service.instances {
            let fmri = Fmri::new(&service.name, Some(name));
            let lines = template::violations(&compose(groups, &service.groups));
            found.extend(lines.into_iter().map(|line| format!("{fmri}: {line}")));
        }
    }
    found
}

/// Updates groups from the last imported manifest to the new one, property by property.
fn merge(fmri: &Fmri, current: &mut Groups, last: &Groups, new: &Groups, warnings: &mut Vec<String>) {
    let find = |groups: &Groups, group: &str, name: &str| {
        groups.get(group).and_then(|group| group.properties.get(name)).cloned()
    };
    for (group_name, group) in new {
        if last.contains_key(group_name) && !current.contains_key(group_name) {
            // The administrator deleted it.
            continue;
        }
        let known = current.contains_key(group_name);
        let into = current.entry(group_name.clone()).or_insert_with(|| group.clone());
        if !known {
            continue;
        }
        for (name, property) in &group.properties {
            let (now, before) = (into.properties.get(name).cloned(), find(last, group_name, name));
            let theirs = group_name == "general" && matches!(name.as_str(), "enabled" | "restarter");
            if now.as_ref() == Some(property)
                || (theirs && now.is_some())
                || before.as_ref() == Some(property)
            {
                continue;
            }
            if now == before {
                into.set(name, property.clone());
            } else {
                warnings.push(format!(
                    "{fmri}: \"{group_name}/{name}\" was changed by the administrator and is kept"
                ));
            }
        }
    }
    for (group_name, group) in last {
        let gone_group = !new.contains_key(group_name);
        let Some(into) = current.get_mut(group_name) else { continue };
        for (name, property) in &group.properties {
            if find(new, group_name, name).is_none() && into.properties.get(name) == Some(property) {
                into.properties.remove(name);
            }
        }
        if gone_group && into.properties.is_empty() {
            current.remove(group_name);
        }
    }
}
