//! The TLS data in force, and loading of new data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext};

use crate::core::Error;

use super::cert_loader::{CertLoader, Jobs, Throttle};
use super::context::{ContextParts, Resumption};
use super::credentials::Credentials;
use super::identity::{self, Authorities, reason};
use super::ocsp::Stapling;
use super::settings::{Files, TlsSettings};
use super::sni::{Sni, SniSlot};
use super::{protocols, worker};

/// The data loaded for one set of settings.
#[derive(Debug)]
pub struct Loaded {
    settings: TlsSettings,
    /// One per worker.
    contexts: Vec<SslContext>,
    /// The OCSP responses, and when they are next checked.
    staplings: (Vec<Arc<Stapling>>, Throttle),
    sni: Option<Arc<Sni>>,
}

impl Loaded {
    /// Reads the directory of names.
    fn scan(&self) -> Result<(), Error> {
        let scan = |sni: &Arc<Sni>| sni.scan().map_err(of_directory);
        self.sni.as_ref().map_or(Ok(()), scan)
    }

    /// The state of a new connection on this worker, and the slot of its pending choice of a context, if it has one.
    pub(super) fn new_ssl(&self) -> Result<(Ssl, Option<Arc<SniSlot>>), ErrorStack> {
        let mut ssl = Ssl::new(worker::own(&self.contexts).ok_or_else(ErrorStack::get)?)?;
        let slot = self.sni.as_ref().map(|_| SniSlot::of(&mut ssl)).transpose()?;
        Ok((ssl, slot))
    }
}

/// The TLS state of a pen: the data in force, and data that survives reloads.
#[derive(Debug)]
pub struct TlsServer {
    maker: Maker,
    current: ArcSwap<Loaded>,
    jobs: Mutex<Option<Jobs>>,
}

/// The data with which all contexts are made.
#[derive(Debug)]
struct Maker {
    resumption: Resumption,
    workers: usize,
    loader: CertLoader,
}

impl TlsServer {
    /// Reads and checks all files for the first time, except the directory of names, which [`TlsServer::begin`] reads.
    /// Also returns messages for the administrator.
    ///
    /// # Errors
    /// See [`TlsServer::load`].
    pub fn new(settings: &TlsSettings, workers: usize) -> Result<(Self, Vec<String>), Vec<Error>> {
        let (loader, jobs) = CertLoader::new();
        let maker = Maker { resumption: Resumption::default(), workers, loader };
        let (loaded, notices) = maker.load(settings)?;
        let current = ArcSwap::from_pointee(loaded);
        Ok((TlsServer { maker, current, jobs: Mutex::new(Some(jobs)) }, notices))
    }

    /// Checks the files of every name, used or not.
    ///
    /// # Errors
    /// The directory of names cannot be read, or all that is wrong with the names.
    pub fn check_names(&self) -> Result<Vec<String>, Vec<Error>> {
        let current = self.current();
        current.scan().map_err(|error| vec![error])?;
        current.sni.as_ref().map_or(Ok(Vec::new()), |sni| sni.check(None).map_err(of_names))
    }

    /// The same where something else is wrong with the settings.
    ///
    /// # Errors
    /// See [`TlsServer::check_names`].
    pub fn check_names_alone(settings: &TlsSettings) -> Result<Vec<String>, Vec<Error>> {
        let Some(dir) = &settings.sni_path else { return Ok(Vec::new()) };
        Sni::look(dir).map_err(|error| vec![of_directory(error)])?;
        if Authorities::load(settings.ca.as_deref(), settings.ca_dir.as_deref()).is_err() {
            // Names may need them.
            return Ok(Vec::new());
        }
        let alone = TlsSettings { files: Vec::new(), require: false, ..settings.clone() };
        let any_cipher = || TlsServer::new(&TlsSettings { ciphers: None, ..alone.clone() }, 1);
        // What prevents that is told already.
        let server = TlsServer::new(&alone, 1).or_else(|_| any_cipher());
        server.map_or(Ok(Vec::new()), |(server, _)| server.check_names())
    }

    /// Starts to check files while pen serves. Call it when pen has its final user and root directory: the directory of
    /// names is read from there. Returns a warning for each file that a reload will not be able to read.
    ///
    /// # Errors
    /// The directory of names cannot be read, or the system cannot create a thread.
    pub fn begin(&self) -> Result<Vec<String>, Error> {
        let current = self.current();
        current.scan()?;
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(jobs) = jobs {
            super::cert_loader::start(jobs).map_err(|e| Error::failed("a thread for TLS files", e))?;
        }
        let settings = &current.settings;
        let files = settings.files.iter().flat_map(Files::all);
        let files = files.chain([&settings.ca, &settings.ca_dir].into_iter().flatten().map(PathBuf::as_path));
        let files: BTreeSet<&Path> = files.collect();
        let unreadable = identity::unreadable(files);
        Ok(unreadable.chain(current.sni.iter().flat_map(|sni| sni.passed_over())).collect())
    }

