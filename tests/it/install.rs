//! SUNWpen on a system: from pkgadd to pkgrm.

use crate::support::solaris::{
    Client, admin, get, log, on_solaris, package, pid, pkgadd, run, state, try_run, web_server,
};
use crate::support::tree::text;
use crate::support::wait_for;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const DEFAULT: &str = "svc:/network/pen:default";
const CONF: &str = "/etc/pen/pen.conf";
const CONTROL: &str = "/var/run/pen/default/control";

/// Installs the package and writes a configuration of these lines.
fn installed(lines: &str) {
    pkgadd(&package());
    fs::write(CONF, lines).unwrap();
}

/// Two web servers behind port 80, round robin.
fn balanced() -> String {
    let (a, b) = (web_server("a"), web_server("b"));
    format!(
        "listen 80\nroundrobin\nserver 0 address 127.0.0.1 port {a}\nserver 1 address 127.0.0.1 port {b}\n"
    )
}

on_solaris! {
    /// The way of an administrator, start to end.
    fn from_pkgadd_to_pkgrm() {
        installed(&balanced());
        run(&["pkgchk", "SUNWpen"]);
        let told = run(&["pkginfo", "-l", "SUNWpen"]);
        assert!(told.contains("completely installed"), "{told}");
        assert_eq!(state(DEFAULT), "disabled");

        run(&["svcadm", "enable", "-s", "pen"]);
        assert_eq!(state(DEFAULT), "online");
        let answers: BTreeSet<_> = (0..4).map(|_| get(80)).collect();
        assert_eq!(answers, BTreeSet::from(["a".into(), "b".into()]));

        // Nobody but the account gets at the control socket, and root, which this is.
        let own = fs::metadata("/var/run/pen/default").unwrap();
        let daemon = run(&["id", "daemon"]);
        assert!(daemon.starts_with(&format!("uid={}(", own.uid())), "{daemon}: {}", own.uid());
        assert_eq!(own.permissions().mode() & 0o777, 0o700);
        assert_eq!(run(&["penctl", CONTROL, "servers"]).lines().count(), 2);
        assert_eq!(run(&["ps", "-o", "user=", "-p", &pid(DEFAULT)]).trim(), "daemon");
        least_privileges(&pid(DEFAULT));
        run(&["penctl", CONTROL, "listen", "443"]);
        assert!(["a", "b"].contains(&get(443).as_str()));

        run(&["svcadm", "disable", "-s", "pen"]);
        assert_eq!(state(DEFAULT), "disabled");
        Client::connect(443).map(|_| ()).unwrap_err();

        let admin = admin();
        run(&["pkgrm", "-n", "-a", admin.path().to_str().unwrap(), "SUNWpen"]);
        assert!(!try_run(&["svcs", "-H", DEFAULT]).status.success());
        assert!(!try_run(&["pkginfo", "-q", "SUNWpen"]).status.success());
        for gone in ["/usr/bin/pen", "/var/run/pen", "/var/run/pen-conf", "/lib/svc/method/svc-pen", "/etc/pen/pen.conf.sample"] {
            assert!(!Path::new(gone).exists(), "{gone}");
        }
        assert_eq!(fs::read_dir("/etc/pen").unwrap().count(), 1, "the administrator's own file stays");
    }

    /// The sample is a working start, with one server of two there.
    fn the_sample_serves() {
        pkgadd(&package());
        fs::copy("/etc/pen/pen.conf.sample", CONF).unwrap();
        run(&["svcadm", "enable", "-s", "pen"]);
        Client::connect(8080).map(|_| ()).unwrap();
    }

    /// Refresh reads the file again and lets connections be.
    fn refresh_after_an_edit() {
        let configuration = balanced();
        installed(&configuration);
        run(&["svcadm", "enable", "-s", "pen"]);
        let process = pid(DEFAULT);
        let mut before = Client::connect(80).unwrap();
        let answer = before.get().unwrap();

        let third = web_server("c");
        fs::write(CONF, format!("{configuration}server 2 address 127.0.0.1 port {third}\n")).unwrap();
        run(&["svcadm", "refresh", "pen"]);
        wait_for("the third server", || {
            run(&["penctl", CONTROL, "servers"]).contains(&third.to_string()).then_some(())
        });
        assert!((0..3).map(|_| get(80)).any(|answer| answer == "c"));
        assert_eq!(before.get().unwrap(), answer);
        assert_eq!(pid(DEFAULT), process);

        // What the file names no longer goes, and what a command has changed: the service's log has the changes.
        run(&["penctl", CONTROL, "tracking", "77"]);
        fs::write(CONF, &configuration).unwrap();
        run(&["svcadm", "refresh", "pen"]);
        wait_for("the third server to go", || {
            (!run(&["penctl", CONTROL, "servers"]).contains(&third.to_string())).then_some(())
        });
        let log = wait_for("the changes", || Some(log("default")).filter(|log| log.contains("no server 2")));
        assert!(log.contains("server 2 address 127.0.0.1 port") && log.contains("tracking 0"), "{log}");
    }

    /// A bad file changes nothing, and the log says which line is wrong.
    fn refresh_with_a_bad_file() {
        let configuration = balanced();
        installed(&configuration);
        run(&["svcadm", "enable", "-s", "pen"]);
        let process = pid(DEFAULT);
        let servers = run(&["penctl", CONTROL, "servers"]).lines().count();

        fs::write(CONF, format!("{configuration}server 2 address 127.0.0.1 port 81\nblacklist soon\nfrobnicate\n"))
            .unwrap();
        run(&["svcadm", "refresh", "pen"]);
        let log = wait_for("the report", || Some(log("default")).filter(|l| l.contains("nothing has changed")));
        for line in ["/etc/pen/pen.conf:6: ", "/etc/pen/pen.conf:7: "] {
            assert!(log.contains(line), "{log}");
        }
        wait_for("the state", || (state(DEFAULT) == "online").then_some(()));
        assert_eq!(pid(DEFAULT), process);
        assert_eq!(run(&["penctl", CONTROL, "servers"]).lines().count(), servers);
        assert!(["a", "b"].contains(&get(80).as_str()));

        // The next good one is taken.
        fs::write(CONF, format!("{configuration}blacklist 77\n")).unwrap();
        run(&["svcadm", "refresh", "pen"]);
        wait_for("the new value", || (run(&["penctl", CONTROL, "blacklist"]).trim() == "77").then_some(()));
    }

    /// What kills pen from outside brings a new one, with its control socket.
    fn restart_after_a_kill() {
        installed(&balanced());
        run(&["svcadm", "enable", "-s", "pen"]);
        let first = pid(DEFAULT);
        run(&["kill", "-9", &first]);
        wait_for("another process", || {
            let listed = text(&try_run(&["svcs", "-H", "-p", DEFAULT]));
            (listed.starts_with("online ") && listed.lines().count() == 2 && !listed.contains(&format!(" {first} ")))
                .then_some(())
        });
        assert!(["a", "b"].contains(&get(80).as_str()));
        assert_eq!(run(&["penctl", CONTROL, "servers"]).lines().count(), 2);
    }

    /// A port that another has is told by svcs -xv and the log; once it is free the service comes up.
    fn a_port_already_taken() {
        installed(&balanced());
        let other = TcpListener::bind("0.0.0.0:80").unwrap();
        let enable = try_run(&["svcadm", "enable", "-s", "pen"]);
        assert!(!enable.status.success(), "{}", text(&enable));
        assert_eq!(state(DEFAULT), "maintenance");
        let explained = text(&try_run(&["svcs", "-xv", "pen"]));
        for part in ["maintenance", "Start method", "/var/svc/log/network-pen:default.log"] {
            assert!(explained.contains(part), "{explained}");
        }
        let log = log("default");
        assert!(log.contains("0.0.0.0:80") && log.contains("ddress already in use"), "{log}");

        drop(other);
        run(&["svcadm", "clear", "pen"]);
        wait_for("the service", || (state(DEFAULT) == "online").then_some(()));
        assert!(["a", "b"].contains(&get(80).as_str()));
    }

    /// Configuration errors of a start: all in the log, status 96, and no second try.
    fn bad_configurations() {
        pkgadd(&package());
        let fails = |because: &[&str]| {
            let enable = try_run(&["svcadm", "enable", "-s", "pen"]);
            assert!(!enable.status.success(), "{}", text(&enable));
            assert_eq!(state(DEFAULT), "maintenance");
            let log = log("default");
            let (_, last) = log.rsplit_once("Executing start method").unwrap();
            for part in because.iter().chain(&["exited with status 96"]) {
                assert!(last.contains(part), "{part}: {log}");
            }
            run(&["svcadm", "disable", "-s", "pen"]);
            assert_eq!(state(DEFAULT), "disabled");
        };
        fails(&["/etc/pen/pen.conf is missing", "Copy /etc/pen/pen.conf.sample to /etc/pen/pen.conf"]);
        fs::write(CONF, "listen 80\nfrobnicate\nblacklist soon\n").unwrap();
        fails(&["/etc/pen/pen.conf:2: ", "/etc/pen/pen.conf:3: "]);
        // Not readable to the account, so a refresh would fail: better now than then. Nor does the log show any of it.
        fs::write(CONF, "listen 80\nsecret\n").unwrap();
        fs::set_permissions(CONF, fs::Permissions::from_mode(0o600)).unwrap();
        fails(&["/etc/pen/pen.conf", "ermission denied"]);
        assert!(!log("default").contains("secret"), "{}", log("default"));
    }

    /// A running service is stopped before its program is removed, added instances too.
    fn pkgrm_of_a_running_service() {
        installed(&balanced());
        run(&["svcadm", "enable", "-s", "pen"]);
        run(&["svccfg", "-s", "pen", "add", "second"]);
        run(&["svccfg", "-s", "pen:second", "setprop", "pen/listenport", "=", "81"]);
        run(&["svcadm", "enable", "-s", "pen:second"]);
        let admin = admin();
        run(&["pkgrm", "-n", "-a", admin.path().to_str().unwrap(), "SUNWpen"]);
        for port in [80, 81] {
            Client::connect(port).map(|_| ()).unwrap_err();
        }
        assert!(!try_run(&["svcs", "-H", "svc:/network/pen:second"]).status.success());
        assert!(Path::new(CONF).exists());
    }

    /// An upgrade keeps what the administrator edited and brings the new beside it.
    fn upgrade() {
        installed(&balanced());
        run(&["svcadm", "enable", "-s", "pen"]);
        let new = upgraded_package();
        let sample = "/etc/pen/pen.conf.sample";
        let (old, configuration) = (fs::read_to_string(sample).unwrap(), fs::read_to_string(CONF).unwrap());

        // Not edited: replaced.
        pkgadd(new.path());
        assert!(fs::read_to_string(sample).unwrap().starts_with("# upgraded\n"));
        assert!(!Path::new("/etc/pen/pen.conf.sample.new").exists());
        run(&["pkgchk", "SUNWpen"]);

        // Edited: kept.
        fs::write(sample, "# mine\n").unwrap();
        pkgadd(&package());
        assert_eq!(fs::read_to_string(sample).unwrap(), "# mine\n");
        assert_eq!(fs::read_to_string("/etc/pen/pen.conf.sample.new").unwrap(), old);

        assert_eq!(fs::read_to_string(CONF).unwrap(), configuration);
        assert_eq!(state(DEFAULT), "online");
        assert!(["a", "b"].contains(&get(80).as_str()));

        let admin = admin();
        run(&["pkgrm", "-n", "-a", admin.path().to_str().unwrap(), "SUNWpen"]);
        assert_eq!(fs::read_to_string(sample).unwrap(), "# mine\n");
    }

    /// pkgadd -R installs below the other root and leaves this system alone.
    fn an_alternate_root() {
        let root = tempfile::tempdir().unwrap();
        let (root, admin) = (root.path().to_str().unwrap(), admin());
        let admin = admin.path().to_str().unwrap();
        let directory = package();
        // The datastream this time.
        let stream = directory.join("SUNWpen.pkg");
        run(&["pkgadd", "-n", "-a", admin, "-R", root, "-d", stream.to_str().unwrap(), "SUNWpen"]);
        // Not usr/bin/pen: this system may have a pen of its own.
        for file in ["lib/svc/method/svc-pen", "var/svc/manifest/network/pen.xml", "etc/pen/pen.conf.sample"] {
            assert!(Path::new(root).join(file).is_file(), "{file}");
            assert!(!Path::new("/").join(file).exists(), "/{file}");
        }
        assert!(!try_run(&["svcs", "-H", DEFAULT]).status.success(), "the service is in this system's repository");
        run(&["pkgchk", "-R", root, "SUNWpen"]);
        run(&["pkgrm", "-n", "-a", admin, "-R", root, "SUNWpen"]);
        assert!(!Path::new(root).join("usr/bin/pen").exists());
    }
}

