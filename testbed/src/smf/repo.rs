//! The service configuration repository: services, instances, property groups, the running snapshots.
//!
//! One JSON file, replaced atomically under a lock, so that readers need no lock.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::fmri::Fmri;
use super::value;

const FILE: &str = "/etc/svc/repository.db";
const LOCK: &str = "/etc/svc/volatile/repository.lock";

/// The values of a property, all of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Property {
    pub(crate) kind: String,
    pub(crate) values: Vec<String>,
}

impl Property {
    pub(crate) fn new(kind: &str, values: Vec<String>) -> anyhow::Result<Property> {
        for value in &values {
            value::check(kind, value)?;
        }
        let values = values.iter().map(|value| value::normal(kind, value)).collect();
        Ok(Property { kind: kind.to_owned(), values })
    }

    /// A property with one value that the caller has checked.
    pub(crate) fn one(kind: &str, value: impl Into<String>) -> Property {
        Property { kind: kind.to_owned(), values: vec![value.into()] }
    }
}

/// A property group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) kind: String,
    /// Flag P: not kept in snapshots, always current.
    pub(crate) nonpersistent: bool,
    pub(crate) properties: BTreeMap<String, Property>,
}

impl Group {
    pub(crate) fn new(kind: &str) -> Group {
        Group { kind: kind.to_owned(), ..Group::default() }
    }

    /// The first value of a property.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.values.first().map(String::as_str)
    }

    pub(crate) fn set(&mut self, name: &str, property: Property) {
        self.properties.insert(name.to_owned(), property);
    }
}

/// Property groups by name.
pub(crate) type Groups = BTreeMap<String, Group>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) instance: Groups,
    pub(crate) service: Groups,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) groups: Groups,
    /// The groups in the last imported manifest.
    pub(crate) last_import: Groups,
    pub(crate) running: Option<Snapshot>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) groups: Groups,
    pub(crate) last_import: Groups,
    pub(crate) instances: BTreeMap<String, Instance>,
}

/// The view of an instance's properties, as selected by the options of svcprop(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Only what is attached to the entity itself (-C).
    Direct,
    /// The properties of the instance over those of its service, at present (-c).
    Composed,
    /// The running snapshot and the current nonpersistent groups: what the service sees.
    Effective,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Repository {
    pub(crate) services: BTreeMap<String, Service>,
    /// Manifests that have been imported with SVCCFG_CHECKHASH, by path, with a hash of their content.
    #[serde(default)]
    pub(crate) hashes: BTreeMap<String, u64>,
}

