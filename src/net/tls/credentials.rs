//! The certificates of one name, or of a pen: one, or several with different kinds of keys, of which each client gets
//! one that it can verify. Each has its own chain and its own OCSP response.

use std::path::PathBuf;
use std::sync::Arc;

use super::identity::{Authorities, Identity, Material, at};
use super::ocsp::Stapling;
use super::settings::Files;

/// A certificate with its key, and the response to staple to it.
pub(super) struct Credential {
    pub(super) identity: Identity,
    pub(super) stapling: Option<Arc<Stapling>>,
}

/// The contents of the certificates' files, for the contexts of all workers.
pub(super) struct Credentials(Vec<(Material, Option<Arc<Stapling>>)>);

impl Credentials {
    /// Reads and checks the files. Also returns messages for the administrator.
    ///
    /// # Errors
    /// The error, with the name of the file.
    pub(super) fn read(files: &[Files], authorities: &Authorities) -> Result<(Self, Vec<String>), String> {
        let mut notices = Vec::new();
        let mut found = Vec::with_capacity(files.len());
        let mut kinds = Vec::new();
        // The last one of several of a kind counts, as in OpenSSL.
        for files in files.iter().rev() {
            let material = Material::read(files)?;
            let identity = material.identity()?;
            let kind = identity.key.id();
            if kinds.contains(&kind) {
                let why = "has no effect: there is another certificate whose key is of the same kind";
                notices.push(at(&files.cert, why));
                continue;
            }
            kinds.push(kind);
            notices.extend(identity.warning(files));
            found.push((material, identity, files));
        }
        found.reverse();
        let staplings = staple(&found, authorities, &mut notices)?;
        let parts = found.into_iter().zip(staplings).map(|((material, ..), stapling)| (material, stapling));
        Ok((Credentials(parts.collect()), notices))
    }

    /// Creates objects from them. Each call creates new ones, so that workers share no reference counts.
    ///
    /// # Errors
    /// See [`Material::identity`].
    pub(super) fn make(&self, authorities: &Authorities) -> Result<Vec<Credential>, String> {
        let one = |(material, stapling): &(Material, Option<Arc<Stapling>>)| {
            let mut identity = material.identity()?;
            identity.complete(authorities);
            Ok(Credential { identity, stapling: stapling.clone() })
        };
        self.0.iter().map(one).collect()
    }

    /// The responses that are stapled.
    pub(super) fn staplings(&self) -> Vec<Arc<Stapling>> {
        self.0.iter().filter_map(|(_, stapling)| stapling.clone()).collect()
    }
}

/// Reads the OCSP response of each certificate. Several certificates may share one file: it is then about one of them.
fn staple(
    found: &[(Material, Identity, &Files)],
    authorities: &Authorities,
    notices: &mut Vec<String>,
) -> Result<Vec<Option<Arc<Stapling>>>, String> {
    let mut staplings = Vec::with_capacity(found.len());
    let mut error = None;
    for (_, identity, files) in found {
        let loaded = files.ocsp.as_deref().map(|path| Stapling::load(path, identity, authorities));
        staplings.push(match loaded {
            None => None,
            Some(Ok((stapling, warning))) => {
                notices.extend(warning);
                Some(Arc::new(stapling))
            }
            Some(Err(why)) => {
                let others = found.iter().filter(|(_, _, other)| other.ocsp == files.ocsp).count();
                if others == 1 {
                    return Err(why);
                }
                error = Some((why, &files.ocsp));
                None
            }
        });
    }
    let fits = |path: &Option<PathBuf>| {
        found.iter().zip(&staplings).any(|((.., files), s)| files.ocsp == *path && s.is_some())
    };
    match error {
        Some((why, path)) if !fits(path) => Err(why),
        _ => Ok(staplings),
    }
}
