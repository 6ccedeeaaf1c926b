//! TLS towards clients.
//!
//! Whoever owns the configuration reads and checks files ([`Server::load`]) and puts the result in force as a whole
//! ([`Server::install`]); handshakes that are in progress end with what they began with. Each worker has contexts of its
//! own, since one that all share costs a tenth more, made of the same files and with the same ticket keys, so that a
//! client resumes its session on any worker.

mod context;
mod handshake;
mod identity;
mod ocsp;
mod sessions;
mod settings;
mod stamp;
mod tickets;

use std::cell::Cell;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext};

use context::{Parts, Resumption};
use identity::{Authorities, Material, at, reason};
use ocsp::Stapling;

pub(super) use handshake::notes as notes_of;
pub use handshake::{Handshake, accept};
pub use settings::{Settings, notices};

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Says which worker this thread is, so that it gets its own contexts.
pub fn this_is_worker(number: usize) {
    WORKER.set(number);
}

/// What has been loaded for one set of settings.
#[derive(Debug)]
pub struct Loaded {
    /// One a worker.
    contexts: Vec<SslContext>,
    stapling: Option<Arc<Stapling>>,
}

impl Loaded {
    /// The state of a new connection on this worker.
    fn new_ssl(&self) -> Result<Ssl, ErrorStack> {
        let worker = WORKER.get() % self.contexts.len().max(1);
        self.contexts.get(worker).map_or_else(|| Err(ErrorStack::get()), |context| Ssl::new(context))
    }
}

/// TLS of a pen: what is in force, and what outlives a reload.
#[derive(Debug)]
pub struct Server {
    resumption: Resumption,
    workers: usize,
    current: ArcSwap<Loaded>,
}

impl Server {
    /// Reads and checks all files for the first time. Also gives what the administrator should know, a line each.
    ///
    /// # Errors
    /// As [`Server::load`].
    pub fn new(settings: &Settings, workers: usize) -> Result<(Self, Vec<String>), String> {
        let resumption = Resumption::default();
        let (loaded, notices) = load(settings, &resumption, workers)?;
        Ok((Server { resumption, workers, current: ArcSwap::from_pointee(loaded) }, notices))
    }

    /// Reads and checks all files again. Also gives what the administrator should know, a line each.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn load(&self, settings: &Settings) -> Result<(Loaded, Vec<String>), String> {
        load(settings, &self.resumption, self.workers)
    }

    /// Lets handshakes that begin from now on use `loaded`.
    pub fn install(&self, loaded: Loaded) {
        self.current.store(Arc::new(loaded));
    }

    fn current(&self) -> Guard<Arc<Loaded>> {
        self.current.load()
    }
}

fn load(
    settings: &Settings,
    resumption: &Resumption,
    workers: usize,
) -> Result<(Loaded, Vec<String>), String> {
    let authorities = Authorities::load(settings.files.ca.as_deref(), settings.ca_dir.as_deref())?;
    if settings.require && authorities.is_empty() {
        return Err(
            "ssl_require_client_cert (-R): no client could be verified without ssl_cacert_file (-G) or ssl_cacert_dir (-A)"
                .into(),
        );
    }
    let material = Material::read(&settings.files)?;
    let mut notices = Vec::new();
    let mut stapling = None;
    let mut contexts = Vec::with_capacity(workers.max(1));
    for worker in 0..workers.max(1) {
        let mut identity = material.identity()?;
        identity.complete(&authorities);
        if worker == 0 {
            notices.extend(identity.warning(&settings.files));
            if let Some(path) = &settings.files.ocsp {
                let (loaded, warning) = Stapling::load(path, &identity, &authorities)?;
                notices.extend(warning);
                stapling = Some(Arc::new(loaded));
            }
        }
        let parts = Parts {
            settings,
            identity: &identity,
            authorities: &authorities,
            stapling: stapling.as_ref(),
            resumption,
            name: "",
        };
        let context = context::build(&parts).map_err(|e| match &settings.ciphers {
            Some(list) if is_about_ciphers(&e) => format!("ssl_ciphers: OpenSSL knows no cipher of '{list}'"),
            _ => at(&settings.files.cert, reason(&e)),
        })?;
        contexts.push(context.build());
    }
    Ok((Loaded { contexts, stapling }, notices))
}

/// SSL_R_NO_CIPHER_MATCH of `openssl/sslerr.h`.
fn is_about_ciphers(errors: &ErrorStack) -> bool {
    errors.errors().iter().any(|e| e.reason_code() == 185)
}
