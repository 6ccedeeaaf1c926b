//! Instances of the service that properties configure, whatever the properties hold.

use crate::support::solaris::{get, log, on_solaris, package, pid, pkgadd, run, state, try_run, web_server};
use crate::support::tree::text;
use crate::support::{skipped, wait_for};
use std::fs;
use std::io::Write as _;

/// Installs the package and adds an instance.
fn added(instance: &str) -> String {
    pkgadd(&package());
    add(instance)
}

fn add(instance: &str) -> String {
    run(&["svccfg", "-s", "pen", "add", instance]);
    format!("svc:/network/pen:{instance}")
}

/// Sets a property to values, each quoted as svccfg(1M) has it, for the next start or refresh method to see.
fn set(fmri: &str, property: &str, values: &[&str]) {
    let quoted: Vec<_> = values
        .iter()
        .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    // The type for a property that no template knows.
    setprop(fmri, property, &format!("astring: ({})", quoted.join(" ")));
}

fn setprop(fmri: &str, property: &str, value: &str) {
    run(&["svccfg", "-s", fmri, "setprop", property, "=", value]);
}

fn delprop(fmri: &str, property: &str) {
    run(&["svccfg", "-s", fmri, "delprop", property]);
}

fn servers(instance: &str) -> String {
    run(&["penctl", &format!("/var/run/pen/{instance}/control"), "servers"])
}

/// Enabling fails for its configuration; the log of this start.
fn refused(instance: &str, fmri: &str) -> String {
    run(&["svcadm", "refresh", fmri]);
    let enable = try_run(&["svcadm", "enable", "-s", fmri]);
    assert!(!enable.status.success(), "{}", text(&enable));
    assert_eq!(state(fmri), "maintenance");
    let log = log(instance);
    let (_, last) = log.rsplit_once("Executing start method").unwrap();
    assert!(last.contains("exited with status 96"), "{log}");
    run(&["svcadm", "disable", "-s", fmri]);
    assert_eq!(state(fmri), "disabled");
    last.to_owned()
}

