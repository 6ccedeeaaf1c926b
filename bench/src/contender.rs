//! The contenders, and the configuration that makes them comparable.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// A place in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// No proxy: the limit of the machine.
    Direct,
    /// The system calls of a relay and nothing else: the cost of the kernel.
    Bare,
    /// The pen under test.
    Ours,
    /// The same pen again: differences from `Ours` are noise.
    Control,
    /// The pen under test on its portable data path, as on Solaris.
    Portable,
    /// The pen under test with many known clients and many connections.
    Crowded,
    /// The same process while its clients and connections are queried continuously.
    Watched,
    /// The same process while its admin listener is queried ten times a second.
    Asked,
    /// The pen under test with 20 addresses of the server, as 20 servers.
    Many,
    /// The same with each of them checked every half second, and all limits set.
    Checked,
    /// The pen under test with so many servers, and the rule that selects one.
    Servers(&'static str, u16),
    /// The same with as many as the most, of which so many serve.
    FewServe(&'static str, u16),
    /// The pen under test while so many other connections are open and idle.
    Holding(u32),
    /// The pen under test with other arguments.
    Variant,
    /// A build of pen from before a change (`--before`).
    Before,
    CPen,
    HaProxy,
    /// HAProxy forced to splice(2).
    HaProxySplice,
    Nginx,
    Hitch,
}

impl Role {
    /// Whether it has more servers or connections than `other` of the same kind.
    pub(crate) fn exceeds(self, other: Role) -> bool {
        match (self, other) {
            (Role::Servers(rule, count), Role::Servers(other, fewer)) => rule == other && count > fewer,
            (Role::Holding(count), Role::Holding(fewer)) => count > fewer,
            _ => false,
        }
    }

    /// The least of the same kind, with which one that grows is compared.
    pub(crate) fn least(self) -> Option<Role> {
        match self {
            Role::Servers(rule, _) | Role::FewServe(rule, _) => Some(Role::Servers(rule, SERVERS[0])),
            Role::Holding(_) => Some(Role::Holding(IDLE[0])),
            _ => None,
        }
    }
}

/// The numbers of servers with which the cost of a connection is to be the same.
pub(crate) const SERVERS: [u16; 4] = [2, 20, 200, MOST];
const MOST: u16 = 1000;
/// The same of idle connections. For 9,000 a descriptor limit of 20,000 is enough.
pub(crate) const IDLE: [u32; 3] = [100, 9_000, 50_000];
/// The rules that select a server.
pub(crate) const RULES: [&str; 4] = ["roundrobin", "weight", "hash", "prio"];

/// A role with its name in the table.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) role: Role,
    pub(crate) name: String,
    /// Additional arguments, only for a [`Role::Variant`].
    pub(crate) extra: Vec<String>,
}

impl Contender {
    pub(crate) fn new(role: Role) -> Self {
        let name = match role {
            Role::Direct => "direct",
            Role::Bare => "system calls alone",
            Role::Ours => "pen",
            Role::Control => "pen again (A/A)",
            Role::Portable => "pen, portable data path",
            Role::Crowded => "pen with many clients",
            Role::Watched => "pen with many clients, asked for recent and status",
            Role::Asked => "pen with many clients, asked for metrics, documents and the page",
            Role::Many => "pen, 20 servers",
            Role::Checked => "pen, 20 servers checked, all limits",
            Role::Servers(rule, count) => return Self::named(role, format!("pen, {rule}, {count} servers")),
            Role::FewServe(rule, count) => {
                return Self::named(role, format!("pen, {rule}, {MOST} servers of which {count} serve"));
            }
            Role::Holding(count) => return Self::named(role, format!("pen, {count} idle connections")),
            Role::Variant => "pen, other arguments",
            Role::Before => "pen before",
            Role::CPen => "C pen",
            Role::HaProxy => "HAProxy",
            Role::HaProxySplice => "HAProxy, forced splice",
            Role::Nginx => "nginx stream",
            Role::Hitch => "hitch",
        };
        Self::named(role, name.to_owned())
    }

    fn named(role: Role, name: String) -> Self {
        Contender { role, name, extra: Vec::new() }
    }

    /// From `NAME=ARG|ARG...`: an argument may hold spaces.
    pub(crate) fn variant(word: &str) -> Result<Self, String> {
        let (name, args) =
            word.split_once('=').ok_or_else(|| format!("--variant `{word}`: NAME=ARG|ARG... expected"))?;
        let extra = args.split('|').map(str::to_owned).collect();
        Ok(Contender { role: Role::Variant, name: name.to_owned(), extra })
    }
}

