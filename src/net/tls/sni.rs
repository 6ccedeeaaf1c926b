//! Certificates by server name: the context with which a handshake continues.
//!
//! The choice is made right after the ClientHello, since OpenSSL resumes sessions before it calls back for the server
//! name: a session is thus looked up under the name that the client requests. If files have to be read first, the
//! handshake stops and its task waits for the [loader](super::cert_loader).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use openssl::error::ErrorStack;
use openssl::ex_data::Index as ExIndex;
use openssl::ssl::{ClientHelloResponse, Ssl, SslContext, SslRef};
use tokio::sync::oneshot;

use crate::sys::log;
use crate::sys::tls::{made_once, server_name_extension};

use super::cert_index::{CertFiles, Good, Index, host_name};
use super::cert_loader::{CertLoader, LOOK, Made, Reported, Throttle};
use super::context::{self, ContextParts, Resumption};
use super::context_cache::{self, Set};
use super::credentials::Credentials;
use super::file_stamp::Stamp;
use super::identity::{Authorities, reason};
use super::settings::TlsSettings;

/// The names of one set of settings.
#[derive(Debug)]
pub(super) struct Sni {
    set: Set,
    dir: PathBuf,
    settings: TlsSettings,
    /// For names without their own authorities.
    authorities: Arc<Authorities>,
    resumption: Resumption,
    index: ArcSwap<Index>,
    /// The state of the directory when it was indexed, once the index is certain to be complete.
    seen: Mutex<Option<Stamp>>,
    scans: Throttle,
    loader: CertLoader,
}

impl Sni {
    /// Has no names before the first [`Sni::scan`].
    pub(super) fn new(
        dir: PathBuf,
        settings: &TlsSettings,
        authorities: &Arc<Authorities>,
        resumption: &Resumption,
        loader: &CertLoader,
        workers: usize,
    ) -> Self {
        Sni {
            set: Set::new(workers),
            dir,
            settings: settings.clone(),
            authorities: Arc::clone(authorities),
            resumption: resumption.clone(),
            index: ArcSwap::default(),
            seen: Mutex::default(),
            scans: Throttle::new(),
            loader: loader.clone(),
        }
    }