/// The process that serves may bind low ports, and nothing else that any user may not.
fn least_privileges(pid: &str) {
    // Text on Linux; on Solaris a structure, see proc(4).
    let status = fs::read(format!("/proc/{pid}/status")).unwrap();
    let status = String::from_utf8_lossy(&status);
    if let Some((_, rest)) = status.split_once("CapPrm:\t") {
        // CAP_NET_BIND_SERVICE is the tenth.
        assert_eq!(u64::from_str_radix(rest.lines().next().unwrap(), 16), Ok(1 << 10), "{status}");
    } else {
        let told = run(&["ppriv", pid]);
        let permitted = told.lines().find(|line| line.trim_start().starts_with("P: ")).unwrap();
        assert!(permitted.contains("net_privaddr") && !permitted.contains("proc_setid"), "{told}");
    }
}

/// The package as a next release might bring it: another sample.
fn upgraded_package() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let from = package().join("SUNWpen");
    let to = place.path().join("SUNWpen");
    run(&["cp", "-r", from.to_str().unwrap(), to.to_str().unwrap()]);
    let path = to.join("reloc/etc/pen/pen.conf.sample");
    let sample = format!("# upgraded\n{}", fs::read_to_string(&path).unwrap());
    fs::write(&path, &sample).unwrap();
    let sum = sample.bytes().map(u64::from).sum::<u64>();
    let sum = sum % 65536 + sum / 65536;
    let sum = sum % 65536 + sum / 65536;
    let map = fs::read_to_string(to.join("pkgmap")).unwrap();
    let map: String = map
        .lines()
        .map(|line| match line.contains(" etc/pen/pen.conf.sample ") {
            true => format!(
                "1 e sample etc/pen/pen.conf.sample 0644 root sys {} {sum} 1800000000\n",
                sample.len()
            ),
            false => format!("{line}\n"),
        })
        .collect();
    fs::write(to.join("pkgmap"), map).unwrap();
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    place
}
