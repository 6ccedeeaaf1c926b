//! Certificates and keys from files, checked so that errors name the fault and the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::ssl::SslContextBuilder;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{X509, X509Name, X509Ref, X509VerifyResult};
use zeroize::Zeroizing;

use crate::core::error::SystemReason;
use crate::sys::read_file;
use crate::sys::tls::{add_chain_certificate, default_authorities};

use super::pem::{self, KeyForm};
use super::settings::Files;

/// The first reason that OpenSSL gives.
pub(in crate::net) fn reason(errors: &ErrorStack) -> String {
    let reason = errors.errors().iter().find_map(|e| e.reason());
    reason.unwrap_or("OpenSSL gives no reason").to_owned()
}

/// An error with the file that it is about.
pub(in crate::net) fn at(file: &Path, what: impl std::fmt::Display) -> String {
    format!("{}: {what}", file.display())
}

/// A warning for each file that a reload will not be able to read, as pen's current user.
pub(in crate::net) fn unreadable<'a>(
    files: impl IntoIterator<Item = &'a Path>,
) -> impl Iterator<Item = String> {
    files.into_iter().filter_map(|file| {
        let error = read_file::check_readable(file).err()?;
        let why = "pen serves with the files that it has read, but a reload will fail";
        Some(at(file, format_args!("{}: {why}", SystemReason(&error))))
    })
}

pub(in crate::net) fn read(file: &Path) -> Result<Vec<u8>, String> {
    read_file::read(file).map_err(|e| at(file, SystemReason(&e)))
}

fn certificates(file: &Path, text: &[u8]) -> Result<Vec<X509>, String> {
    let found: Option<Vec<X509>> = pem::certificates(text).collect();
    match found {
        Some(found) if found.is_empty() => Err(at(file, "contains no certificate in PEM form")),
        Some(found) => Ok(found),
        None => Err(at(file, "a certificate is damaged")),
    }
}

fn private_key(file: &Path, text: &[u8]) -> Result<PKey<Private>, String> {
    match pem::key_form(text) {
        KeyForm::Encrypted => {
            return Err(at(file, "the private key has a passphrase, and pen has nobody to ask for it"));
        }
        KeyForm::Missing => return Err(at(file, "contains no private key in PEM form")),
        KeyForm::Plain => {}
    }
    // Without the callback OpenSSL would prompt on the terminal.
    PKey::private_key_from_pem_callback(text, |_| Ok(0))
        .map_err(|errors| at(file, format_args!("the private key is damaged: {}", reason(&errors))))
}

/// The text of an identity's files.
pub(in crate::net) struct Material {
    cert: PathBuf,
    key: PathBuf,
    // The key may be in this file too.
    cert_text: Zeroizing<Vec<u8>>,
    key_text: Zeroizing<Vec<u8>>,
}

impl Material {
    /// Reads the certificate and the key.
    ///
    /// # Errors
    /// Each file that cannot be read, with the reason; or no file contains the key.
    pub(in crate::net) fn read(files: &Files) -> Result<Self, Vec<String>> {
        let cert_text = read(&files.cert).map(Zeroizing::new);
        let (cert_text, (key, key_text)) = match &files.keys[..] {
            [key] if *key == files.cert => {
                let text = cert_text.map_err(|error| vec![error])?;
                (text.clone(), (key, text))
            }
            [key] => match (cert_text, read(key).map(Zeroizing::new)) {
                (Ok(cert_text), Ok(key_text)) => (cert_text, (key, key_text)),
                (cert_text, key_text) => {
                    let of_cert = cert_text.and_then(|text| certificates(&files.cert, &text)).err();
                    let of_key = key_text.and_then(|text| private_key(key, &text)).err();
                    return Err(of_cert.into_iter().chain(of_key).collect());
                }
            },
            several => {
                let cert_text = cert_text.map_err(|error| vec![error])?;
                let key = key_of(&files.cert, &cert_text, several).map_err(|error| vec![error])?;
                (cert_text, key)
            }
        };
        Ok(Material { cert: files.cert.clone(), key: key.clone(), cert_text, key_text })
    }

