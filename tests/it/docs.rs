//! Every command in the documents and in the manual pages' examples is run, in a sandbox where the names that the documents
//! use are those of servers, and prints what the document shows.

use crate::support::script::{Example, of_page, of_text};
use crate::support::solaris::{on_solaris, package, pkgadd, run};
use crate::support::tree::{self, top};
use crate::support::udp::Server;
use crate::support::{Backend, is_root, wait_for, wait_until};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The servers of the documents: name, address, the ports that they serve.
const SERVERS: [(&str, &str, u16); 10] = [
    ("www1", "192.0.2.11", 80),
    ("www2", "192.0.2.12", 80),
    ("www3", "192.0.2.13", 80),
    ("sorry", "192.0.2.19", 80),
    ("mail1", "192.0.2.21", 25),
    ("mail2", "192.0.2.22", 25),
    ("ldap1", "192.0.2.31", 389),
    ("ldap2", "192.0.2.32", 389),
    ("ns1", "192.0.2.41", 53),
    ("ns2", "192.0.2.42", 53),
];

/// Commands of Solaris that have no stand-in: whether these lines work nothing here can tell.
const UNKNOWN: [&str; 7] = ["dladm", "ipadm", "vrrpadm", "pkgrepo", "pkgmogrify", "pkgsend", "pkg "];

/// What a document takes as given, beside the servers.
enum Given {
    /// The file of the package, in the current directory.
    File,
    /// The installed package.
    Package,
    /// The package, a service that runs, and a pen with its control socket at port 8888.
    Running,
    /// The package, and logs of pen and two servers in the current directory.
    Logs,
    /// The package, and an authority for www.example.com that clients trust.
    Authority,
}

