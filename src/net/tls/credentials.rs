//! The certificates of one name, or of a pen: one, or several with different kinds of keys, of which each client gets
//! one that it can verify. Each has its own chain and its own OCSP response.

use std::collections::BTreeMap;
use std::path::Path;
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
#[derive(Default)]
pub(super) struct Credentials(Vec<(Material, Option<Arc<Stapling>>)>);

impl Credentials {
    /// Reads and checks the files; `None` if the authorities could not be read. Also returns messages for the administrator.
    ///
    /// # Errors
    /// All that is wrong, each with the name of the file.
    pub(super) fn read(
        files: &[Files],
        authorities: Option<&Authorities>,
    ) -> Result<(Self, Vec<String>), Vec<String>> {
        let (mut notices, mut errors) = (Vec::new(), Vec::new());
        let mut found = Vec::with_capacity(files.len());
        let mut kinds = Vec::new();
        // The last one of several of a kind counts, as in OpenSSL.
        for files in files.iter().rev() {
            let read = Material::read(files).and_then(|material| Ok((material.identity()?, material)));
            let (identity, material) = match read {
                Ok(read) => read,
                Err(wrong) => {
                    // Without the certificate, no more can be told of its response.
                    let ocsp = files.ocsp.as_deref().and_then(|path| Stapling::look(path).err());
                    // Certificates may share a file.
                    let news = wrong.into_iter().chain(ocsp).filter(|error| !errors.contains(error));
                    let news: Vec<String> = news.collect();
                    errors.splice(..0, news);
                    continue;
                }
            };
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
        let (staplings, wrong) = staple(&found, authorities, &mut notices);
        // A response may be about a certificate that could not be read.
        let is_known = |path: &Path| found.iter().filter(|(.., f)| f.ocsp.as_deref() == Some(path)).count();
        let is_named = |path: &Path| files.iter().filter(|f| f.ocsp.as_deref() == Some(path)).count();
        let all_read = errors.is_empty();
        let wrong = wrong.into_iter().filter(|(path, _)| all_read || is_known(path) == is_named(path));
        errors.extend(wrong.map(|(_, why)| why));
        if !errors.is_empty() {
            return Err(errors);
        }
        let parts = found.into_iter().zip(staplings).map(|((material, ..), stapling)| (material, stapling));
        Ok((Credentials(parts.collect()), notices))
    }

    /// Creates objects from them. Each call creates new ones, so that workers share no reference counts.
    ///
    /// # Errors
    /// See [`Material::identity`].
    pub(super) fn make(&self, authorities: &Authorities) -> Result<Vec<Credential>, Vec<String>> {
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

/// Reads the OCSP response of each certificate. Several certificates may share one file: it is then about one of them. Also returns
/// what is wrong with each file.
fn staple<'a>(
    found: &[(Material, Identity, &'a Files)],
    authorities: Option<&Authorities>,
    notices: &mut Vec<String>,
) -> (Vec<Option<Arc<Stapling>>>, BTreeMap<&'a Path, String>) {
    let mut staplings = Vec::with_capacity(found.len());
    let mut errors = BTreeMap::new();
    let none = Authorities::default();
    let known = authorities.unwrap_or(&none);
    for (_, identity, files) in found {
        // The issuer may be among the authorities that could not be read.
        let may_be_checked = authorities.is_some() || identity.issuer(known).is_some();
        let Some(path) = files.ocsp.as_deref() else {
            staplings.push(None);
            continue;
        };
        if !may_be_checked {
            errors.extend(Stapling::look(path).err().map(|why| (path, why)));
            staplings.push(None);
            continue;
        }
        staplings.push(match Stapling::load(path, identity, known) {
            Ok((stapling, warning)) => {
                notices.extend(warning);
                Some(Arc::new(stapling))
            }
            Err(why) => {
                errors.insert(path, why);
                None
            }
        });
    }
    let fits = |path: &Path| {
        let mut all = found.iter().zip(&staplings);
        all.any(|((.., files), stapling)| files.ocsp.as_deref() == Some(path) && stapling.is_some())
    };
    errors.retain(|path, _| !fits(path));
    (staplings, errors)
}
