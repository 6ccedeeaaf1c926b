//! The directory of certificates by name, and the names that clients request.
//!
//! The directory is read as a whole into an index. A name that a client sends is looked up there and never becomes part
//! of a path, so it cannot reach anything else, and a name without files costs no disk access.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::core::error::SystemReason;
use crate::sys::read_file;

use super::credentials::Credentials;
use super::file_stamp::Stamp;
use super::identity::{self, Authorities, at};
use super::pem::{self, KeyForm};
use super::settings::Files;

/// The longest name (RFC 1035 2.3.4) and label (2.3.1).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Whether `name` is a host name: letters, digits and hyphens in labels that neither begin nor end with a hyphen
/// (RFC 1123 2.1), the last one not a number, which would make it an address. TLS clients also send names with
/// underscores, which are in use although no rule allows them; a label `_` alone stands for a wildcard in file names.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label != "_"
    };
    name.len() <= NAME_MAX
        && name.split('.').all(is_label)
        && name.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| !b.is_ascii_digit()))
}

/// The host name in the body of a server_name extension (RFC 6066 3), in lower case; `None` if there is none or it is
/// invalid.
pub fn host_name(extension: &[u8]) -> Option<String> {
    const HOST_NAME: u8 = 0;
    let (length, list) = extension.split_first_chunk::<2>()?;
    if usize::from(u16::from_be_bytes(*length)) != list.len() {
        return None;
    }
    let (kind, rest) = list.split_first()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let name = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    let name = std::str::from_utf8(name).ok().filter(|name| *kind == HOST_NAME && is_host_name(name))?;
    Some(name.to_ascii_lowercase())
}

/// The suffixes of file names: of a certificate, of a second one with an ECDSA key, and of the authorities for clients.
const KINDS: [&str; 7] = ["crt", "key", "ocsp", "ecdsa.crt", "ecdsa.key", "ecdsa.ocsp", "ca"];

/// The files of one name.
#[derive(Debug)]
pub(super) struct CertFiles {
    /// The name in lower case; `_.example.com` stands for all names one label longer than `example.com`.
    pub(super) name: String,
    /// The files of one certificate or two.
    pub(super) files: Vec<Files>,
    /// The authorities of client certificates.
    pub(super) ca: Option<PathBuf>,
    /// Shared by all successive entries of a name.
    state: Arc<Mutex<CertState>>,
}

/// The state of a name's files, shared by all workers.
#[derive(Debug, Default)]
struct CertState {
    /// The contents of the files when they were last valid.
    good: Option<Arc<Good>>,
    /// When they were last checked, and their stamp then.
    seen: Option<(Instant, Stamp)>,
}

/// The contents of a name's files, for the contexts of all workers.
pub(super) struct Good {
    pub(super) credentials: Credentials,
    /// The name's own authorities.
    pub(super) authorities: Option<Authorities>,
    pub(super) stamp: Stamp,
}

impl fmt::Debug for Good {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Good(..)")
    }
}

impl CertFiles {
    fn state(&self) -> MutexGuard<'_, CertState> {
        // No code that holds this lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The contents of its files when they were last valid.
    pub(super) fn last_good(&self) -> Option<Arc<Good>> {
        self.state().good.clone()
    }

    /// Stores valid contents.
    pub(super) fn is_good(&self, good: &Arc<Good>) {
        self.state().good = Some(Arc::clone(good));
    }

    /// Whether the files were checked less than `age` ago and had this stamp.
    pub(super) fn is_fresh(&self, stamp: &Stamp, age: Duration) -> bool {
        self.state().seen.as_ref().is_some_and(|(at, seen)| at.elapsed() < age && seen == stamp)
    }

    /// A message for each file that cannot be used, as far as that shows without reading keys: one that cannot be read, or
    /// a certificate of which no file contains the key. Clients that ask for the name get the default certificate.
    pub(super) fn unusable(&self) -> impl Iterator<Item = String> {
        let unreadable = self.paths().filter_map(|file| {
            let error = read_file::check_regular(file).err()?;
            Some(at(file, format_args!("passed over: {}", SystemReason(&error))))
        });
        unreadable.chain(self.without_key())
    }