impl Repository {
    pub(crate) fn read() -> anyhow::Result<Repository> {
        match fs::read(FILE) {
            Ok(data) => serde_json::from_slice(&data).context(FILE),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Repository::default()),
            Err(error) => Err(error).context(FILE),
        }
    }

    /// Reads, changes and writes the repository under the lock.
    pub(crate) fn update<T>(change: impl FnOnce(&mut Repository) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let denied = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => anyhow::anyhow!("Permission denied."),
            _ => error.into(),
        };
        let lock = File::options().create(true).truncate(false).write(true).open(LOCK).map_err(denied)?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).context(LOCK)?;
        let mut repo = Repository::read()?;
        let result = change(&mut repo)?;
        let new = Path::new(FILE).with_extension("new");
        fs::write(&new, serde_json::to_vec(&repo)?).map_err(denied)?;
        // Unprivileged methods read it, whatever the umask of the writer.
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
        fs::rename(&new, FILE)?;
        Ok(result)
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = Fmri> + '_ {
        self.services.iter().flat_map(|(name, service)| {
            service.instances.keys().map(|instance| Fmri::new(name, Some(instance)))
        })
    }

    pub(crate) fn instance(&self, fmri: &Fmri) -> Option<&Instance> {
        self.services.get(&fmri.service)?.instances.get(fmri.instance.as_ref()?)
    }

    /// The groups of a service or instance itself, to be changed.
    pub(crate) fn groups_mut(&mut self, fmri: &Fmri) -> anyhow::Result<&mut Groups> {
        let service = self.services.get_mut(&fmri.service);
        let groups = match (service, &fmri.instance) {
            (Some(service), None) => Some(&mut service.groups),
            (Some(service), Some(name)) => {
                service.instances.get_mut(name).map(|instance| &mut instance.groups)
            }
            (None, _) => None,
        };
        groups.with_context(|| format!("{fmri}: no such service or instance"))
    }

    /// The groups of a service or instance in a view; for a service all views are the same.
    pub(crate) fn view(&self, fmri: &Fmri, view: View) -> anyhow::Result<Groups> {
        let Some(service) = self.services.get(&fmri.service) else { bail!("{fmri}: no such service") };
        let Some(name) = &fmri.instance else { return Ok(service.groups.clone()) };
        let Some(instance) = service.instances.get(name) else { bail!("{fmri}: no such instance") };
        Ok(match (view, &instance.running) {
            (View::Direct, _) | (View::Effective, None) => instance.groups.clone(),
            (View::Composed, _) => compose(&instance.groups, &service.groups),
            (View::Effective, Some(running)) => {
                let mut groups = compose(&running.instance, &running.service);
                let now = compose(&instance.groups, &service.groups);
                groups.extend(now.into_iter().filter(|(_, group)| group.nonpersistent));
                groups
            }
        })
    }

    /// Takes a new running snapshot.
    pub(crate) fn refresh(&mut self, fmri: &Fmri) -> anyhow::Result<()> {
        let Some(service) = self.services.get_mut(&fmri.service) else { bail!("{fmri}: no such service") };
        let keep = |groups: &Groups| {
            groups
                .iter()
                .filter(|(_, group)| !group.nonpersistent)
                .map(|(n, g)| (n.clone(), g.clone()))
                .collect()
        };
        let groups = keep(&service.groups);
        let instance = fmri.instance.as_ref().and_then(|name| service.instances.get_mut(name));
        let instance = instance.with_context(|| format!("{fmri}: no such instance"))?;
        instance.running = Some(Snapshot { instance: keep(&instance.groups), service: groups });
        Ok(())
    }

    /// Sets a property in a nonpersistent group of an instance; these groups belong to the restarter.
    pub(crate) fn set_volatile(
        &mut self,
        fmri: &Fmri,
        group: &str,
        name: &str,
        kind: &str,
        value: Option<&str>,
    ) {
        let Ok(groups) = self.groups_mut(fmri) else { return };
        let group = groups
            .entry(group.to_owned())
            .or_insert_with(|| Group { nonpersistent: true, ..Group::new("framework") });
        match value {
            Some(value) => group.set(name, Property::one(kind, value)),
            None => _ = group.properties.remove(name),
        }
    }

    /// Whether an instance is enabled, and whether that applies only until the next boot.
    pub(crate) fn enabled(&self, fmri: &Fmri) -> (bool, bool) {
        let Ok(groups) = self.view(fmri, View::Composed) else { return (false, false) };
        let of = |group: &str| {
            groups.get(group).and_then(|group| group.get("enabled")).map(|value| value == "true")
        };
        match (of("general_ovr"), of("general")) {
            (Some(enabled), _) => (enabled, true),
            (None, enabled) => (enabled == Some(true), false),
        }
    }

    /// A property of the group `restarter`, where the restarter writes the state of an instance.
    pub(crate) fn state(&self, fmri: &Fmri, name: &str) -> Option<&str> {
        self.instance(fmri)?.groups.get("restarter")?.get(name)
    }
}

/// The groups of an instance over those of its service: each property of the instance takes precedence.
pub(crate) fn compose(instance: &Groups, service: &Groups) -> Groups {
    let mut groups = service.clone();
    for (name, group) in instance {
        let into = groups.entry(name.clone()).or_insert_with(|| Group::new(&group.kind));
        into.kind.clone_from(&group.kind);
        into.nonpersistent |= group.nonpersistent;
        into.properties.extend(group.properties.clone());
    }
    groups
}
