//! SUNWpen where an installation or a removal does not go as planned: what must be refused, what a second try makes up for,
//! what an upgrade keeps.

use crate::support::skipped;
use crate::support::solaris::{
    Altered, Client, admin, log, on_solaris, package, pkgadd, run, state, try_run,
};
use crate::support::tree::text;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Output;

const DEFAULT: &str = "svc:/network/pen:default";
const SAMPLE: &str = "/etc/pen/pen.conf.sample";
const MANIFEST: &str = "/var/svc/manifest/network/pen.xml";

/// Installs from a directory; the admin file decides what is not asked.
fn try_pkgadd(directory: &Path, admin: &str) -> Output {
    try_run(&["pkgadd", "-n", "-a", admin, "-d", directory.to_str().unwrap(), "SUNWpen"])
}

fn pkgrm() -> Output {
    let admin = admin();
    try_run(&["pkgrm", "-n", "-a", admin.path().to_str().unwrap(), "SUNWpen"])
}

/// Puts a script in the place of svccfg(1M) until the value is dropped. Only a sandbox is for that.
struct Svccfg;

impl Svccfg {
    fn instead(script: &str) -> Self {
        run(&["mv", "/usr/sbin/svccfg", "/usr/sbin/svccfg.real"]);
        fs::write("/usr/sbin/svccfg", format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions("/usr/sbin/svccfg", fs::Permissions::from_mode(0o755)).unwrap();
        Self
    }
}

impl Drop for Svccfg {
    fn drop(&mut self) {
        run(&["mv", "/usr/sbin/svccfg.real", "/usr/sbin/svccfg"]);
    }
}

/// Whether this is the sandbox, where the system's own commands may be changed.
fn in_a_sandbox(test: &str) -> bool {
    let sandbox = std::env::var_os("PEN_TEST_PACKAGE").is_some();
    if !sandbox {
        skipped(test, "it would change commands of this system");
    }
    sandbox
}

on_solaris! {
    /// An instance that does not stop keeps its program: pkgrm ends before it removes any.
    fn a_removal_that_must_be_refused_is() {
        pkgadd(&package());
        fs::write("/etc/pen/pen.conf", "listen 80\n").unwrap();
        run(&["svccfg", "-s", "network/pen", "setprop", "stop/exec", "=", "astring:", "/bin/false"]);
        run(&["svcadm", "refresh", DEFAULT]);
        run(&["svcadm", "enable", "-s", DEFAULT]);
        let refused = pkgrm();
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains(&format!("{DEFAULT} cannot be disabled")), "{}", text(&refused));
        for kept in ["/usr/bin/pen", "/lib/svc/method/svc-pen", MANIFEST, SAMPLE] {
            assert!(Path::new(kept).exists(), "{kept}");
        }
        run(&["svcs", "-H", DEFAULT]);

        // Nor does a second attempt succeed, or one after the instance has been disabled, which makes smf(5) forget the
        // process.
        let process = run(&["penctl", "/var/run/pen/default/control", "pid"]).trim().to_owned();
        assert_eq!(state(DEFAULT), "maintenance");
        let refused = pkgrm();
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains(&format!("{DEFAULT} has not been stopped")), "{}", text(&refused));
        assert!(text(&refused).contains(&process), "{}", text(&refused));
        run(&["svcadm", "disable", "-s", DEFAULT]);
        let refused = pkgrm();
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        let why = format!("{DEFAULT} is disabled but runs, end its process {process}");
        assert!(text(&refused).contains(&why), "{}", text(&refused));
        assert!(Path::new("/usr/bin/pen").exists());
        run(&["kill", &process]);
        crate::support::wait_for("the end of pen", || {
            (!Path::new("/var/run/pen/default/control").exists()).then_some(())
        });

