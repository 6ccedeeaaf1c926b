//! The server programs that checks are tried on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::User;

use super::daemon::{Daemon, free_address, installed};

/// One that does not write to the test's output.
fn quiet(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A directory for one server.
fn own(directory: &Path, address: SocketAddr) -> PathBuf {
    let own = directory.join(address.to_string());
    fs::create_dir(&own).unwrap();
    own
}

/// Redis without persistence.
pub(crate) fn redis(_: &Path) -> Option<Daemon> {
    let address = free_address(Ipv4Addr::LOCALHOST);
    let mut command = quiet(installed("redis-server")?);
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", "/"]);
    Some(Daemon::start(address, command))
}

/// OpenLDAP with an empty database.
pub(crate) fn slapd(directory: &Path) -> Option<Daemon> {
    let (program, schema) = (installed("slapd")?, "/etc/ldap/schema/core.schema");
    let address = free_address(Ipv4Addr::LOCALHOST);
    let file = own(directory, address).join("slapd.conf");
    let text = format!(
        "include {schema}\nmodulepath /usr/lib/ldap\nmoduleload back_null\ndatabase null\nsuffix \"dc=example,dc=com\"\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = quiet(program);
    command.args(["-d", "0", "-h", &format!("ldap://{address}"), "-f"]).arg(file);
    Some(Daemon::start(address, command))
}

/// Unbound, over UDP and TCP: it knows www.example.com, and asks nobody.
pub(crate) fn unbound(directory: &Path) -> Option<Daemon> {
    let program = installed("unbound")?;
    // Other tests have their datagrams at other addresses.
    let address = free_address(Ipv4Addr::new(127, 0, 0, 53));
    let directory = own(directory, address);
    let file = directory.join("unbound.conf");
    let text = format!(
        "server:\n interface: {}@{}\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n directory: \"{}\"\n \
         pidfile: \"\"\n use-syslog: no\n num-threads: 1\n module-config: \"iterator\"\n access-control: 127.0.0.0/8 allow\n \
         local-zone: \".\" static\n local-data: \"www.example.com. A 192.0.2.1\"\nremote-control:\n control-enable: no\n",
        address.ip(),
        address.port(),
        directory.display()
    );
    fs::write(&file, text).unwrap();
    let mut command = quiet(program);
    command.args(["-d", "-c"]).arg(file);
    Some(Daemon::start(address, command))
}

/// Postfix, of which only the server of SMTP runs. `None` also if the test does not run as root, which Postfix wants.
pub(crate) fn postfix(directory: &Path) -> Option<Daemon> {
    postfix_with(directory, "")
}

/// The same with settings for that server.
pub(crate) fn postfix_with(directory: &Path, settings: &str) -> Option<Daemon> {
    let (master, owner) = (installed("master")?, User::from_name("postfix").unwrap()?);
    super::is_root().then_some(())?;
    let address = free_address(Ipv4Addr::LOCALHOST);
    let directory = own(directory, address);
    let make = |name: &str| {
        fs::create_dir(directory.join(name)).unwrap();
        chown(directory.join(name), Some(owner.uid.as_raw()), None).unwrap();
    };
    fs::create_dir(directory.join("pid")).unwrap();
    let queues =
        ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop"];
    queues.into_iter().chain(["private", "public", "saved", "trace", "data"]).for_each(make);
    let own = directory.display();
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {own}\ndata_directory = {own}/data\n\
         command_directory = /usr/sbin\ndaemon_directory = {}\nmyhostname = mail.example.com\n\
         inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks =\nsmtpd_relay_restrictions = reject\n\
         smtpd_peername_lookup = no\nlocal_recipient_maps =\nalias_maps =\n",
        master.parent().unwrap().display()
    );
    fs::write(directory.join("main.cf"), main).unwrap();
    let services = format!(
        "{address} inet n - n - - smtpd {settings}\nanvil unix - - n - 1 anvil\nrewrite unix - - n - - trivial-rewrite\n"
    );
    fs::write(directory.join("master.cf"), services).unwrap();
    let mut command = quiet(master);
    command.arg("-c").arg(&directory).arg("-d");
    Some(Daemon::start(address, command))
}

/// PostgreSQL. `None` also if the test runs as root and there is no user for it: it refuses to be root.
pub(crate) fn postgres(directory: &Path) -> Option<Daemon> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.map(|version| version.unwrap().path().join("bin")).max()?;
    let owner = if super::is_root() { Some(User::from_name("postgres").unwrap()?) } else { None };
    let as_owner = |program: &str| {
        let mut command = quiet(programs.join(program));
        if let Some(owner) = &owner {
            std::os::unix::process::CommandExt::uid(&mut command, owner.uid.as_raw());
            std::os::unix::process::CommandExt::gid(&mut command, owner.gid.as_raw());
        }
        command.current_dir("/");
        command
    };
    let address = free_address(Ipv4Addr::LOCALHOST);
    let own = own(directory, address);
    if let Some(owner) = &owner {
        chown(&own, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).unwrap();
    }
    let data = own.join("data");
    let mut make = as_owner("initdb");
    make.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]);
    make.args(["--no-sync", "--wal-segsize=1", "--no-instructions"]);
    make.status().unwrap().success().then_some(())?;
    let mut command = as_owner("postgres");
    command.arg("-D").arg(&data).args(["-p", &address.port().to_string()]);
    let settings =
        ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=1MB"];
    settings.iter().for_each(|setting| _ = command.args(["-c", setting]));
    Some(Daemon::start(address, command))
}