/// The protocol that clients use with a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Tcp,
    Tls,
    Udp {
        /// Each query comes from a new port that is used only once.
        once: bool,
    },
}

/// The server behind a contender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upstream {
    addr: SocketAddr,
    tls: bool,
}

/// The control socket of the contender on `port`, whose files are in `dir`.
pub(crate) fn control(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!("control-{port}"))
}

/// The name in the certificate of all.
const NAME: &str = "bench.example";

/// The parameters that every contender is started with.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The directory for configuration files and stderr.
    pub(crate) dir: PathBuf,
    pub(crate) backend: SocketAddr,
    /// The addresses of the server that speaks TLS: without and with sessions to resume.
    pub(crate) tls_backends: Vec<SocketAddr>,
    pub(crate) ours: PathBuf,
    pub(crate) c_pen: PathBuf,
    /// Another build of pen.
    pub(crate) before: Option<PathBuf>,
    /// The number of clients that a [`Role::Crowded`] knows.
    pub(crate) clients: u32,
    /// The number of threads or processes of each: one per core, which is pen's own default.
    pub(crate) workers: usize,
}

impl Setup {
    /// Key and certificate in one PEM file.
    pub(crate) fn pair(&self) -> PathBuf {
        self.dir.join("pair.pem")
    }

    /// The certificate in DER, for the client to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.join("cert.der")
    }

    /// The server for rows without TLS towards it, or with TLS and perhaps sessions to resume.
    pub(crate) fn server(&self, tls: Option<bool>) -> Result<Upstream, String> {
        let Some(resume) = tls else { return Ok(Upstream { addr: self.backend, tls: false }) };
        let addr = self.tls_backends.get(usize::from(resume)).ok_or("the server does not speak TLS")?;
        Ok(Upstream { addr: *addr, tls: true })
    }

    /// Creates the certificate: P-256, self-signed.
    pub(crate) fn certify(&self) -> Result<(), String> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])
            .map_err(|e| format!("cannot make a certificate: {e}"))?;
        write(&self.pair(), &format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem()))?;
        fs::write(self.ca(), made.cert.der()).map_err(|e| format!("{}: {e}", self.ca().display()))
    }

    /// The command that serves on `port` in the foreground, or `None` for [`Role::Direct`].
    pub(crate) fn command(
        &self,
        who: &Contender,
        port: u16,
        front: Front,
        server: &Upstream,
    ) -> Result<Option<Command>, String> {
        let tls = front == Front::Tls;
        let (program, args) = match who.role {
            Role::Direct if tls => return Err("the server speaks no TLS".into()),
            Role::Direct => return Ok(None),
            Role::Bare => {
                let (threads, at) = (self.workers.to_string(), format!("127.0.0.1:{port}"));
                (process::own_program()?, words(&["bare", &threads, &at, &self.backend.to_string()]))
            }
            Role::Ours | Role::Control | Role::Variant | Role::Portable => {
                let extra = [self.worker_args(), who.extra.clone()].concat();
                (self.ours.clone(), self.pen_args(&extra, port, front, server))
            }
            Role::Crowded | Role::Watched | Role::Asked => {
                let clients = self.clients.to_string();
                let path = |path: PathBuf| path.to_string_lossy().into_owned();
                let admin = format!("admin {}", path(self.admin(port)));
                let mut extra = words(&["-u", "root", "-x", "60000", "-c", &clients, "-O", &admin]);
                extra.extend(["-C".to_owned(), path(self.control(port))]);
                extra.extend(["-w".to_owned(), path(self.dir.join(format!("page-{port}")))]);
                (self.ours.clone(), self.pen_args(&extra, port, front, server))
            }
            Role::Many | Role::Checked => {
                let file = self.dir.join(format!("servers-{port}.conf"));
                write(&file, &self.servers(who.role == Role::Checked))?;
                let file = file.to_string_lossy().into_owned();
                (self.ours.clone(), self.pen_args(&["-F".into(), file], port, front, server))
            }
            Role::Servers(..) | Role::FewServe(..) | Role::Holding(_) => {
                let file = self.dir.join(format!("servers-{port}.conf"));
                let (rule, count, serving) = match who.role {
                    Role::Servers(rule, count) => (rule, count, count),
                    Role::FewServe(rule, serving) => (rule, MOST, serving),
                    // One server has fewer ports than there are connections.
                    _ => ("roundrobin", 4, 4),
                };
                write(&file, &self.equal_servers(rule, count, serving))?;
                let (file, control) = (file.to_string_lossy(), self.control(port));
                let limits = ["-u", "root", "-x", "60000", "-S", "1000", "-F", &file, "-C"];
                let mut extra = words(&limits);
                extra.push(control.to_string_lossy().into_owned());
                (self.ours.clone(), self.pen_args(&extra, port, front, server))
            }
            Role::CPen => (self.c_pen.clone(), self.pen_args(&[], port, front, server)),
            Role::Before => {
                let before = self.before.clone().ok_or("no other build of pen is given")?;
                (before, self.pen_args(&self.worker_args(), port, front, server))
            }
            Role::HaProxy | Role::HaProxySplice if matches!(front, Front::Udp { .. }) => {
                return Err("balances no UDP".into());
            }
            Role::HaProxy | Role::HaProxySplice => {
                let splice = who.role == Role::HaProxySplice;
                if splice && tls {
                    return Err("TLS cannot be spliced".into());
                }
                let file = self.dir.join(format!("haproxy-{port}.cfg"));
                write(&file, &self.haproxy(port, tls, splice, server))?;
                (find("haproxy")?, words(&["-db", "-f", &file.to_string_lossy()]))
            }
            Role::Nginx => {
                let nginx = find("nginx")?;
                let module = stream_module(&nginx)?;
                let file = self.dir.join(format!("nginx-{port}.conf"));
                write(&file, &self.nginx(port, front, &module, server))?;
                let dir = self.dir.to_string_lossy();
                (nginx, words(&["-e", "stderr", "-p", &dir, "-c", &file.to_string_lossy()]))
            }
            Role::Hitch if !tls => return Err("TLS only".into()),
            Role::Hitch => (find("hitch")?, self.hitch(port)),
        };
        if !program.is_file() {
            return Err(format!("{} is not there", program.display()));
        }
        let mut command = Command::new(program);
        command.args(args);
        if who.role == Role::Portable {
            command.env("PEN_PORTABLE", "1");
        }
        Ok(Some(command))
    }

    /// The control socket of the contender on `port`, if it has one.
    pub(crate) fn control(&self, port: u16) -> PathBuf {
        control(&self.dir, port)
    }

    /// The admin listener of a [`Role::Crowded`] on `port`.
    pub(crate) fn admin(&self, port: u16) -> PathBuf {
        self.dir.join(format!("admin-{port}"))
    }

    /// The number of workers as arguments of pen, unless it is the default.
    fn worker_args(&self) -> Vec<String> {
        let default = std::thread::available_parallelism().map_or(1, usize::from);
        if self.workers == default {
            Vec::new()
        } else {
            vec!["-O".into(), format!("workers {}", self.workers)]
        }
    }

    fn pen_args(&self, extra: &[String], port: u16, front: Front, server: &Upstream) -> Vec<String> {
        let mut args = words(&["-f", "-x", "6000", "-c", "16384", "-t", "5"]);
        match front {
            Front::Tcp => {}
            Front::Tls => args.extend(words(&["-E", &self.pair().to_string_lossy()])),
            Front::Udp { .. } => args.push("-U".into()),
        }
        args.extend_from_slice(extra);
        let addr = server.addr;
        if server.tls {
            let slot = format!("server 0 address {} port {} tls on tls_name {NAME}", addr.ip(), addr.port());
            let trusted = format!("server_cacert_file {}", self.pair().display());
            args.extend(["-O".into(), trusted, "-O".into(), slot, format!("127.0.0.1:{port}")]);
        } else {
            args.extend([format!("127.0.0.1:{port}"), addr.to_string()]);
        }
        args
    }

    /// The configuration of a pen with many servers.
    fn servers(&self, checked: bool) -> String {
        let mut text = String::from(if checked {
            "check it type http path /close expect 200 every 0.5\ncheck_default it\n\
             queue_max 1000\nqueue_timeout 5\nclient_conn_max 6000\nclient_rate_max 1000000\nclient_rate_time 1\n\
             client_mask 24 64\nfail_max 3\nslowstart 1\nacl 1 deny 192.0.2.0/24\nclient_acl 1\n\
             acl 2 deny 198.51.100.0/24\ntarpit_acl 2\n"
        } else {
            ""
        });
        let limits = if checked { " max 5000 hard 6000 acl 1" } else { "" };
        for n in 0..20 {
            // Loopback has all addresses of its network, and the server listens on each.
            text += &format!("server {n} address 127.0.0.{} port {}{limits}\n", n + 1, self.backend.port());
        }
        text
    }

    /// The configuration of a pen with servers that are equally good by `rule`, the last of which are `serving`: a search
    /// from the first one finds them late.
    fn equal_servers(&self, rule: &str, count: u16, serving: u16) -> String {
        let server = |n: u16| {
            let (net, host) = (n / 250, n % 250 + 1);
            format!("server {n} address 127.0.{net}.{host} port {} weight 1 prio 1\n", self.backend.port())
        };
        let off = |n: u16| format!("server {n} blacklist 86400\n");
        let (servers, off): (String, String) =
            ((0..count).map(server).collect(), (0..count - serving).map(off).collect());
        format!("{rule}\nnomemory\n{servers}{off}")
    }

    fn haproxy(&self, port: u16, tls: bool, splice: bool, server: &Upstream) -> String {
        let ssl = if tls { format!(" ssl crt {}", self.pair().display()) } else { String::new() };
        let to_server = match server.tls {
            true => {
                let pair = self.pair();
                format!(" ssl verify required ca-file {} sni str({NAME}) verifyhost {NAME}", pair.display())
            }
            false => String::new(),
        };
        // Pipes count against the descriptor limit, and only bulk rows splice.
        let (conns, splice) = match splice {
            true => (1000, "  option splice-request\n  option splice-response\n"),
            false => (6000, ""),
        };
        format!(
            "global\n  nbthread {workers}\n  maxconn {conns}\n\
             defaults\n  mode tcp\n{splice}  timeout connect 5s\n  timeout client 5m\n  timeout server 5m\n\
             frontend f\n  bind 127.0.0.1:{port}{ssl}\n  default_backend b\n\
             backend b\n  server s {}{to_server}\n",
            server.addr,
            workers = self.workers,
        )
    }

    fn nginx(&self, port: u16, front: Front, module: &str, server: &Upstream) -> String {
        let pair = self.pair();
        let pair = pair.display();
        let (flag, more) = match front {
            Front::Tls => {
                let session = "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;";
                let pair = format!("ssl_certificate {pair}; ssl_certificate_key {pair}; {session}");
                (" ssl backlog=4096", pair)
            }
            Front::Tcp => (" backlog=4096", String::new()),
            // One socket per worker, or each datagram would wake both.
            Front::Udp { once } => {
                let more = if once { "proxy_responses 1;" } else { "" };
                (" udp reuseport", more.to_owned())
            }
        };
        let to_server = match server.tls {
            true => format!(
                "proxy_ssl on; proxy_ssl_verify on; proxy_ssl_trusted_certificate {pair}; proxy_ssl_name {NAME}; \
                 proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
            ),
            false => String::new(),
        };
        format!(
            "{module}user root;\ndaemon off;\npid nginx-{port}.pid;\nerror_log stderr error;\n\
             worker_processes {workers};\nevents {{ worker_connections 18000; }}\n\
             stream {{\n  server {{\n    listen 127.0.0.1:{port}{flag}; {more} {to_server}\n\
             \x20   proxy_pass {}; proxy_connect_timeout 5s; proxy_timeout 5m;\n  }}\n}}\n",
            server.addr,
            workers = self.workers,
        )
    }

    fn hitch(&self, port: u16) -> Vec<String> {
        vec![
            format!("--frontend=[127.0.0.1]:{port}"),
            format!("--backend=[127.0.0.1]:{}", self.backend.port()),
            format!("--workers={}", self.workers),
            "--user=root".into(),
            "--daemon=off".into(),
            "--tls-protos=TLSv1.2 TLSv1.3".into(),
            self.pair().to_string_lossy().into_owned(),
        ]
    }
}

pub(crate) fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&w| w.to_owned()).collect()
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Finds a daemon in PATH and where distributions install it.
pub(crate) fn find(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{program} is not installed"))
}

/// The line that loads nginx's stream module, empty when it is built in.
pub(crate) fn stream_module(nginx: &Path) -> Result<String, String> {
    let out = Command::new(nginx).arg("-V").output().map_err(|e| format!("{}: {e}", nginx.display()))?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    if text.split_whitespace().any(|w| w == "--with-stream") {
        return Ok(String::new());
    }
    let dir = text
        .split_whitespace()
        .find_map(|w| w.strip_prefix("--modules-path="))
        .unwrap_or("/usr/lib/nginx/modules");
    let file = Path::new(dir).join("ngx_stream_module.so");
    if file.is_file() {
        Ok(format!("load_module {};\n", file.display()))
    } else {
        Err("nginx has no stream module".into())
    }
}