    /// Reads and checks all files again, those of names only if clients have requested them. Also returns messages for
    /// the administrator.
    ///
    /// # Errors
    /// All that is wrong, each with the name of its file or setting.
    pub fn load(&self, settings: &TlsSettings) -> Result<(Loaded, Vec<String>), Vec<Error>> {
        let (loaded, mut notices) = self.maker.load(settings).map_err(|mut wrong| {
            wrong.extend(settings.sni_path.as_deref().and_then(|dir| Sni::look(dir).err()).map(of_directory));
            wrong
        })?;
        loaded.scan().map_err(|error| vec![error])?;
        if let (Some(sni), Some(before)) = (&loaded.sni, &self.current().sni) {
            notices.extend(sni.check(Some(before)).map_err(of_names)?);
        }
        Ok((loaded, notices))
    }

    /// Makes handshakes that begin from now on use `loaded`.
    pub fn install(&self, loaded: Loaded) {
        self.current.store(Arc::new(loaded));
    }

    /// The data in force; also has its OCSP responses checked regularly.
    pub(super) fn current(&self) -> Guard<Arc<Loaded>> {
        let current = self.current.load();
        let (staplings, looks) = &current.staplings;
        if !staplings.is_empty() && looks.is_due() {
            let staplings = staplings.clone();
            self.maker.loader.ask(move |_| staplings.iter().for_each(|stapling| stapling.refresh()));
        }
        current
    }
}

impl Maker {
    fn load(&self, settings: &TlsSettings) -> Result<(Loaded, Vec<String>), Vec<Error>> {
        let mut errors = Vec::new();
        let authorities = Authorities::load(settings.ca.as_deref(), settings.ca_dir.as_deref());
        let authorities = authorities.map_err(|wrong| errors.extend(all(wrong))).ok();
        let known = authorities.is_some();
        let authorities = authorities.unwrap_or_default();
        if settings.require && known && authorities.is_empty() {
            let why = "no client could be verified without certificates in ssl_cacert_file (-G), or under hashed \
                       names in ssl_cacert_dir (-A)";
            errors.push(Error::new(why).of("ssl_require_client_cert (-R)"));
        }
        let authorities = Arc::new(authorities);
        let sni = settings.sni_path.clone().map(|dir| {
            Arc::new(Sni::new(dir, settings, &authorities, &self.resumption, &self.loader, self.workers))
        });
        let read = Credentials::read(&settings.files, known.then_some(&authorities));
        let (credentials, mut notices) = read.unwrap_or_else(|wrong| {
            errors.extend(all(wrong));
            Default::default()
        });
        let mut contexts = Vec::with_capacity(self.workers);
        for worker in 0..self.workers.max(1) {
            let parts = ContextParts {
                settings,
                credentials: &credentials.make(&authorities).map_err(all)?,
                authorities: &authorities,
                resumption: &self.resumption,
                name: "",
            };
            // Without certificates too: the list of ciphers may be wrong as well.
            let mut context = match super::context::build(&parts) {
                Ok(context) if errors.is_empty() => context,
                built => {
                    errors.extend(built.err().map(|e| refusal(settings, &e)));
                    return Err(errors);
                }
            };
            if let Some(sni) = &sni {
                let sni = Arc::clone(sni);
                context.set_client_hello_callback(move |ssl, _| sni.choose(ssl));
            }
            let context = context.build();
            if worker == 0 {
                notices.extend(super::context::notice_of_old_protocols(&context, settings));
            }
            contexts.push(context);
        }
        let staplings = (credentials.staplings(), Throttle::new());
        Ok((Loaded { settings: settings.clone(), contexts, staplings, sni }, notices))
    }
}

fn of_directory(error: String) -> Error {
    Error::new(error).of("ssl_sni_path")
}

/// What is wrong with the files of names, which have no setting of their own.
fn of_names(wrong: Vec<String>) -> Vec<Error> {
    wrong.into_iter().map(|error| Error::new(error).about("ssl_sni_path")).collect()
}

fn all(wrong: Vec<String>) -> Vec<Error> {
    wrong.into_iter().map(Error::new).collect()
}

/// The error for settings that OpenSSL rejects.
fn refusal(settings: &TlsSettings, errors: &ErrorStack) -> Error {
    let of_list = protocols::no_cipher(errors, settings.ciphers.as_deref());
    of_list.map(|error| error.of("ssl_ciphers")).unwrap_or_else(|| {
        let certs = settings.files.iter().map(|files| files.cert.display().to_string());
        Error::new(format!("{}: {}", certs.collect::<Vec<_>>().join(", "), reason(errors)))
    })
}
