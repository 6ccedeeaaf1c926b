//! OCSP stapling (RFC 6066 8): a response from a file is sent to clients with the certificate as long as it is valid.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::ocsp::{OcspBasicResponse, OcspCertId, OcspCertStatus, OcspResponse, OcspResponseStatus};

use crate::sys::log;

use super::file_stamp::Stamp;
use super::identity::{Authorities, Identity, at, read, reason};

/// The maximum difference between the clocks of pen and of the responder, in seconds.
const SKEW: u32 = 300;
/// The maximum age of a response without an end of validity, in seconds: a week.
const AGE_MAX: u32 = 7 * 24 * 3600;

/// A response, and the index of its ID.
struct Staple {
    der: Vec<u8>,
    basic: OcspBasicResponse,
    id: usize,
}

/// The response of one certificate, read again when its file changes.
pub(super) struct Stapling {
    path: PathBuf,
    /// The certificate's IDs in responses: by SHA-1, which nearly all responders use, or by SHA-256.
    ids: [OcspCertId; 2],
    current: ArcSwapOption<Staple>,
    seen: Mutex<Stamp>,
}

impl fmt::Debug for Stapling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stapling({})", self.path.display())
    }
}

impl Stapling {
    /// Reads the response for a certificate. Also returns a warning if it must not be sent at present.
    ///
    /// # Errors
    /// The file cannot be read or is not a response about this certificate; the issuer cannot be found.
    pub(super) fn load(
        path: &Path,
        identity: &Identity,
        authorities: &Authorities,
    ) -> Result<(Self, Option<String>), String> {
        let Some(issuer) = identity.issuer(authorities) else {
            return Err(at(path, "cannot be checked: the certificate's issuer is not in the file with it"));
        };
        let id = |digest| OcspCertId::from_cert(digest, &identity.leaf, issuer);
        let ids = [id(MessageDigest::sha1()), id(MessageDigest::sha256())].into_iter();
        let ids: Vec<OcspCertId> = ids.collect::<Result<_, _>>().map_err(|e| at(path, reason(&e)))?;
        let ids = ids.try_into().map_err(|_| at(path, "OpenSSL gives no id"))?;
        let seen = Mutex::new(Stamp::of([path]));
        let stapling = Stapling { path: path.to_owned(), ids, current: ArcSwapOption::empty(), seen };
        let staple = stapling.parse(read(path)?).map_err(|e| at(path, e))?;
        let warning = stapling.check(&staple).err().map(|e| at(path, e));
        stapling.current.store(Some(Arc::new(staple)));
        Ok((stapling, warning))
    }

    /// Whether the file contains a response, whatever it is about.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(super) fn look(path: &Path) -> Result<(), String> {
        OcspResponse::from_der(&read(path)?).map(drop).map_err(|e| at(path, damaged(e)))
    }

    fn parse(&self, der: Vec<u8>) -> Result<Staple, String> {
        let response = OcspResponse::from_der(&der).map_err(damaged)?;
        if response.status() != OcspResponseStatus::SUCCESSFUL {
            return Err("the responder has refused to answer".into());
        }
        let basic = response.basic().map_err(damaged)?;
        match self.ids.iter().position(|id| basic.find_status(id).is_some()) {
            Some(id) => Ok(Staple { der, basic, id }),
            None => Err("the OCSP response is not about the certificate".into()),
        }
    }

    /// Whether it may be sent to clients now.
    fn check(&self, staple: &Staple) -> Result<(), String> {
        let status = self.ids.get(staple.id).and_then(|id| staple.basic.find_status(id));
        let status = status.ok_or("the OCSP response is not about the certificate")?;
        if status.status != OcspCertStatus::GOOD {
            return Err("the OCSP response does not say that the certificate is good".into());
        }
        let age = if status.next_update().is_none() { Some(AGE_MAX) } else { None };
        let validity = status.check_validity(SKEW, age);
        validity.map_err(|e| format!("the OCSP response is not valid now: {}", reason(&e)))
    }

    /// Passes the response to `staple` if one is valid now; returns whether it did.
    pub(super) fn with_valid<E>(&self, staple: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<bool, E> {
        match &*self.current.load() {
            Some(current) if self.check(current).is_ok() => staple(&current.der).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Reads the file again if it has changed. An invalid one changes nothing and is reported once.
    pub(super) fn refresh(&self) {
        let stamp = Stamp::of([self.path.as_path()]);
        // A panic elsewhere leaves the stamp unchanged.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == stamp {
            return;
        }
        *seen = stamp;
        let loaded = read(&self.path).and_then(|der| self.parse(der).map_err(|e| at(&self.path, e)));
        match loaded {
            Ok(staple) => {
                if let Err(reason) = self.check(&staple) {
                    log::warn(format_args!("{}: {reason}", self.path.display()));
                }
                self.current.store(Some(Arc::new(staple)));
                log::info(format_args!("{}: new OCSP response", self.path.display()));
            }
            Err(error) => log::warn(format_args!("{error}; the old OCSP response stays in use")),
        }
    }
}

/// That a file is none, since the library could not read it.
fn damaged(errors: ErrorStack) -> String {
    format!("is no OCSP response in DER form: {}", reason(&errors))
}