        // Once it can stop, all goes.
        run(&["svccfg", "-s", "network/pen", "setprop", "stop/exec", "=", "astring:", ":kill"]);
        run(&["svcadm", "refresh", DEFAULT]);
        run(&["svcadm", "enable", "-s", DEFAULT]);
        let removed = pkgrm();
        assert!(removed.status.success(), "{}", text(&removed));
        assert!(!Path::new("/usr/bin/pen").exists());
    }

    /// What pkgrm has stopped before it is refused serves again.
    fn a_removal_that_is_refused_stops_no_other_instance() {
        pkgadd(&package());
        fs::write("/etc/pen/pen.conf", "listen 80\n").unwrap();
        run(&["svcadm", "enable", "-s", DEFAULT]);
        let stuck = "svc:/network/pen:zz";
        run(&["svccfg", "-s", "network/pen", "add", "zz"]);
        run(&["svccfg", "-s", stuck, "addpg", "pen", "application"]);
        run(&["svccfg", "-s", stuck, "setprop", "pen/listenport", "=", "astring:", "81"]);
        run(&["svccfg", "-s", stuck, "addpg", "stop", "method"]);
        run(&["svccfg", "-s", stuck, "setprop", "stop/exec", "=", "astring:", "/bin/false"]);
        run(&["svccfg", "-s", stuck, "setprop", "stop/timeout_seconds", "=", "count:", "60"]);
        run(&["svccfg", "-s", stuck, "setprop", "stop/type", "=", "astring:", "method"]);
        run(&["svcadm", "refresh", stuck]);
        run(&["svcadm", "enable", "-s", stuck]);
        let refused = pkgrm();
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains(&format!("{stuck} cannot be disabled")), "{}", text(&refused));
        crate::support::wait_for("the other instance", || (state(DEFAULT) == "online").then_some(()));
    }

    /// A manifest that cannot be imported ends the installation, and the next one imports it.
    fn an_import_that_fails_is_made_up_for() {
        if !in_a_sandbox("an_import_that_fails_is_made_up_for") {
            return;
        }
        let admin = admin();
        let admin = admin.path().to_str().unwrap();
        {
            let _fails = Svccfg::instead("echo no repository >&2; exit 1");
            let failed = try_pkgadd(&package(), admin);
            assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
            assert!(text(&failed).contains("svccfg cannot import"), "{}", text(&failed));
        }
        assert!(!Path::new(MANIFEST).exists(), "what has not been imported must not stay");
        pkgadd(&package());
        assert_eq!(state(DEFAULT), "disabled");
        run(&["pkgchk", "SUNWpen"]);

        // On an upgrade the manifest of before stays, since the service does.
        let before = fs::read_to_string(MANIFEST).unwrap();
        let new = Altered::new().file("var/svc/manifest/network/pen.xml", &before.replace("load balancer for", "balancer of"));
        {
            let _fails = Svccfg::instead("exit 1");
            assert_eq!(try_pkgadd(new.path(), admin).status.code(), Some(1));
        }
        assert_eq!(fs::read_to_string(MANIFEST).unwrap(), before);
        pkgadd(new.path());
        assert!(run(&["svcs", "-l", DEFAULT]).contains("balancer of"));
        assert!(!Path::new(&format!("{MANIFEST}.old")).exists());
    }

    /// Nor does it matter when an installation was ended from outside between copy and import.
    fn an_import_that_was_interrupted_is_made_up_for() {
        if !in_a_sandbox("an_import_that_was_interrupted_is_made_up_for") {
            return;
        }
        let admin = admin();
        {
            let _ends = Svccfg::instead("kill -9 $PPID");
            assert!(!try_pkgadd(&package(), admin.path().to_str().unwrap()).status.success());
        }
        assert!(Path::new(MANIFEST).exists());
        assert!(!try_run(&["svcs", "-H", DEFAULT]).status.success());
        pkgadd(&package());
        assert_eq!(state(DEFAULT), "disabled");
    }

    /// The manifest of an installed service is there at all times: the next boot deletes a service that has none.
    fn the_manifest_of_a_service_is_never_missing() {
        if !in_a_sandbox("the_manifest_of_a_service_is_never_missing") {
            return;
        }
        pkgadd(&package());
        let admin = admin();
        let admin = admin.path().to_str().unwrap();
        let before = fs::read_to_string(MANIFEST).unwrap();
        {
            // Nothing to copy, and no import.
            let _fails = Svccfg::instead("exit 1");
            let failed = try_pkgadd(&package(), admin);
            assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
        }
        assert_eq!(fs::read_to_string(MANIFEST).unwrap(), before);

        // Ended from outside while it is copied.
        let new = before.replace("load balancer for", "balancer of");
        let new = Altered::new().file("var/svc/manifest/network/pen.xml", &new);
        let copy = "#!/bin/sh\ncase \"$*\" in *pen.xml*) kill -9 $PPID ;; esac\nexec /usr/bin/cp \"$@\"\n";
        fs::write("/usr/sbin/cp", copy).unwrap();
        fs::set_permissions("/usr/sbin/cp", fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!try_pkgadd(new.path(), admin).status.success());
        fs::remove_file("/usr/sbin/cp").unwrap();
        assert_eq!(fs::read_to_string(MANIFEST).unwrap(), before);
        pkgadd(new.path());
        assert!(run(&["svcs", "-l", DEFAULT]).contains("balancer of"));
        let left = || fs::read_dir("/var/svc/manifest/network").unwrap().count();
        assert_eq!(left(), 1);

        // What an installation has left that was ended goes with the package.
        fs::write(format!("{MANIFEST}.old"), "").unwrap();
        assert!(pkgrm().status.success());
        assert_eq!(left(), 0);
    }

    /// What was removed can be installed again, though the repository remembers manifests by their hash.
    fn removed_and_installed_again() {
        for _ in 0..2 {
            pkgadd(&package());
            assert_eq!(state(DEFAULT), "disabled");
            let removed = pkgrm();
            assert!(removed.status.success(), "{}", text(&removed));
            assert!(!try_run(&["svcs", "-H", DEFAULT]).status.success());
        }
    }

    /// No question has to be asked where the dependencies are there and nothing conflicts, and shared directories stay whose
    /// they are.
    fn no_conflict_and_no_dependency_stops_it() {
        let mut admin = tempfile::NamedTempFile::new().unwrap();
        let checks = ["partial", "runlevel", "idepend", "rdepend", "space", "setuid", "conflict"];
        let checks = checks.map(|check| format!("{check}=quit\n")).concat();
        write!(admin, "mail=\ninstance=overwrite\n{checks}action=nocheck\nbasedir=default\n").unwrap();
        let owners = || ["/usr/share/doc", "/usr/bin", "/etc/security"].map(|path| {
            let meta = fs::metadata(path).unwrap();
            (meta.uid(), meta.gid(), meta.mode())
        });
        let before = owners();
        let installed = try_pkgadd(&package(), admin.path().to_str().unwrap());
        assert!(installed.status.success(), "{}", text(&installed));
        assert_eq!(owners(), before);
        run(&["pkgchk", "SUNWpen"]);
    }

    /// An admin file cannot move the package to a place where its service would not work.
    fn another_base_directory_is_refused() {
        let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = elsewhere.path().to_str().unwrap();
        let as_usual = admin();
        let moved = fs::read_to_string(as_usual.path()).unwrap();
        let moved = moved.replace("basedir=default", &format!("basedir={path}"));
        let mut admin = tempfile::NamedTempFile::new().unwrap();
        admin.write_all(moved.as_bytes()).unwrap();
        let refused = try_pkgadd(&package(), admin.path().to_str().unwrap());
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        let why = format!("expected the base directory /, got '{path}'");
        assert!(text(&refused).contains(&why), "{}", text(&refused));
        assert!(!elsewhere.path().join("usr/bin/pen").exists());

        // As the message says.
        let removed = pkgrm();
        assert!(removed.status.success(), "{}", text(&removed));
        pkgadd(&package());
        assert_eq!(state(DEFAULT), "disabled");
        run(&["pkgchk", "SUNWpen"]);
    }

    /// Another version is no second instance: without a word about it in the admin file it is refused.
    fn another_version_replaces_this_one() {
        pkgadd(&package());
        let new = Altered::new().version("1.0.1,REV=2027.01.01").file("etc/pen/pen.conf.sample", "# the second\n");
        let by_default = "mail=\ninstance=unique\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\nrdepend=nocheck\n\
             space=nocheck\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\nbasedir=default\n";
        let mut unique = tempfile::NamedTempFile::new().unwrap();
        unique.write_all(by_default.as_bytes()).unwrap();
        let refused = try_pkgadd(new.path(), unique.path().to_str().unwrap());
        assert_eq!(refused.status.code(), Some(4), "{}", text(&refused));
        assert!(!try_run(&["pkginfo", "-q", "SUNWpen.2"]).status.success());

        pkgadd(new.path());
        assert!(run(&["pkginfo", "-l", "SUNWpen"]).contains("VERSION:  1.0.1,REV=2027.01.01"));
        assert!(!try_run(&["pkginfo", "-q", "SUNWpen.2"]).status.success());
        assert_eq!(state(DEFAULT), "disabled");
        // A sample that nobody has edited goes with the versions, from one to the next.
        assert_eq!(fs::read_to_string(SAMPLE).unwrap(), "# the second\n");
        let third = Altered::new().version("1.0.2,REV=2027.02.02").file("etc/pen/pen.conf.sample", "# the third\n");
        pkgadd(third.path());
        assert_eq!(fs::read_to_string(SAMPLE).unwrap(), "# the third\n");
        assert!(!Path::new("/etc/pen/pen.conf.sample.new").exists());
        // And an edited one stays.
        fs::write(SAMPLE, "# mine\n").unwrap();
        pkgadd(new.path());
        assert_eq!(fs::read_to_string(SAMPLE).unwrap(), "# mine\n");
        assert_eq!(fs::read_to_string("/etc/pen/pen.conf.sample.new").unwrap(), "# the second\n");
    }

    /// The rights profile works as soon as the package is there, whatever files the system reads; pkgrm says what stays.
    fn rights_are_there_at_once() {
        if !in_a_sandbox("rights_are_there_at_once") {
            return;
        }
        pkgadd(&package());
        let line = "nobody::::type=normal;profiles=Pen Load Balancer Management\n";
        fs::OpenOptions::new().append(true).open("/etc/user_attr").unwrap().write_all(line.as_bytes()).unwrap();
        let nobody = |line: &[&str]| try_run(&[&["setpriv", "--reuid=nobody", "--clear-groups"], line].concat());
        let refreshed = nobody(&["svcadm", "refresh", DEFAULT]);
        assert!(refreshed.status.success(), "{}", text(&refreshed));
        // What an administrator has there stays, and a second installation adds nothing twice.
        let profiles = || fs::read_to_string("/etc/security/prof_attr").unwrap();
        let merged = profiles();
        let new = Altered::new().version("1.0.1").file("etc/security/prof_attr.d/SUNWpen", &fs::read_to_string("/etc/security/prof_attr.d/SUNWpen").unwrap().replace("its settings", "all settings"));
        pkgadd(new.path());
        assert_eq!(profiles(), merged.replace("its settings", "all settings"));
        let removed = pkgrm();
        assert!(text(&removed).contains("What was merged into /etc/security/prof_attr stays"), "{}", text(&removed));
        assert!(!Path::new("/etc/security/prof_attr.d/SUNWpen").exists());
    }

    /// A configuration in a directory that is closed to all but the account of pen.
    fn a_configuration_closed_to_others() {
        pkgadd(&package());
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let file = place.path().join("pen.conf");
        fs::write(&file, "listen 80\nblacklist 7\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
        run(&["chown", "-R", "daemon", place.path().to_str().unwrap()]);
        run(&["svccfg", "-s", DEFAULT, "setprop", "config/file", "=", "astring:", file.to_str().unwrap()]);
        run(&["svcadm", "refresh", DEFAULT]);
        run(&["svcadm", "enable", "-s", DEFAULT]);
        run(&["sh", "-c", &format!("echo 'blacklist 8' >>{}", file.display())]);
        run(&["svcadm", "refresh", DEFAULT]);
        crate::support::wait_for("the new value", || {
            let log = log("default");
            assert!(!log.contains("missing") && !log.contains("nothing has changed"), "{log}");
            (run(&["penctl", "/var/run/pen/default/control", "blacklist"]).trim() == "8").then_some(())
        });
    }

    /// What svcs(1) shows of the servers: the marker of the examples follows them, and pen itself stays online.
    fn the_state_of_the_servers_is_seen_in_svcs() {
        pkgadd(&package());
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let lines = format!("listen 80\nblacklist 1\nserver 0 address 127.0.0.1 port {port}\nabuse 127.0.0.1:9\n");
        fs::write("/etc/pen/pen.conf", lines).unwrap();
        run(&["svcadm", "enable", "-s", DEFAULT]);
        let marker = "svc:/site/pen-health:default";
        run(&["svccfg", "import", "/usr/share/doc/pen/examples/health.xml"]);
        run(&["svcadm", "enable", "-s", marker]);
        let looks = |wanted: &str| {
            crate::support::wait_for(wanted, || {
                // A client, for pen to notice how its server is.
                _ = Client::connect(80).and_then(|mut client| client.get());
                run(&["/usr/share/doc/pen/examples/health"]);
                (state(marker) == wanted).then_some(())
            });
            assert_eq!(state(DEFAULT), "online");
        };
        drop(server);
        looks("maintenance");
        let server = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        std::thread::spawn(move || server.incoming().for_each(drop));
        looks("online");
        // Without pen there is no server either.
        run(&["svcadm", "disable", "-s", DEFAULT]);
        run(&["/usr/share/doc/pen/examples/health"]);
        crate::support::wait_for("maintenance", || (state(marker) == "maintenance").then_some(()));
    }
}