/// Declares a test for each document.
macro_rules! documents {
    ($($name:ident: $path:literal, $given:ident;)*) => {
        on_solaris! {
            $(#[doc = $path] fn $name() { follow($path, &Given::$given); })*
        }
        /// The documents that are tested.
        const TESTED: &[&str] = &[$($path),*];
    };
}

documents! {
    readme_of_the_source: "README.md", File;
    readme: "doc/README", Package;
    howto: "doc/HOWTO", File;
    http: "doc/howto/http.txt", Package;
    smtp: "doc/howto/smtp.txt", Package;
    proxy: "doc/howto/proxy.txt", Package;
    ldap: "doc/howto/ldap.txt", Package;
    dns: "doc/howto/dns.txt", Package;
    checks: "doc/howto/checks.txt", Package;
    maintenance: "doc/howto/maintenance.txt", Package;
    limits: "doc/howto/limits.txt", Package;
    tls: "doc/howto/tls.txt", Authority;
    monitoring: "doc/howto/monitoring.txt", Package;
    vrrp: "doc/howto/vrrp.txt", Package;
    instances: "doc/howto/instances.txt", Package;
    zones: "doc/howto/zones.txt", File;
    migration: "doc/howto/migration.txt", Package;
    changes: "doc/changes-from-c-pen.txt", Package;
    page_of_pen: "man1/pen.1", Package;
    logs: "doc/howto/logs.txt", Logs;
    page_of_penctl: "man1/penctl.1", Running;
    page_of_penlog: "man1/penlog.1", Logs;
    page_of_penlogd: "man1/penlogd.1", Package;
    page_of_mergelogs: "man1/mergelogs.1", Logs;
}

/// No document is left out.
#[test]
fn every_document_is_tested() {
    let commands = |path: &Path| {
        !["doc/examples", "doc/schema"].iter().any(|others| path.starts_with(top().join(others)))
    };
    let mut documents = tree::files("doc", commands);
    documents.extend(tree::files("man1", |_| true));
    for document in documents {
        let name = document.strip_prefix(top()).unwrap().to_str().unwrap();
        assert!(TESTED.contains(&name), "tests/it/docs.rs does not run the commands of {name}");
    }
}

/// Does all that a document says.
fn follow(document: &str, given: &Given) {
    let Ok(text) = fs::read_to_string(top().join(document)) else { panic!("there is no {document}") };
    let examples = if document.ends_with(".1") { of_page(&text) } else { of_text(&text) };
    if std::env::var_os("PEN_TEST_PACKAGE").is_none() {
        // The real system's own commands: these are for a system that goes away.
        return eprintln!("skipped: {document}: its commands would change this system");
    }
    assert!(is_root());
    let _servers = start_servers();
    let place = tempfile::tempdir().unwrap();
    prepare(given, place.path());
    fs::write(place.path().join("at"), place.path().to_str().unwrap()).unwrap();
    for example in &examples {
        let at = format!("{document}:{}: {}", example.number, example.command);
        if UNKNOWN.iter().any(|word| example.command.starts_with(word)) {
            eprintln!("skipped: {at}: no stand-in");
        } else if example.command.split(' ').nth(1) == Some("-f") {
            serves(&at, example, place.path());
        } else {
            works(&at, example, place.path());
        }
    }
}

/// Where pen is.
const BALANCER: &str = "192.0.2.1/24";

/// The servers, which end with this.
struct Servers(Child);

impl Drop for Servers {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Starts the servers, on a network of their own as if they were other machines, and makes their names known.
fn start_servers() -> Servers {
    let mut hosts = fs::OpenOptions::new().append(true).open("/etc/hosts").unwrap();
    run(&["ip", "netns", "add", "servers"]);
    run(&["ip", "link", "add", "pen0", "type", "veth", "peer", "name", "servers0", "netns", "servers"]);
    run(&["ip", "addr", "add", BALANCER, "dev", "pen0"]);
    run(&["ip", "link", "set", "pen0", "up"]);
    writeln!(hosts, "{} lb", BALANCER.split('/').next().unwrap()).unwrap();
    for (name, address, _) in SERVERS {
        writeln!(hosts, "{address} {name}").unwrap();
        run(&["ip", "-n", "servers", "addr", "add", &format!("{address}/24"), "dev", "servers0"]);
    }
    run(&["ip", "-n", "servers", "link", "set", "servers0", "up"]);
    let mut command = Command::new("nsenter");
    command.arg("--net=/run/netns/servers").arg(std::env::current_exe().unwrap());
    command.args(["--exact", "it::docs::servers_of_the_documents", "--ignored", "--nocapture"]);
    let mut child = command.env(SERVE, "").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    assert!(said.lines().any(|line| line.unwrap().contains("serving")), "the servers do not start");
    Servers(child)
}

/// Makes [`servers_of_the_documents`] do so.
const SERVE: &str = "PEN_TEST_SERVE";

/// No test: the servers, in a process of their own.
#[test]
#[ignore = "started by the other tests"]
fn servers_of_the_documents() {
    if std::env::var_os(SERVE).is_some() {
        let _servers = serve();
        println!("serving");
        _ = std::io::stdin().read(&mut [0]);
    }
}

fn serve() -> (Vec<Backend>, Vec<Server>) {
    let (mut named, mut datagrams) = (Vec::new(), Vec::new());
    for (name, address, port) in SERVERS {
        let address: SocketAddr = format!("{address}:{port}").parse().unwrap();
        datagrams.push(Server::named_on(address, name));
        named.push(Backend::on(&address.into(), move |client| {
            let mut request = [0; 4096];
            while let Ok(1..) = (&client.0).read(&mut request) {
                let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}\n", name.len() + 1);
                if (&client.0).write_all(reply.as_bytes()).is_err() {
                    return;
                }
            }
        }));
    }
    (named, datagrams)
}

/// What stands for dig(1): any answer, from the address that was asked, will do.
const DIG: &str = r#"#!/bin/bash
exec 3<>"/dev/udp/${1#@}/53" && echo "$2" >&3 && timeout 20 dd bs=512 count=1 <&3 2>/dev/null | grep ns
"#;

fn prepare(given: &Given, place: &Path) {
    fs::write("/usr/bin/dig", DIG).unwrap();
    fs::set_permissions("/usr/bin/dig", fs::Permissions::from_mode(0o755)).unwrap();
    match given {
        Given::File => {
            fs::copy(package().join("SUNWpen.pkg"), place.join("SUNWpen.pkg")).unwrap();
            fs::copy(top().join("Makefile"), place.join("Makefile")).unwrap();
            // An editor whose user changes nothing.
            fs::write("/usr/bin/vi", "#!/bin/sh\ntest -f \"$1\"\n").unwrap();
            fs::set_permissions("/usr/bin/vi", fs::Permissions::from_mode(0o755)).unwrap();
        }
        Given::Package | Given::Running | Given::Logs | Given::Authority => pkgadd(&package()),
    }
    match given {
        Given::Logs => make_logs(place),
        Given::Authority => be_an_authority(place),
        _ => {}
    }
    if matches!(given, Given::Running | Given::Logs) {
        fs::copy("/usr/share/doc/pen/examples/http.conf", "/etc/pen/pen.conf").unwrap();
        run(&["svcadm", "enable", "-s", "pen"]);
        run(&["pen", "-u", "daemon", "-C", "127.0.0.1:8888", "8080", "www1:80", "www2:80"]);
        run(&["mkdir", "-p", "/var/lib/pen"]);
        run(&["chown", "daemon", "/var/lib/pen"]);
    }
}

/// Logs as pen and two servers leave them, compressed and not.
fn make_logs(place: &Path) {
    run(&["mkdir", "-p", "/var/nginx"]);
    let line = "192.0.2.1 - - [22/Nov/2026:19:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n";
    for (name, text) in [
        ("pen.log", "203.0.113.7 1795374000 192.0.2.11 GET / HTTP/1.1\n"),
        ("www1.log", line),
        ("www2.log", line),
    ] {
        let file = place.join(name);
        fs::write(&file, text).unwrap();
        run(&["gzip", "-k", file.to_str().unwrap()]);
    }
}

/// A command in a shell that goes on where the last one was.
fn shell(command: &str, place: &Path) -> Command {
    let mut shell = Command::new("/bin/sh");
    let at = place.join("at");
    let script = format!("cd \"`cat {0}`\"\n{command}\nstatus=$?\npwd >{0}\nexit $status", at.display());
    // What curl trusts in a document's time is its authority.
    shell.arg("-c").arg(script).env("CURL_CA_BUNDLE", place.join("root.crt"));
    shell
}

/// What an authority gives: certificates for www.example.com, and a responder that calls them good. All of it ends with the
/// sandbox.
fn be_an_authority(place: &Path) {
    const SCRIPT: &str = r#"
        openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj "/CN=Authority" -keyout root.key -out root.crt
        printf 'subjectAltName=DNS:www.example.com\nauthorityInfoAccess=OCSP;URI:http://ocsp.example.com:8889\n' >ext
        openssl req -newkey rsa:2048 -nodes -subj "/CN=www.example.com" -keyout privkey.pem -out csr
        openssl x509 -req -in csr -CA root.crt -CAkey root.key -set_serial 7 -days 9 -extfile ext -out leaf
        cat leaf root.crt >fullchain.pem
        cp fullchain.pem new.pem
        cp privkey.pem newkey.pem
        mkdir -p /etc/letsencrypt/renewal-hooks/deploy /etc/letsencrypt/live/www.example.com
        cp fullchain.pem privkey.pem /etc/letsencrypt/live/www.example.com
        printf 'V\t391231235959Z\t\t07\tunknown\t/CN=www.example.com\n' >index
        echo '127.0.0.1 www.example.com ocsp.example.com' >/tmp/hosts
        cat /etc/hosts >>/tmp/hosts
        cp /tmp/hosts /etc/hosts
    "#;
    tree::run(Command::new("/bin/sh").args(["-ec", &format!("cd {}\n{SCRIPT}", place.display())]));
    let mut responder = Command::new("openssl");
    responder.args(["ocsp", "-port", "8889", "-index", "index", "-ndays", "1", "-CA", "root.crt"]);
    responder.args(["-rsigner", "root.crt", "-rkey", "root.key"]).current_dir(place);
    let mut responder = responder.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It serves one connection at a time, and would wait for what a probe has to say.
    wait_until("the responder", || {
        assert!(responder.try_wait().unwrap().is_none(), "the responder ended");
        ["tcp", "tcp6"].iter().any(|kind| {
            fs::read_to_string(format!("/proc/net/{kind}"))
                .is_ok_and(|t| t.contains(&format!(":{:04X} ", 8889)))
        })
    });
}

/// Runs a command that ends by itself, with 0. What it shows may take a while to become so, as after a refresh.
fn works(at: &str, example: &Example, place: &Path) {
    // What would never end here: the checks run this test. That make would do something is told by -n.
    let command = match example.command.strip_prefix("make ") {
        Some(goal) => format!("make -n {goal}"),
        None => example.command.clone(),
    };
    let ended = told_to_end(&command);
    let pen = command.strip_prefix("svcadm refresh ").filter(|instance| instance.starts_with("pen:"));
    let refreshes = pen.filter(|instance| is_online(instance));
    let before = refreshes.map(|_| refreshed());
    let asks =
        ["penctl ", "svcs ", "curl ", "openssl s_client "].iter().any(|word| command.starts_with(word));
    let mut last = String::new();
    wait_for(&format!("{at} to show {:?}", example.shows), || {
        let mut child = shell(&command, place);
        let output = fs::File::create(place.join("output")).unwrap();
        child.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut child = child.spawn().unwrap();
        // To every question the answer is yes. A command may ask none.
        _ = child.stdin.take().unwrap().write_all(&b"y\n".repeat(20));
        let status = child.wait().unwrap();
        let said = fs::read_to_string(place.join("output")).unwrap();
        let shown = status.success() && example.is_shown(&said);
        assert!(shown || asks, "{at}: {status}\n{said}{}", service_logs());
        if !shown && last != said {
            eprintln!("{at}: {status}\n{said}");
            last = said;
        }
        shown.then_some(())
    });
    if let Some(before) = before {
        // svcadm does not wait for the method; what is typed next is for the configuration that it brings.
        wait_until("the service to be refreshed", || refreshed() > before);
    }
    if let Some(process) = ended {
        // Who types has ended it before the next command.
        wait_until("what was told to end", || !process.exists());
    }
}

/// The process that a "kill `cat FILE`" tells to end.
fn told_to_end(command: &str) -> Option<PathBuf> {
    let file = command.strip_prefix("kill `cat ")?.strip_suffix('`')?;
    Some(Path::new("/proc").join(fs::read_to_string(file).ok()?.trim()))
}

/// Whether an instance is online, so that a refresh runs its method.
fn is_online(instance: &str) -> bool {
    let output = Command::new("svcs").args(["-H", "-o", "state", instance]).output().unwrap();
    output.stdout.starts_with(b"online")
}

/// How often a refresh method has ended.
fn refreshed() -> usize {
    service_logs().matches("Method \"refresh\" exited").count()
}

/// What the services' methods said.
fn service_logs() -> String {
    let logs = fs::read_dir("/var/svc/log").into_iter().flatten();
    logs.map(|log| fs::read_to_string(log.unwrap().path()).unwrap()).collect()
}

/// Runs a program that stays in the foreground until it serves.
fn serves(at: &str, example: &Example, place: &Path) {
    let words: Vec<&str> = example.command.split(' ').collect();
    let port: u16 =
        words.iter().find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{at}: no port"));
    let mut child = Command::new(words[0]).args(&words[1..]).current_dir(place).spawn().unwrap();
    wait_until(at, || {
        assert!(child.try_wait().unwrap().is_none(), "{at}: ended");
        match words[0] {
            "penlogd" => UdpSocket::bind(("0.0.0.0", port)).is_err(),
            _ => TcpStream::connect(("127.0.0.1", port)).is_ok(),
        }
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