    /// Creates objects from it. Each call creates new ones, so that workers share no reference counts.
    ///
    /// # Errors
    /// What is damaged, or does not match.
    pub(in crate::net) fn identity(&self) -> Result<Identity, Vec<String>> {
        let (cert, key) = (&self.cert, &self.key);
        let chain = certificates(cert, &self.cert_text);
        let (mut chain, private) = match (chain, private_key(key, &self.key_text)) {
            (Ok(chain), Ok(private)) => (chain, private),
            (chain, private) => {
                // One error is enough for a file that contains neither.
                let private = private.err().filter(|_| chain.is_ok() || cert != key);
                return Err(chain.err().into_iter().chain(private).collect());
            }
        };
        let leaf = chain.remove(0);
        let public = leaf.public_key().map_err(|e| vec![at(cert, reason(&e))])?;
        if !private.public_eq(&public) {
            let why = format_args!("is not the key of the certificate in {}", cert.display());
            return Err(vec![at(key, why)]);
        }
        Ok(Identity { leaf, chain, key: private })
    }
}

/// The file that contains the key of a certificate, and its text.
fn key_of<'a>(
    cert: &Path,
    cert_text: &[u8],
    files: &'a [PathBuf],
) -> Result<(&'a PathBuf, Zeroizing<Vec<u8>>), String> {
    let public = certificates(cert, cert_text)?.remove(0).public_key().map_err(|e| at(cert, reason(&e)))?;
    for file in files {
        let text = Zeroizing::new(read(file)?);
        // The certificate's own file need not contain a key.
        if file == cert && pem::key_form(&text) == KeyForm::Missing {
            continue;
        }
        if private_key(file, &text)?.public_eq(&public) {
            return Ok((file, text));
        }
    }
    Err(at(cert, "the key of the certificate is in no file of ssl_keyfile (-K)"))
}

/// A certificate with its key.
pub(in crate::net) struct Identity {
    pub(in crate::net) leaf: X509,
    /// The chain from it to an authority, as far as the file contains it.
    pub(in crate::net) chain: Vec<X509>,
    pub(in crate::net) key: PKey<Private>,
}

impl Identity {
    /// Has a context use it; as one of `several` it has a chain of its own.
    ///
    /// # Errors
    /// An error of OpenSSL, for example a key that it considers too short.
    pub(in crate::net) fn use_in(
        &self,
        context: &mut SslContextBuilder,
        several: bool,
    ) -> Result<(), ErrorStack> {
        context.set_certificate(&self.leaf)?;
        context.set_private_key(&self.key)?;
        for certificate in &self.chain {
            if several {
                add_chain_certificate(context, certificate)?;
            } else {
                context.add_extra_chain_cert(certificate.clone())?;
            }
        }
        Ok(())
    }

    /// A message for the administrator about a problem that does not prevent serving.
    pub(in crate::net) fn warning(&self, files: &Files) -> Option<String> {
        let now = Asn1Time::days_from_now(0).ok()?;
        if *self.leaf.not_after() < now {
            Some(at(&files.cert, format_args!("the certificate expired on {}", self.leaf.not_after())))
        } else if *self.leaf.not_before() > now {
            Some(at(&files.cert, format_args!("the certificate is valid from {} on", self.leaf.not_before())))
        } else {
            None
        }
    }

    /// Completes a chain that is not in the file, once here rather than by OpenSSL in each handshake.
    pub(in crate::net) fn complete(&mut self, authorities: &Authorities) {
        if !self.chain.is_empty() {
            return;
        }
        let mut last: &X509Ref = &self.leaf;
        while let Some(issuer) = authorities.issuer(last) {
            // The client knows a root or does not trust it, and a cycle must end.
            if is_self_signed(issuer) || self.chain.iter().any(|c| same(c, issuer)) {
                break;
            }
            self.chain.push(issuer.to_owned());
            last = issuer;
        }
    }

    /// The certificate of the leaf's issuer.
    pub(super) fn issuer<'a>(&'a self, authorities: &'a Authorities) -> Option<&'a X509Ref> {
        let own = is_self_signed(&self.leaf).then_some(&*self.leaf);
        let in_chain =
            || self.chain.iter().map(|c| &**c).find(|c| c.issued(&self.leaf) == X509VerifyResult::OK);
        own.or_else(in_chain).or_else(|| authorities.issuer(&self.leaf))
    }
}