    /// Reads the directory again if it has changed.
    ///
    /// # Errors
    /// See [`Index::scan`]; the previous index is kept.
    pub(super) fn scan(&self) -> Result<(), String> {
        let stamp = Stamp::of([self.dir.as_path()]);
        // No code that holds this lock can panic.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref() == Some(&stamp) {
            return Ok(());
        }
        let index = Index::scan(&self.dir, &self.index.load())?;
        *seen = stamp.is_settled().then_some(stamp);
        self.index.store(Arc::new(index));
        Ok(())
    }

    /// Whether the directory of names can be read.
    ///
    /// # Errors
    /// See [`Index::scan`].
    pub(super) fn look(dir: &Path) -> Result<(), String> {
        Index::scan(dir, &Index::default()).map(drop)
    }

    /// The files of the directory that serve no name, each with the reason.
    pub(super) fn passed_over(&self) -> Vec<String> {
        let index = self.index.load();
        let mut all = index.passed_over.clone();
        all.extend(index.entries().flat_map(|entry| entry.unusable()));
        all.sort();
        all
    }

    /// Checks the files of all names, or only of those that clients have used under `before`.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(super) fn check(&self, before: Option<&Sni>) -> Result<Vec<String>, Vec<String>> {
        let (index, before) = (self.index.load(), before.map(|sni| sni.index.load()));
        let (mut notices, mut errors) = (index.passed_over.clone(), Vec::new());
        for entry in index.entries() {
            let in_use = |before: &Index| before.get(&entry.name).is_some_and(|e| e.last_good().is_some());
            if before.as_ref().is_none_or(|before| in_use(before)) {
                let read = self.read(entry);
                match read.and_then(|(good, told)| self.context(entry, &good).map(|_| (good, told))) {
                    Ok((good, told)) => {
                        entry.is_good(&Arc::new(good));
                        notices.extend(told);
                    }
                    Err(wrong) => errors.extend(wrong),
                }
            } else {
                notices.extend(entry.unusable());
            }
        }
        if errors.is_empty() { Ok(notices) } else { Err(errors) }
    }

    /// Reads a name's files. Also returns messages for the administrator.
    fn read(&self, entry: &CertFiles) -> Result<(Good, Vec<String>), Vec<String>> {
        // Before the files, so that a change while they are read is detected the next time.
        let stamp = entry.stamp();
        let (mut own, mut errors) = (None, Vec::new());
        match entry.ca.as_deref().map(|ca| Authorities::load(Some(ca), None)) {
            Some(Ok(authorities)) => own = Some(authorities),
            Some(Err(wrong)) => errors = wrong,
            None => {}
        }
        let known = own.as_ref().or(Some(&self.authorities)).filter(|_| errors.is_empty());
        let (credentials, notices) = match Credentials::read(&entry.files, known) {
            Ok(read) if errors.is_empty() => read,
            read => {
                errors.extend(read.err().into_iter().flatten());
                return Err(errors);
            }
        };
        Ok((Good { credentials, authorities: own, stamp }, notices))
    }

    fn context(&self, entry: &CertFiles, good: &Good) -> Result<SslContext, Vec<String>> {
        let authorities = good.authorities.as_ref().unwrap_or(&self.authorities);
        let parts = ContextParts {
            settings: &self.settings,
            credentials: &good.credentials.make(authorities)?,
            authorities,
            resumption: &self.resumption,
            name: &entry.name,
        };
        let context = context::build(&parts).map_err(|e| vec![format!("{}: {}", entry.name, reason(&e))])?;
        Ok(context.build())
    }

    /// Makes a context for one worker from a name's files, or from their last valid contents; also returns messages for
    /// the administrator.
    pub(super) fn make(&self, entry: &CertFiles, stamp: &Stamp) -> (Option<SslContext>, Vec<String>) {
        let last = entry.last_good();
        if let Some(good) = last.as_ref().filter(|good| good.stamp == *stamp) {
            return (self.context(entry, good).ok(), Vec::new());
        }
        let made =
            self.read(entry).and_then(|(good, notices)| Ok((self.context(entry, &good)?, good, notices)));
        match (made, last) {
            (Ok((context, good, notices)), _) => {
                entry.is_good(&Arc::new(good));
                (Some(context), notices)
            }
            (Err(errors), Some(good)) => {
                let kept = |error| format!("{error}; the old files stay in use");
                (self.context(entry, &good).ok(), errors.into_iter().map(kept).collect())
            }
            (Err(errors), None) => {
                let unused = |error| format!("{error}; the default certificate is used");
                (None, errors.into_iter().map(unused).collect())
            }
        }
    }

    /// Reads the directory again for a waiting handshake, which may be gone.
    fn scan_for(&self, done: oneshot::Sender<()>) {
        static UNREADABLE: log::Condition = log::Condition::new();
        match self.scan() {
            Ok(()) => UNREADABLE.end(format_args!("ssl_sni_path can be read again")),
            Err(error) => UNREADABLE.begin(format_args!("ssl_sni_path: {error}")),
        }
        _ = done.send(());
    }

    /// Makes a context for a waiting handshake. No answer means that the files are unchanged since `known`.
    fn make_for(
        &self,
        entry: &CertFiles,
        known: Option<&Stamp>,
        reported: &mut Reported,
        answer: oneshot::Sender<Made>,
    ) {
        // One check serves many concurrent requests.
        if known.is_some_and(|known| entry.is_fresh(known, LOOK)) {
            return;
        }
        let stamp = entry.look();
        if known == Some(&stamp) {
            return;
        }
        let (context, notices) = self.make(entry, &stamp);
        reported.warn(&entry.name, &stamp, &notices);
        _ = answer.send(Made { context, stamp });
    }

    /// The callback for a ClientHello.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub(super) fn choose(self: &Arc<Self>, ssl: &mut SslRef) -> Result<ClientHelloResponse, ErrorStack> {
        let Some(slot) = ssl.ex_data(slot_index()?).cloned() else { return Ok(ClientHelloResponse::SUCCESS) };
        let scanned = match slot.replace(SniStep::First) {
            SniStep::Made(context) => return self.switch(ssl, context.as_ref()),
            SniStep::Scanned => true,
            _ => false,
        };
        let Some(name) = server_name_extension(ssl).and_then(host_name) else {
            return Ok(ClientHelloResponse::SUCCESS);
        };
        if !scanned && self.scans.is_due() {
            // Files may have been added or removed.
            let (done, wait) = oneshot::channel();
            let sni = Arc::clone(self);
            self.loader.ask(move |_| sni.scan_for(done));
            slot.replace(SniStep::Scanning(wait));
            return Ok(ClientHelloResponse::RETRY);
        }
        let index = self.index.load();
        let Some(entry) = index.find(&name) else { return Ok(ClientHelloResponse::SUCCESS) };
        let known = context_cache::find(self.set, &entry.name);
        if let Some(made) = known.as_ref().filter(|made| entry.is_fresh(&made.stamp, LOOK)) {
            return self.switch(ssl, made.context.as_ref());
        }
        let (answer, wait) = oneshot::channel();
        let stamp = known.as_ref().map(|made| made.stamp.clone());
        let (sni, files) = (Arc::clone(self), Arc::clone(entry));
        self.loader.ask(move |reported| sni.make_for(&files, stamp.as_ref(), reported, answer));
        let context = known.and_then(|made| made.context);
        slot.replace(SniStep::Making(Arc::clone(self), entry.name.clone(), context, wait));
        Ok(ClientHelloResponse::RETRY)
    }

    /// Continues with another context. OpenSSL takes over certificate and session id context; the requirements for the
    /// client belong to the connection and have to be set again.
    fn switch(&self, ssl: &mut SslRef, to: Option<&SslContext>) -> Result<ClientHelloResponse, ErrorStack> {
        if let Some(context) = to {
            ssl.set_ssl_context(context)?;
            ssl.set_verify(context::verify_mode(&self.settings));
        }
        Ok(ClientHelloResponse::SUCCESS)
    }
}