on_solaris! {
    /// Two instances, no file at all, each with its own process, port and control socket.
    fn two_instances_from_properties_alone() {
        let (a, b) = (web_server("a"), web_server("b"));
        let first = added("first");
        let second = add("second");
        set(&first, "pen/listenport", &["80"]);
        set(&first, "pen/servers", &[&format!("127.0.0.1:{a}"), &format!("127.0.0.1:{b}:10:20:3:4")]);
        setprop(&first, "pen/roundrobin", "true");
        set(&second, "pen/listenport", &["127.0.0.1:443"]);
        set(&second, "pen/servers", &[&format!("127.0.0.1:{b}")]);
        setprop(&second, "pen/blacklist", "7");
        for fmri in [&first, &second] {
            run(&["svcadm", "enable", "-s", fmri]);
        }
        assert_ne!(pid(&first), pid(&second));
        let mut answers = [get(80), get(80)];
        answers.sort();
        assert_eq!(answers, ["a", "b"]);
        assert_eq!(get(443), "b");
        let shown = servers("first");
        let line = shown.lines().nth(1).unwrap();
        assert!(line.contains("max 10 hard 20 weight 3 prio 4"), "{shown}");
        assert_eq!(run(&["penctl", "/var/run/pen/second/control", "blacklist"]).trim(), "7");

        // One of them changes and the other one does not notice.
        set(&second, "pen/servers", &[&format!("127.0.0.1:{a}")]);
        setprop(&second, "pen/blacklist", "8");
        run(&["svcadm", "refresh", &second]);
        wait_for("the new server", || (get(443) == "a").then_some(()));
        assert_eq!(run(&["penctl", "/var/run/pen/second/control", "blacklist"]).trim(), "8");
        assert_eq!(servers("first").lines().count(), 2);
        run(&["svcadm", "disable", "-s", &first]);
        assert_eq!(get(443), "a");
        assert_eq!(state("svc:/network/pen:default"), "disabled");
    }

    /// Properties add to the file and win over it, at start and after a refresh.
    fn properties_win_over_the_file() {
        let (a, b, c) = (web_server("a"), web_server("b"), web_server("c"));
        let fmri = added("both");
        let file = tempfile::Builder::new().prefix("pen \\ \"file\" ").tempfile_in("/var/tmp").unwrap();
        let lines = format!("listen 81\nblacklist 11\ntracking 12\nserver 0 address 127.0.0.1 port {a}\nserver 1 address 127.0.0.1 port {b}\n");
        fs::write(file.path(), lines).unwrap();
        run(&["chmod", "644", file.path().to_str().unwrap()]);
        set(&fmri, "config/file", &[file.path().to_str().unwrap()]);
        set(&fmri, "pen/listenport", &["80"]);
        set(&fmri, "pen/servers", &[&format!("127.0.0.1:{c}")]);
        setprop(&fmri, "pen/tracking", "13");
        run(&["svcadm", "enable", "-s", &fmri]);
        assert!((0..4).map(|_| get(80)).all(|answer| answer != "a"));
        let ask = |word: &str| run(&["penctl", "/var/run/pen/both/control", word]).trim().to_owned();
        assert_eq!((ask("blacklist").as_str(), ask("tracking").as_str()), ("11", "13"));
        let shown = servers("both");
        assert!(shown.contains(&format!("port {b} ")) && !shown.contains(&format!("port {a} ")), "{shown}");

        fs::write(file.path(), "listen 81\nblacklist 21\ntracking 22\n").unwrap();
        run(&["svcadm", "refresh", &fmri]);
        wait_for("the new file", || (ask("blacklist") == "21").then_some(()));
        assert_eq!(ask("tracking"), "13");
        assert!(servers("both").contains(&format!("port {c} ")));
    }

    /// A value reaches pen as it is: no shell, no pattern and no second word comes of it.
    fn values_are_single_arguments() {
        let fmri = added("odd");
        set(&fmri, "pen/listenport", &["80"]);
        set(&fmri, "pen/servers", &["127.0.0.1:81"]);
        run(&["svcadm", "enable", "-s", &fmri]);
        for value in [
            "/var/tmp/a b",
            "/var/tmp/$(touch /var/tmp/ran)",
            "/var/tmp/`touch /var/tmp/ran`",
            "/var/tmp/;touch /var/tmp/ran",
            "/var/tmp/*",
            "/var/tmp/\"quoted\" 'and' \\back\\slashed\\\\",
            "/var/tmp/ends in \\",
            "/var/tmp/#no comment",
            "  /var/tmp/$HOME ${PATH} & | < > ( ) ^ ! ~ \t tab",
            "/var/tmp/grün",
        ] {
            set(&fmri, "pen/web_stats", &[value]);
            run(&["svcadm", "refresh", &fmri]);
            wait_for(value, || {
                let told = run(&["penctl", "/var/run/pen/odd/control", "web_stats"]);
                (told.strip_suffix('\n') == Some(value)).then_some(())
            });
        }
        assert!(!std::path::Path::new("/var/tmp/ran").exists());
    }

    /// Who has the rights profile sets any property, adds and deletes them; instances are for root to add.
    fn the_profile_may_set_properties() {
        if std::env::var_os("PEN_TEST_PACKAGE").is_none() {
            return skipped("the_profile_may_set_properties", "it would give an account of this system a profile");
        }
        let fmri = added("rights");
        run(&["svccfg", "-s", &fmri, "addpg", "pen", "application"]);
        // Which makes the property general/enabled; from then on it is a value.
        run(&["svcadm", "disable", &fmri]);
        let nobody = |line: &[&str]| try_run(&[&["setpriv", "--reuid=nobody", "--clear-groups"], line].concat());
        let lines: [&[&str]; 5] = [
            &["svccfg", "-s", &fmri, "setprop", "pen/listenport", "=", "astring:", "80"],
            &["svccfg", "-s", "pen:default", "setprop", "pen/timeout", "=", "count:", "5"],
            &["svccfg", "-s", "pen:default", "delprop", "config/file"],
            &["svcadm", "refresh", &fmri],
            &["svcadm", "enable", "-s", &fmri],
        ];
        for line in lines {
            assert!(text(&nobody(line)).contains("Permission denied"), "{line:?}");
        }
        let line = "nobody::::type=normal;profiles=Pen Load Balancer Management\n";
        fs::OpenOptions::new().append(true).open("/etc/user_attr").unwrap().write_all(line.as_bytes()).unwrap();
        for line in lines {
            let output = nobody(line);
            assert!(output.status.success(), "{line:?}: {}", text(&output));
        }
        assert_eq!(servers("rights"), "");
        let others: [&[&str]; 3] = [
            &["svccfg", "-s", "pen", "add", "more"],
            &["svccfg", "-s", &fmri, "setprop", "start/exec", "=", "astring:", "/bin/true"],
            &["svcadm", "disable", "milestone/network"],
        ];
        for line in others {
            assert!(text(&nobody(line)).contains("Permission denied"), "{line:?}");
        }
    }

    /// What cannot be a configuration is refused with the name of its property.
    fn bad_values_are_refused() {
        let fmri = added("bad");
        let told = refused("bad", &fmri);
        assert!(told.contains("neither config/file nor pen/listenport is set"), "{told}");

        set(&fmri, "pen/listenport", &["80"]);
        for (settings, because) in [
            (&[("pen/user", "root")][..], &["pen/user: expected an account other than root, got 'root'"][..]),
            (&[("pen/user", "nobody-of-that-name")], &["pen/user: there is no account 'nobody-of-that-name'"]),
            (&[("pen/user", "-x; id")], &["pen/user: expected the name of an account, got '-x; id'"]),
            (&[("pen/web_stats", "/var/tmp/a\nuser root")], &["pen/web_stats: expected a value of one line, got one with a line feed"]),
            (&[("pen/command", "blacklist 5\nuser root")], &["pen/command: expected a value of one line, got one with a line feed"]),
            (
                &[("pen/servers", "10.0.0.1:80:1:2:3:4:5")],
                &["pen/servers: expected host[:port[:soft[:hard[:weight[:prio]]]]], got '10.0.0.1:80:1:2:3:4:5'"],
            ),
            // What pen finds is told all at once.
            (
                &[
                    ("pen/servers", "10.0.0.1:nosuchservice"),
                    ("pen/tcp_fastclose", "sometimes"),
                    ("pen/http_forwarded", "forged"),
                    ("pen/source", "here"),
                    ("pen/command", "frobnicate"),
                    ("pen/nosuchsetting", "x"),
                ],
                &[
                    "pen/servers: server 0 port: ",
                    "pen/tcp_fastclose: ",
                    "pen/http_forwarded: ",
                    "pen/source: source: expected an IP address, got 'here'",
                    "pen/command: 'frobnicate'",
                    "pen/nosuchsetting: 'nosuchsetting'",
                ],
            ),
        ] {
            for (property, value) in settings {
                set(&fmri, property, &[value]);
            }
            let told = refused("bad", &fmri);
            for part in because {
                assert!(told.contains(part), "{settings:?}: {told}");
            }
            for (property, _) in settings {
                delprop(&fmri, property);
            }
        }
        run(&["svcadm", "refresh", &fmri]);
        run(&["svcadm", "enable", "-s", &fmri]);
    }

    /// Every form of a server, and a port that comes from pen/listenport.
    fn servers_take_every_form() {
        let fmri = added("forms");
        set(&fmri, "pen/listenport", &["[::1]:80"]);
        set(&fmri, "pen/servers", &["[::1]:81:5", "10.0.0.1", "/var/run/x y", "[2001:db8::1]", "10.0.0.2:82::7", "10.0.0.3:http"]);
        set(&fmri, "pen/command", &["acl 1 permit 10.0.0.1", "server 0 acl 1"]);
        run(&["svcadm", "enable", "-s", &fmri]);
        let shown = servers("forms");
        let lines: Vec<_> = shown.lines().collect();
        for (line, part) in lines.iter().zip([
            "0 addr ::1 port 81 conn 0 max 5 hard 0",
            "1 addr 10.0.0.1 port 80 ",
            "2 addr /var/run/x y port ",
            "3 addr 2001:db8::1 port 80 ",
            "4 addr 10.0.0.2 port 82 conn 0 max 0 hard 7",
            "5 addr 10.0.0.3 port 80 ",
        ]) {
            assert!(line.contains(part), "{part}: {shown}");
        }
        assert_eq!(lines.len(), 6);
    }

    /// An instance for https, from properties alone. A key that only root may read is refused at once, since a refresh as
    /// the account could not read it.
    fn https_from_properties() {
        let web = web_server("secret");
        let fmri = added("https");
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let (key, certificate) = (place.path().join("key"), place.path().join("crt"));
        let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
        let make = |days: &str| {
            let request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
            run(&[&request[..], &["-days", days, "-keyout", key, "-out", certificate]].concat());
            run(&["chmod", "644", certificate]);
        };
        make("2");
        run(&["chmod", "755", place.path().to_str().unwrap()]);
        run(&["chmod", "600", key]);
        set(&fmri, "pen/listenport", &["443"]);
        set(&fmri, "pen/servers", &[&format!("127.0.0.1:{web}")]);
        set(&fmri, "pen/ssl_certfile", &[certificate]);
        set(&fmri, "pen/ssl_keyfile", &[key]);
        let told = refused("https", &fmri);
        assert!(told.contains(key) && told.contains("ermission denied"), "{told}");

        run(&["chown", "daemon", key]);
        run(&["svcadm", "enable", "-s", &fmri]);
        let url = "https://localhost/";
        assert_eq!(run(&["curl", "--silent", "--show-error", "--cacert", certificate, url]), "secret");

        // A new certificate by refresh, in the same process.
        let process = pid(&fmri);
        make("3");
        run(&["chown", "daemon", key]);
        run(&["svcadm", "refresh", &fmri]);
        wait_for("the new certificate", || {
            let reply = try_run(&["curl", "--silent", "--cacert", certificate, url]);
            (reply.stdout == b"secret").then_some(())
        });
        assert_eq!(pid(&fmri), process);
    }

    /// An instance may have nearly any name, and what is being checked for one is not what another one runs on.
    fn instances_do_not_share_files() {
        let (first, second) = (added("a"), add("a,new"));
        set(&first, "pen/listenport", &["80"]);
        set(&second, "pen/listenport", &["81"]);
        for fmri in [&first, &second] {
            run(&["svcadm", "enable", "-s", fmri]);
        }
        let of_second = "/var/run/pen-conf/a,new";
        let before = fs::read_to_string(of_second).unwrap();
        // Neither a good configuration of the first nor a bad one touches it.
        for (value, told) in [("7", "blacklist 7"), ("soon", "nothing has changed")] {
            set(&first, "pen/blacklist", &[value]);
            run(&["svcadm", "refresh", &first]);
            wait_for(told, || {
                let written = fs::read_to_string("/var/run/pen-conf/a").unwrap() + &log("a");
                (written.replace('"', "").contains(told)).then_some(())
            });
            assert_eq!(fs::read_to_string(of_second).unwrap(), before);
        }
    }

    /// An empty value counts as none, wherever a property is read.
    fn empty_values_count_as_none() {
        let fmri = added("empty");
        set(&fmri, "pen/listenport", &[""]);
        let told = refused("empty", &fmri);
        assert!(told.contains("neither config/file nor pen/listenport is set"), "{told}");
        // With a file, which says where to listen.
        fs::write("/etc/pen/empty.conf", "listen 80\n").unwrap();
        set(&fmri, "config/file", &["/etc/pen/empty.conf"]);
        for property in ["pen/user", "pen/web_stats", "pen/command", "pen/source"] {
            set(&fmri, property, &[""]);
        }
        set(&fmri, "pen/servers", &["", "10.0.0.1:81", ""]);
        run(&["svcadm", "refresh", &fmri]);
        run(&["svcadm", "enable", "-s", &fmri]);
        let shown = servers("empty");
        assert!(shown.starts_with("0 addr 10.0.0.1 port 81 ") && shown.lines().count() == 1, "{shown}");
    }

    /// Without a file the limits that a service on the Internet needs are in force, unless a property says otherwise.
    fn without_a_file_there_are_limits() {
        let fmri = added("limits");
        set(&fmri, "pen/listenport", &["80"]);
        set(&fmri, "pen/servers", &["10.0.0.1:81"]);
        setprop(&fmri, "pen/conn_max", "count: 1500");
        run(&["svcadm", "enable", "-s", &fmri]);
        let shown = |word: &str| run(&["penctl", "/var/run/pen/limits/control", &format!("show {word}")]);
        for limit in ["conn_max 1500", "client_conn_max 100", "idle_timeout 600"] {
            let word = limit.split(' ').next().unwrap();
            assert_eq!(shown(word), format!("{limit}\n"));
        }
    }

    /// The order of properties in the repository means nothing: commands come last, and may be about all others.
    fn commands_come_after_all_properties() {
        let fmri = added("order");
        set(&fmri, "pen/listenport", &["80"]);
        set(&fmri, "pen/servers", &["10.0.0.1:81:1"]);
        let numbers = ["blacklist", "tracking", "timeout", "idle_timeout", "backlog", "multi_accept", "clients_max"];
        for number in numbers {
            setprop(&fmri, &format!("pen/{number}"), "count: 60");
        }
        let mut commands: Vec<_> = numbers.iter().map(|number| format!("{number} 70")).collect();
        commands.push("server 0 max 9".into());
        set(&fmri, "pen/command", &commands.iter().map(String::as_str).collect::<Vec<_>>());
        run(&["svcadm", "enable", "-s", &fmri]);
        for number in numbers {
            let told = run(&["penctl", "/var/run/pen/order/control", number]);
            assert!(told.contains("70"), "{number}: {told}");
        }
        assert!(servers("order").contains(" max 9 "), "{}", servers("order"));
    }

    /// Another account for one instance.
    fn the_account_is_a_property() {
        let fmri = added("other");
        set(&fmri, "pen/listenport", &["80"]);
        set(&fmri, "pen/user", &["nobody"]);
        run(&["svcadm", "enable", "-s", &fmri]);
        assert_eq!(run(&["ps", "-o", "user=", "-p", &pid(&fmri)]).trim(), "nobody");
        // The account changes with a restart, and so does whose the directory is.
        set(&fmri, "pen/user", &["daemon"]);
        run(&["svcadm", "refresh", &fmri]);
        run(&["svcadm", "restart", &fmri]);
        wait_for("the other account", || {
            // All from one look at it: the process of before may go at any time.
            let listed = text(&try_run(&["svcs", "-H", "-p", &fmri]));
            let (service, process) = listed.trim_end().split_once('\n')?;
            (service.starts_with("online ") && !process.contains('\n')).then_some(())?;
            let pid = process.split_whitespace().nth(1)?;
            (text(&try_run(&["ps", "-o", "user=", "-p", pid])).trim() == "daemon").then_some(())
        });
        assert_eq!(servers("other"), "");
    }
}
