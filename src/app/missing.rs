//! What a configuration names and this machine does not have now, for `--check`. All of it may be there when pen starts, so
//! these are warnings.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::core::addr::Host;
use crate::core::config::Config;
use crate::core::error::Error;
use crate::core::health::{CheckConfig, CheckType};
use crate::core::log_target::LogTarget;
use crate::sys::{atomic_file, listen, resolve};

use super::dns;

/// Files that pen would fail to write, and programs that it would fail to start, as this user.
pub(super) fn as_user(config: &Config) -> Vec<Error> {
    let settings = &config.settings;
    let jail = settings.chroot.as_deref();
    let mut warnings = unwritable(config);
    if let Some(jail) = jail.filter(|jail| !jail.is_dir()) {
        warnings.push(Error::new(format!("{} is not a directory", jail.display())).of("chroot"));
    }
    warnings.extend(unknown_hosts(config));
    let programs = config.checks.iter().filter(|(_, check)| check.kind == CheckType::Exec);
    for (name, check) in programs {
        let Some(program) = &check.program else { continue };
        if let Err(error) = accessat(CWD, inside(jail, program), Access::EXEC_OK, AtFlags::empty()) {
            let what = format!("{} could not be run", program.display());
            let subject = format!("check {name} {}", CheckConfig::program().word());
            warnings.push(Error::failed(what, io::Error::from(error)).of(&subject));
        }
    }
    warnings
}

/// The file of a log, unless it is the standard output.
fn log_file(target: Option<&LogTarget>) -> Option<&Path> {
    match target {
        Some(target @ LogTarget::File(path)) if !target.is_stdout() => Some(path),
        _ => None,
    }
}

/// Names of servers and log servers that have no address: until they do, pen does not use them.
fn unknown_hosts(config: &Config) -> Vec<Error> {
    let settings = &config.settings;
    let servers = config.servers.iter().enumerate();
    let servers = servers.filter_map(|(n, server)| Some((format!("server {n}"), server.address.as_ref()?)));
    let special = [("emergency", &settings.emergency), ("abuse", &settings.abuse)];
    let special = special
        .into_iter()
        .filter_map(|(word, endpoint)| endpoint.as_ref().map(|endpoint| (word.to_owned(), &endpoint.host)));
    let logs = [("log", &settings.log), ("connection_log", &settings.connection_log)];
    let logs = logs.into_iter().filter_map(|(word, target)| match target {
        Some(LogTarget::Penlogd { host, .. } | LogTarget::SyslogServer { host, .. }) => {
            Some((word.to_owned(), host))
        }
        _ => None,
    });
    let named = servers.chain(special).chain(logs);
    let named: Vec<_> = named.filter_map(|(subject, host)| Some((subject, host.name()?))).collect();
    let names = named.iter().map(|(_, name)| (*name).to_owned()).collect();
    let failed = RefCell::new(HashMap::new());
    dns::look_up_now(&names, |name, error| {
        let error = io::Error::new(error.kind(), error.to_string());
        let error = Error::failed(format!("{name} could not be looked up"), error);
        failed.borrow_mut().insert(name.to_owned(), error);
    });
    let failed = failed.into_inner();
    named.into_iter().filter_map(|(subject, name)| Some(failed.get(name)?.clone().of(&subject))).collect()
}

/// Files that pen would fail to write.
fn unwritable(config: &Config) -> Vec<Error> {
    let settings = &config.settings;
    let jail = settings.chroot.as_deref();
    let files = [
        ("log", log_file(settings.log.as_ref()), true),
        ("connection_log", log_file(settings.connection_log.as_ref()), true),
        ("web_stats", settings.web_stats.as_deref(), false),
        ("pidfile", settings.pidfile.as_deref(), false),
    ];
    let unwritable = |(word, path, appended): (&str, Option<&Path>, bool)| {
        let path = path?;
        let error = atomic_file::check(&inside(jail, path), appended).err()?;
        Some(Error::failed(format!("{} could not be written", path.display()), error).of(word))
    };
    files.into_iter().filter_map(unwritable).collect()
}

/// Addresses that no interface has, directories of sockets that are not there, and other files where a socket is to be. Asked as
/// the user who starts pen: sockets are bound before it becomes another one.
pub(super) fn at_start(config: &Config) -> Vec<Error> {
    let settings = &config.settings;
    let clients = settings.listen.as_ref().map(|address| ("listen", &address.endpoint.host));
    // A socket of UDP may be bound to a broadcast or multicast address.
    let clients = clients.filter(|_| !settings.udp);
    let others = [("control", &settings.control), ("admin", &settings.admin)];
    let others =
        others.into_iter().filter_map(|(word, address)| Some((word, &address.as_ref()?.endpoint.host)));
    let source = settings.source.filter(|_| !settings.transparent).map(Host::Ip);
    let source = source.as_ref().map(|host| ("source", host));
    let missing = |(word, host): (&str, &Host)| match host {
        Host::Ip(ip) if is_missing(*ip) => {
            Some(Error::new(format!("no interface of this machine has the address {ip} now")).of(word))
        }
        Host::Unix(path) => {
            let path = Path::new(path);
            match path.parent().filter(|directory| !directory.is_dir() && !directory.as_os_str().is_empty()) {
                Some(directory) => {
                    Some(Error::new(format!("the directory {} is not there", directory.display())).of(word))
                }
                // A socket is that of a running pen, or what is left of one.
                None => listen::check_path(path).err().map(|error| Error::from(error).of(word)),
            }
        }
        _ => None,
    };
    clients.into_iter().chain(others).chain(source).filter_map(missing).collect()
}

fn is_missing(ip: IpAddr) -> bool {
    // Without its interface, an address of a link cannot be asked for.
    let of_link = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !ip.is_unspecified() && !of_link && !resolve::is_local(ip)
}

/// The path as seen from outside the jail.
fn inside(jail: Option<&Path>, path: &Path) -> PathBuf {
    match jail {
        Some(jail) => jail.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.to_owned(),
    }
}