/// The state of the choice of a context.
#[derive(Debug, Default)]
enum SniStep {
    #[default]
    First,
    Scanning(oneshot::Receiver<()>),
    Scanned,
    /// A name, its context if the files have not changed, and the channel for their new state otherwise.
    Making(Arc<Sni>, String, Option<SslContext>, oneshot::Receiver<Made>),
    Made(Option<SslContext>),
}

/// The communication between the callback and the task of a handshake.
#[derive(Debug, Default)]
pub(super) struct SniSlot(Mutex<SniStep>);

impl SniSlot {
    fn replace(&self, step: SniStep) -> SniStep {
        // No code that holds this lock can panic.
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), step)
    }

    /// Creates the slot of a connection.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub(super) fn of(ssl: &mut Ssl) -> Result<Arc<Self>, ErrorStack> {
        let slot = Arc::<Self>::default();
        ssl.set_ex_data(slot_index()?, Arc::clone(&slot));
        Ok(slot)
    }

    /// Waits for the result that the callback has requested.
    pub(super) async fn ready(&self) {
        let next = match self.replace(SniStep::First) {
            SniStep::Scanning(wait) => {
                // Without an answer the known data is used.
                _ = wait.await;
                SniStep::Scanned
            }
            SniStep::Making(sni, name, unchanged, wait) => SniStep::Made(match wait.await {
                Ok(made) => {
                    let context = made.context.clone();
                    context_cache::keep(sni.set, &name, made);
                    context
                }
                Err(_) => unchanged,
            }),
            other => other,
        };
        self.replace(next);
    }
}

fn slot_index() -> Result<ExIndex<Ssl, Arc<SniSlot>>, ErrorStack> {
    static INDEX: OnceLock<ExIndex<Ssl, Arc<SniSlot>>> = OnceLock::new();
    made_once(&INDEX, Ssl::new_ex_index)
}