fn is_self_signed(certificate: &X509Ref) -> bool {
    certificate.issued(certificate) == X509VerifyResult::OK
}

fn same(a: &X509Ref, b: &X509Ref) -> bool {
    matches!((a.to_der(), b.to_der()), (Ok(a), Ok(b)) if a == b)
}

/// The maximum size of the list of authority names that clients choose a certificate by; a longer list is omitted,
/// which allows any.
const NAMES_MAX: usize = 16 * 1024;

/// Authorities for client certificates, or for those of servers.
#[derive(Debug, Default)]
pub(in crate::net) struct Authorities {
    certificates: Vec<X509>,
    /// Identifies the set: a session made under one set is not resumed under another.
    pub(super) fingerprint: Vec<u8>,
}

impl Authorities {
    /// Reads the files: one with certificates, and a directory prepared by c_rehash(1). Nothing is read later, so a
    /// handshake never waits for a disk.
    ///
    /// # Errors
    /// Each file that cannot be read or is damaged.
    pub(in crate::net) fn load(file: Option<&Path>, dir: Option<&Path>) -> Result<Self, Vec<String>> {
        let mut files: Vec<PathBuf> = file.map(Path::to_owned).into_iter().collect();
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        match dir.map(hashed) {
            Some(Ok(found)) => files.extend(found),
            Some(Err(error)) => errors.push(error),
            None => {}
        }
        for file in &files {
            match read(file).and_then(|text| certificates(file, &text)) {
                Ok(found) => all.extend(found),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Self::of(all).map_err(|e| vec![reason(&e)]) } else { Err(errors) }
    }

    /// Reads the system's authorities from OpenSSL's default locations. Files that cannot be read are skipped.
    pub(in crate::net) fn of_system() -> Self {
        let (file, dir) = default_authorities();
        let mut all = Vec::new();
        for file in std::iter::once(file).chain(hashed(&dir).unwrap_or_default()) {
            all.extend(read(&file).and_then(|text| certificates(&file, &text)).unwrap_or_default());
        }
        Authorities { certificates: all, fingerprint: Vec::new() }
    }

    fn of(certificates: Vec<X509>) -> Result<Self, ErrorStack> {
        let mut fingerprint = Vec::new();
        for certificate in &certificates {
            fingerprint.extend_from_slice(&certificate.digest(MessageDigest::sha256())?);
        }
        Ok(Authorities { certificates, fingerprint })
    }

    /// The store that client certificates are verified against.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub(in crate::net) fn store(&self) -> Result<X509Store, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for certificate in &self.certificates {
            store.add_cert(certificate.clone())?;
        }
        Ok(store.build())
    }

    pub(in crate::net) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    fn issuer(&self, certificate: &X509Ref) -> Option<&X509Ref> {
        self.certificates.iter().map(|c| &**c).find(|c| c.issued(certificate) == X509VerifyResult::OK)
    }

    /// The names by which a client chooses its certificate; none for any.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub(super) fn names(&self) -> Result<Vec<X509Name>, ErrorStack> {
        let ders =
            self.certificates.iter().map(|c| c.subject_name().to_der()).collect::<Result<Vec<_>, _>>()?;
        if ders.iter().map(Vec::len).sum::<usize>() > NAMES_MAX {
            return Ok(Vec::new());
        }
        ders.iter().map(|der| X509Name::from_der(der)).collect()
    }
}

/// The files of a hashed directory: eight hexadecimal digits, a dot and a number (openssl-rehash(1)).
fn hashed(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let is_hashed = |name: &str| {
        name.split_once('.').is_some_and(|(hash, n)| {
            hash.len() == 8
                && hash.bytes().all(|b| b.is_ascii_hexdigit())
                && !n.is_empty()
                && n.bytes().all(|b| b.is_ascii_digit())
        })
    };
    let mut files = Vec::new();
    let unreadable = |error: io::Error| at(dir, SystemReason(&error));
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().to_str().is_some_and(is_hashed) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
