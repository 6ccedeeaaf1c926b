//! Dependencies of an instance, and why one is not satisfied.

use std::path::Path;

use super::super::fmri::Fmri;
use super::super::repo::{Group, Repository, View};

/// A dependency that keeps an instance offline.
pub(crate) struct Blocked {
    /// The entity it waits for.
    pub(crate) entity: String,
    /// Absent, disabled, maintenance, offline ...
    pub(crate) state: String,
    pub(crate) exclude: bool,
}

/// The state of a dependency's target: for a service the best state of its instances, `absent` if there is none.
pub(crate) fn state(repo: &Repository, entity: &str) -> String {
    if let Some(path) = entity.strip_prefix("file://localhost").or_else(|| entity.strip_prefix("file:")) {
        return if Path::new(path).exists() { "online" } else { "absent" }.to_owned();
    }
    let Ok(fmri) = Fmri::parse(entity) else { return "invalid".to_owned() };
    let known = repo
        .instances()
        .filter(|other| *other == fmri || (fmri.instance.is_none() && other.of_service() == fmri));
    let states: Vec<&str> =
        known.map(|instance| repo.state(&instance, "state").unwrap_or("uninitialized")).collect();
    let best = ["online", "degraded", "offline", "uninitialized", "maintenance", "disabled"];
    let best = best.into_iter().find(|state| states.contains(state));
    best.unwrap_or("absent").to_owned()
}

/// The dependencies of an instance: name and group.
pub(crate) fn of(repo: &Repository, fmri: &Fmri) -> Vec<(String, Group)> {
    let groups = repo.view(fmri, View::Effective).unwrap_or_default();
    groups.into_iter().filter(|(_, group)| group.kind == "dependency").collect()
}

/// The first dependency that is not satisfied.
pub(crate) fn blocked(repo: &Repository, fmri: &Fmri) -> Option<Blocked> {
    of(repo, fmri).iter().find_map(|(_, group)| unsatisfied(repo, group))
}

fn unsatisfied(repo: &Repository, group: &Group) -> Option<Blocked> {
    let entities =
        group.properties.get("entities").map(|property| property.values.clone()).unwrap_or_default();
    let states: Vec<(String, String)> =
        entities.into_iter().map(|entity| (entity.clone(), state(repo, &entity))).collect();
    let runs = |state: &str| matches!(state, "online" | "degraded");
    let grouping = group.get("grouping").unwrap_or("require_all");
    let wrong = |state: &str| match grouping {
        // Also satisfied if they cannot come online.
        "optional_all" => matches!(state, "offline" | "uninitialized"),
        "exclude_all" => runs(state),
        _ => !runs(state),
    };
    if grouping == "require_any" && states.iter().any(|(_, state)| runs(state)) {
        return None;
    }
    let (entity, state) = states.into_iter().find(|(_, state)| wrong(state))?;
    Some(Blocked { entity, state, exclude: grouping == "exclude_all" })
}