    fn without_key(&self) -> impl Iterator<Item = String> {
        // A file of its own for the key may contain anything, and is checked when a client asks for the name.
        let alone = self.files.iter().filter(|files| files.keys[..] == [files.cert.clone()]);
        alone.filter_map(|files| {
            let cert = &files.cert;
            let text = Zeroizing::new(identity::read(cert).ok()?);
            let key = cert.with_extension("key");
            let key = key.file_name().unwrap_or_default().to_string_lossy();
            let why = format!("passed over: there is no {key}, and it contains no private key");
            (pem::key_form(&text) == KeyForm::Missing).then(|| at(cert, why))
        })
    }

    /// Checks the files.
    pub(super) fn look(&self) -> Stamp {
        let stamp = self.stamp();
        self.state().seen = Some((Instant::now(), stamp.clone()));
        stamp
    }

    /// The state of its files.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp::of(self.paths())
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().flat_map(Files::all).chain(self.ca.as_deref())
    }
}

/// The contents of the directory.
#[derive(Debug, Default)]
pub(super) struct Index {
    names: HashMap<String, Arc<CertFiles>>,
    /// The files that serve no name, each with the reason, sorted.
    pub(super) passed_over: Vec<String>,
}

impl Index {
    /// Reads the directory: NAME.crt, .key, .ca and .ocsp; without NAME.key the key is in NAME.crt; NAME.ecdsa.crt,
    /// .key and .ocsp likewise, beside NAME.crt. Other files are ignored, and so are those of a name without NAME.crt.
    /// The state of the names in `before` is kept.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn scan(dir: &Path, before: &Index) -> Result<Self, String> {
        let mut found: HashMap<String, [Option<PathBuf>; KINDS.len()]> = HashMap::new();
        let mut index = Index::default();
        let mut pass_over =
            |path: &Path, why: &str| index.passed_over.push(at(path, format_args!("passed over: {why}")));
        let unreadable = |error: io::Error| at(dir, SystemReason(&error));
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (file, path) = (entry.file_name(), entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if KINDS.iter().any(|kind| file.as_encoded_bytes().ends_with(format!(".{kind}").as_bytes())) {
                    pass_over(&path, "it is a directory");
                }
                continue;
            }
            let parts = |kind: &str| file.to_str()?.strip_suffix(kind)?.strip_suffix('.');
            // The longest matching suffix.
            let found_parts = (0..KINDS.len()).filter_map(|kind| Some((parts(KINDS[kind])?, kind)));
            let Some((stem, kind)) = found_parts.min_by_key(|(stem, _)| stem.len()) else {
                pass_over(&path, "its name does not end in .crt, .key, .ca or .ocsp");
                continue;
            };
            if !is_host_name(stem.strip_prefix("_.").unwrap_or(stem)) {
                pass_over(&path, &format!("'{stem}' is not a host name"));
                continue;
            }
            let slot = &mut found.entry(stem.to_ascii_lowercase()).or_default()[kind];
            // Of two files that differ only in case, always the same one is used.
            let (kept, other) = match slot.take() {
                Some(other) if other < path => (other, Some(path)),
                other => (path, other),
            };
            if let Some(other) = other {
                pass_over(&other, &format!("{} is for the same name", kept.display()));
            }
            *slot = Some(kept);
        }
        let files = |cert: PathBuf, key: Option<PathBuf>, ocsp| {
            let keys = vec![key.unwrap_or_else(|| cert.clone())];
            Files { cert, keys, ocsp }
        };
        for (name, [cert, key, ocsp, second, second_key, second_ocsp, ca]) in found {
            let Some(cert) = cert else {
                let why = format!("there is no {name}.crt");
                let others = [key, ocsp, second, second_key, second_ocsp, ca];
                others.iter().flatten().for_each(|path| pass_over(path, &why));
                continue;
            };
            let mut all = vec![files(cert, key, ocsp)];
            match second {
                Some(second) => all.push(files(second, second_key, second_ocsp)),
                None => {
                    let why = format!("there is no {name}.ecdsa.crt");
                    [second_key, second_ocsp].iter().flatten().for_each(|path| pass_over(path, &why));
                }
            }
            let state = before.names.get(&name).map(|e| Arc::clone(&e.state)).unwrap_or_default();
            index.names.insert(name.clone(), Arc::new(CertFiles { name, files: all, ca, state }));
        }
        index.passed_over.sort();
        Ok(index)
    }

    /// The entry for a host name in lower case: its own, or that of the wildcard above it.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<CertFiles>> {
        self.names.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("_.{parent}"))
        })
    }

    /// All entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<CertFiles>> {
        self.names.values()
    }

    /// The entry of exactly this name.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<CertFiles>> {
        self.names.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extension(name: &[u8]) -> Vec<u8> {
        let length = u16::try_from(name.len()).unwrap();
        let mut list = vec![0];
        list.extend_from_slice(&length.to_be_bytes());
        list.extend_from_slice(name);
        [&(length + 3).to_be_bytes(), &list[..]].concat()
    }

    #[test]
    fn only_host_names_are_looked_up() {
        for good in [
            "example.com",
            "EXAMPLE.com",
            "a",
            "xn--bcher-kva.example",
            "1.example",
            "a-b.c",
            "my_host.a",
            "_a.b_",
        ] {
            assert_eq!(host_name(&extension(good.as_bytes())), Some(good.to_ascii_lowercase()), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        let longer = vec!["a".repeat(50); 6].join(".");
        for bad in [
            "",
            ".",
            "..",
            "../../etc/passwd",
            "a/b",
            "a..b",
            ".a",
            "a.",
            "-a.b",
            "a-.b",
            "a\0b",
            "_.example.com",
            "a._.c",
            "*.example.com",
            "127.0.0.1",
            "::1",
            "a b",
            "bücher.example",
            &long,
            &longer,
        ] {
            assert_eq!(host_name(&extension(bad.as_bytes())), None, "{bad}");
        }
        assert_eq!(host_name(&extension(b"\xff\xfe")), None);
        let mut other_kind = extension(b"example.com");
        other_kind[2] = 1;
        assert_eq!(host_name(&other_kind), None);
    }

    proptest! {
        #[test]
        fn any_extension_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(name) = host_name(&bytes) {
                prop_assert!(is_host_name(&name) && !name.contains(['/', '\0']));
            }
        }
    }

    #[test]
    fn the_index_knows_names_wildcards_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "Example.COM.crt",
            "example.com.key",
            "_.example.com.crt",
            "x.key",
            "-bad.crt",
            "notes",
            "a.b.pem",
            "my_host.example.com.crt",
            "EXAMPLE.com.crt",
            "_.example.com.ecdsa.crt",
            "_.example.com.ecdsa.key",
            "example.com.ecdsa.key",
            "y.ecdsa.crt",
        ] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        fs::create_dir(dir.path().join("old")).unwrap();
        fs::create_dir(dir.path().join("d.example.crt")).unwrap();
        let index = Index::scan(dir.path(), &Index::default()).unwrap();
        let passed = index.passed_over.iter().map(|line| line.rsplit_once('/').unwrap().1);
        assert_eq!(
            passed.collect::<Vec<_>>().join("\n"),
            "-bad.crt: passed over: '-bad' is not a host name\n\
             EXAMPLE.com.crt is for the same name\n\
             a.b.pem: passed over: its name does not end in .crt, .key, .ca or .ocsp\n\
             d.example.crt: passed over: it is a directory\n\
             example.com.ecdsa.key: passed over: there is no example.com.ecdsa.crt\n\
             notes: passed over: its name does not end in .crt, .key, .ca or .ocsp\n\
             x.key: passed over: there is no x.crt\n\
             y.ecdsa.crt: passed over: there is no y.crt"
        );
        let found = |name| index.find(name).map(|e| e.name.as_str());
        assert_eq!(index.entries().count(), 3);
        assert_eq!(found("my_host.example.com"), Some("my_host.example.com"));
        assert_eq!(found("example.com"), Some("example.com"));
        assert_eq!(found("www.example.com"), Some("_.example.com"));
        assert_eq!(found("a.www.example.com"), None);
        assert_eq!((found("x"), found("com"), found("other.example")), (None, None, None));
        let entry = index.find("example.com").unwrap();
        assert_eq!(entry.files[0].cert, dir.path().join("EXAMPLE.com.crt"));
        assert_eq!(entry.files[0].keys, [dir.path().join("example.com.key")]);
        let wildcard = index.find("b.example.com").unwrap();
        assert_eq!(wildcard.files[0].keys, [dir.path().join("_.example.com.crt")]);
        assert_eq!((entry.files.len(), wildcard.files.len()), (1, 2));
        assert_eq!(wildcard.files[1].keys, [dir.path().join("_.example.com.ecdsa.key")]);
        assert!(Index::scan(&dir.path().join("none"), &Index::default()).unwrap_err().contains("none: "));
    }
}
