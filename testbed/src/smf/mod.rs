//! The service management facility: the repository, the commands on it, and a restarter.

pub(crate) mod auth;
pub(crate) mod cfg;
pub(crate) mod door;
pub(crate) mod explain;
pub(crate) mod fmri;
pub(crate) mod import;
pub(crate) mod lex;
pub(crate) mod manifest;
pub(crate) mod process;
pub(crate) mod repo;
pub(crate) mod startd;
pub(crate) mod svcadm;
pub(crate) mod svcprop;
pub(crate) mod svcs;
pub(crate) mod template;
pub(crate) mod value;

/// The restarter that all services of a testbed have.
pub(crate) const RESTARTER: &str = "svc:/system/svc/restarter:default";

use fmri::Fmri;
use repo::Repository;

/// Adds the dependencies of an instance, direct or indirect, for `svcadm enable -r`.
pub(crate) fn depend_of(repo: &Repository, fmri: &Fmri, all: &mut Vec<Fmri>) {
    for needed in svcs::needs(repo, fmri) {
        if !all.contains(&needed) {
            all.push(needed.clone());
            depend_of(repo, &needed, all);
        }
    }
}
