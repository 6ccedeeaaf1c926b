//! The data in force for TLS towards servers, and loading of new data.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::core::Error;
use crate::core::upstream_tls::UpstreamTlsSettings;

use super::context::Context;
use crate::net::tls::identity::{self, Authorities, Material, reason};
use crate::net::tls::protocols::no_cipher;
use crate::net::tls::settings::Files;

/// The data loaded for one set of settings: a context for each worker.
#[derive(Debug)]
pub struct LoadedUpstream {
    pub(super) contexts: Vec<Context>,
    /// The system's authorities, if they are used.
    system: Option<Arc<Authorities>>,
}

/// TLS towards servers: the data in force.
#[derive(Debug, Default)]
pub struct UpstreamTls {
    pub(super) current: ArcSwapOption<LoadedUpstream>,
}

impl UpstreamTls {
    /// Reads and checks the files of the settings, for so many workers. Also returns messages for the administrator.
    ///
    /// # Errors
    /// All that is wrong, each with the name of the file or the setting.
    pub fn load(
        &self,
        settings: &UpstreamTlsSettings,
        workers: usize,
    ) -> Result<(LoadedUpstream, Vec<String>), Vec<Error>> {
        let (mut notices, mut errors) = (Vec::new(), Vec::new());
        let (authorities, system) = match &settings.ca {
            Some(file) => {
                let own = Authorities::load(Some(file), None).unwrap_or_else(|wrong| {
                    errors.extend(wrong.into_iter().map(|error| Error::new(error).of("server_cacert_file")));
                    Authorities::default()
                });
                (Arc::new(own), None)
            }
            None => {
                let system = self.system(settings.verifies);
                (Arc::clone(&system), Some(system))
            }
        };
        if settings.verifies && authorities.is_empty() && errors.is_empty() {
            notices.push(
                "server_cacert_file is not set and the system has no authorities: no server's certificate can be verified"
                    .into(),
            );
        }
        let files = settings.cert.clone().map(|cert| {
            let key = settings.key.clone().unwrap_or_else(|| cert.clone());
            Files { cert, keys: vec![key], ocsp: None }
        });
        if files.is_none() && settings.key.is_some() {
            notices.push("server_keyfile: has no effect: there is no server_certfile".into());
        }
        let material = files.as_ref().map(Material::read).transpose();
        let of_cert = |wrong: Vec<String>| wrong.into_iter().map(|e| Error::new(e).of("server_certfile"));
        let material = material.unwrap_or_else(|wrong| {
            errors.extend(of_cert(wrong));
            None
        });
        let mut contexts = Vec::with_capacity(workers);
        for worker in 0..workers.max(1) {
            let identity = material.as_ref().map(|material| {
                let mut identity = material.identity()?;
                identity.complete(&authorities);
                Ok(identity)
            });
            let identity = identity.transpose().unwrap_or_else(|wrong| {
                errors.extend(of_cert(wrong));
                None
            });
            if let (0, Some(identity), Some(files)) = (worker, &identity, &files) {
                notices.extend(identity.warning(files));
            }
            // Without a certificate too: the list of ciphers may be wrong as well.
            match Context::new(settings, identity.as_ref(), &authorities) {
                Ok(context) if errors.is_empty() => contexts.push(context),
                made => {
                    errors.extend(made.err().map(|refused| {
                        let of_list = no_cipher(&refused, settings.ciphers.as_deref());
                        let of_list = of_list.map(|error| error.of("server_ciphers"));
                        of_list.unwrap_or_else(|| Error::new(reason(&refused)).of("TLS to servers"))
                    }));
                    return Err(errors);
                }
            }
        }
        Ok((LoadedUpstream { contexts, system }, notices))
    }

    /// The system's authorities; those read earlier if none are found, as in a jail.
    fn system(&self, needed: bool) -> Arc<Authorities> {
        let found = if needed { Authorities::of_system() } else { Authorities::default() };
        let current = self.current.load();
        let known = current.as_ref().and_then(|current| current.system.as_ref());
        match known.filter(|_| found.is_empty()) {
            Some(known) => Arc::clone(known),
            None => Arc::new(found),
        }
    }

    /// Makes handshakes that begin from now on use `loaded`.
    pub fn install(&self, loaded: LoadedUpstream) {
        self.current.store(Some(Arc::new(loaded)));
    }
}

/// A warning for each file of the settings that a reload will not be able to read, as pen's current user.
pub fn unreadable(settings: &UpstreamTlsSettings) -> Vec<String> {
    let files = [&settings.ca, &settings.cert, &settings.key].into_iter().flatten();
    identity::unreadable(files.map(PathBuf::as_path)).collect()
}
