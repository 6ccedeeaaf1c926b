//! The manifest of the IPS package, pkg(7), generated from the prototypes of SUNWpen, so that the two cannot differ.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;
use crate::pkginfo;
use crate::prototype::{self, Entry, Kind};

const NAME: &str = "service/network/load-balancer/pen";

/// The manifest directories of System V packages and of IPS: svc:/system/manifest-import reads both.
const MANIFESTS: (&str, &str) = ("var/svc/manifest", "lib/svc/manifest");

/// Returns the manifest for the prototypes in `source`.
///
/// # Errors
/// A prototype cannot be read, or an object has no counterpart.
pub(crate) fn make(source: &Path) -> Result<String> {
    let template = std::fs::read_to_string(source.join("pkginfo.tmpl"))?;
    let parameter = |name: &str| -> Result<String> {
        let value = pkginfo::get(&template, name).ok_or_else(|| format!("pkginfo.tmpl has no {name}"))?;
        Ok(value.trim_matches('"').to_owned())
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "# Made by `cargo xtask p5m` from pkg/SUNWpen: change the prototypes there. A test compares.\n\
         # $(ARCH) is for pkgmogrify(1): see \"Installing with pkg\" in the HOWTO.\n\
         set name=pkg.fmri value=pkg:/{NAME}@{version}\n\
         set name=pkg.summary value=\"{}\"\n\
         set name=pkg.description value=\"{}\"\n\
         set name=info.classification value=\"org.opensolaris.category.2008:System/Services\"\n\
         set name=org.opensolaris.arc-caseid value=PSARC/2008/339\n\
         set name=org.opensolaris.smf.fmri value=svc:/network/pen value=svc:/network/pen:default\n\
         set name=variant.arch value=$(ARCH)\n",
        parameter("NAME")?,
        parameter("DESC")?,
    );
    let mut entries = prototype::read(&source.join("prototype_com"))?;
    entries.sort_by_key(|entry| path(entry.path()));
    for entry in &entries {
        action(entry, &mut text)?;
    }
    // For administrators who look for the old name, and System V packages that depend on it.
    writeln!(
        text,
        "legacy pkg={} arch=$(ARCH) category={} version={version} vendor=\"{}\" hotline=\"{}\" name=\"{}\" desc=\"{}\"",
        parameter("PKG")?,
        parameter("CATEGORY")?,
        parameter("VENDOR")?,
        parameter("HOTLINE")?,
        parameter("NAME")?,
        parameter("DESC")?,
    )?;
    text.push_str(
        "license LICENSE-MIT license=MIT\n\
         license LICENSE-APACHE license=Apache-2.0\n\
         depend type=require fmri=pkg:/library/security/openssl\n\
         # libgcc_s: of Solaris 11, of OmniOS, of OpenIndiana.\n\
         depend type=require-any fmri=pkg:/system/library/gcc/gcc-c-runtime \
         fmri=pkg:/system/library/gcc-runtime fmri=pkg:/system/library/gcc-14-runtime\n",
    );
    Ok(text)
}

/// The path of an object of the prototypes in an IPS package.
fn path(path: &str) -> String {
    match path.strip_prefix(MANIFESTS.0) {
        Some(rest) => format!("{}{rest}", MANIFESTS.1),
        None => path.to_owned(),
    }
}

/// The action for one object; information files are only for pkgadd(1M): IPS packages have no scripts.
fn action(entry: &Entry, text: &mut String) -> Result<()> {
    match entry {
        Entry::Info { .. } => {}
        Entry::Link { path: from, to, .. } => writeln!(text, "link path={} target={to}", path(from))?,
        Entry::Object { kind, class, path: from, mode, owner, group } => {
            if MANIFESTS.0.starts_with(&format!("{from}/")) {
                // A directory that only leads to the old place of the manifest.
                return Ok(());
            }
            // IPS needs the attributes that System V leaves unchanged: those in the system's own packages.
            let known =
                |word: &str, default: &str| if word == "?" { default.to_owned() } else { word.to_owned() };
            let (owner, group) = (known(owner, "root"), known(group, "other"));
            let mode = mode.unwrap_or(0o755);
            let to = path(from);
            match kind {
                Kind::Directory => write!(text, "dir path={to} owner={owner} group={group} mode={mode:04o}")?,
                Kind::File | Kind::Edited => {
                    write!(text, "file {from} path={to} owner={owner} group={group} mode={mode:04o}")?;
                }
            }
            text.push_str(&attributes(*kind, class, from)?);
            text.push('\n');
        }
    }
    Ok(())
}

/// The replacements for class action scripts: actuators and the treatment of edited files; and facets.
fn attributes(kind: Kind, class: &str, path: &str) -> Result<String> {
    let of_class = match class {
        "none" => "",
        // An edited file is kept, and the new one is FILE.new.
        "sample" => " preserve=renamenew",
        "manifest" => " restart_fmri=svc:/system/manifest-import:default",
        "rbac" => " restart_fmri=svc:/system/rbac:default",
        other => return Err(format!("{path}: IPS has nothing for class {other}").into()),
    };
    let facet = match () {
        () if kind == Kind::Directory => "",
        () if path.starts_with("usr/share/man/") => " facet.doc.man=true",
        () if path.starts_with("usr/share/doc/") => " facet.doc=true",
        // The service runs a new program only after a restart.
        () if path == "usr/bin/pen" => " restart_fmri=svc:/network/pen:default",
        () => "",
    };
    Ok(format!("{of_class}{facet}"))
}
