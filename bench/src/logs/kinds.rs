//! The kinds of logs that mergelogs is measured on.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;

/// The time of the first request.
const BEGIN: i64 = 1_700_000_000;

/// A kind of logs.
pub(super) struct LogKind {
    pub(super) name: &'static str,
    /// The number of lines of the servers' logs. C's mergelogs takes about a second for them.
    pub(super) lines: u64,
    pub(super) servers: u64,
    /// Options of mergelogs.
    pub(super) args: &'static [&'static str],
    pub(super) compared: Compared,
    /// Requests in 100 seconds.
    rate: i64,
    /// What is different from the usual request.
    shape: fn(&mut LoggedRequest),
    gzip: bool,
}

/// Whether C's mergelogs does the same.
#[derive(Clone, Copy)]
pub(super) enum Compared {
    Bound,
    /// It does less, for this reason.
    Unlike(&'static str),
    /// It cannot, for this reason.
    No(&'static str),
}

/// A request in pen's log and in that of a server.
struct LoggedRequest {
    number: u64,
    random: u64,
    time: i64,
    client: String,
    request: String,
    /// The times of its entries.
    entries: Vec<i64>,
    logged: Logged,
}

/// A line of a server's log.
struct Logged {
    time: i64,
    client: String,
    user: String,
    /// What stands between the date and the request.
    behind: String,
    request: Option<String>,
    agent: Vec<u8>,
    /// The whole line, if it is none.
    instead: Option<String>,
}

const USUAL: LogKind = LogKind {
    name: "two servers",
    lines: 20_000,
    servers: 2,
    args: &[],
    compared: Compared::Bound,
    rate: 10_000,
    shape: |_| {},
    gzip: false,
};

/// The lines for a kind in which C's mergelogs searches little.
const MANY: u64 = 100_000;

pub(super) const KINDS: [LogKind; 29] = [
    USUAL,
    LogKind { name: "1,000,000 lines", lines: 1_000_000, compared: Compared::No("takes minutes"), ..USUAL },
    LogKind { name: "one server", servers: 1, ..USUAL },
    LogKind { name: "500 servers", servers: 500, ..USUAL },
    LogKind { name: "one request a second", lines: MANY, rate: 100, ..USUAL },
    LogKind { name: "one request in ten seconds", lines: MANY, rate: 10, ..USUAL },
    LogKind { name: "identical requests", shape: identical, ..USUAL },
    LogKind {
        name: "identical requests, most without an entry",
        lines: 50_000,
        shape: |r| {
            identical(r);
            r.entries.truncate(usize::from(r.number.is_multiple_of(10)));
        },
        ..USUAL
    },
    LogKind {
        name: "no line has an entry",
        shape: |r| r.logged.request = Some("GET /other HTTP/1.1".into()),
        ..USUAL
    },
    LogKind { name: "pen's log is empty", lines: MANY, shape: |r| r.entries.clear(), ..USUAL },
    LogKind { name: "ten entries for a line", lines: 4000, shape: |r| r.entries = vec![r.time; 10], ..USUAL },
    LogKind { name: "pen's log has 500 other servers", shape: |r| r.entries.push(i64::MIN), ..USUAL },
    LogKind {
        name: "all at one time",
        shape: |r| (r.entries, r.logged.time) = (vec![BEGIN], BEGIN),
        ..USUAL
    },
    LogKind {
        name: "identical requests at one time",
        shape: |r| {
            identical(r);
            (r.entries, r.logged.time) = (vec![BEGIN], BEGIN);
        },
        ..USUAL
    },
    LogKind {
        name: "entries out of order",
        shape: |r| r.entries = vec![r.time + r.below(300) - 150],
        ..USUAL
    },
    LogKind { name: "lines out of order", shape: |r| r.logged.time = r.time + r.below(100) - 50, ..USUAL },
    LogKind {
        name: "IPv6 clients",
        shape: |r| r.client = format!("2001:db8::{:x}:{:x}", r.random >> 16 & 0xffff, r.random & 0xffff),
        ..USUAL
    },
    LogKind { name: "clients of penlogd's output", shape: |r| r.logged.client = r.client.clone(), ..USUAL },
    LogKind { name: "-j 5", lines: MANY, args: &["-j", "5"], ..USUAL },
    LogKind { name: "-j 86400", args: &["-j", "86400"], ..USUAL },
    LogKind { name: "-c", lines: 4000, args: &["-c"], ..USUAL },
    LogKind { name: "-d -d", lines: 2000, args: &["-d", "-d"], ..USUAL },
    LogKind {
        name: "compressed with gzip",
        lines: MANY,
        compared: Compared::No("cannot"),
        gzip: true,
        ..USUAL
    },
    LogKind { name: "lines of 1,000 bytes", shape: |r| r.logged.agent = vec![b'x'; 850], ..USUAL },
    LogKind {
        name: "lines of 8,000 bytes",
        compared: Compared::Unlike("C cuts lines at 1,024 bytes"),
        shape: |r| r.logged.agent = vec![b'x'; 7850],
        ..USUAL
    },
    LogKind {
        name: "control characters and UTF-8",
        shape: |r| r.logged.agent = "\x1b[2J\x07\u{e9}\u{20ac}".repeat(8).into_bytes(),
        ..USUAL
    },
    LogKind {
        name: "lines in no known format",
        lines: MANY,
        compared: Compared::Unlike("C leaves them out"),
        shape: |r| r.logged.instead = Some(format!("text {}", r.number)),
        ..USUAL
    },
    LogKind {
        name: "500 brackets before the date",
        compared: Compared::Unlike("C finds no client then"),
        shape: |r| r.logged.user = format!("- {}", "[".repeat(500)),
        ..USUAL
    },
    LogKind {
        name: "500 brackets behind the date",
        shape: |r| r.logged.behind = format!(" {} ]", "[".repeat(500)),
        ..USUAL
    },
];

fn identical(request: &mut LoggedRequest) {
    request.request = "GET / HTTP/1.1".into();
}

/// A server's name in pen's log.
pub(super) fn server(n: u64) -> String {
    format!("10.0.{}.{}", n / 250, n % 250 + 1)
}

/// The file with a server's log.
pub(super) fn log(n: u64) -> String {
    format!("web{n}")
}

impl LoggedRequest {
    fn new(number: u64, random: u64, time: i64) -> LoggedRequest {
        let logged = Logged {
            time: time + (random % 2) as i64,
            client: "10.9.9.9".into(),
            user: "-".into(),
            behind: String::new(),
            request: None,
            agent: b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36".to_vec(),
            instead: None,
        };
        LoggedRequest {
            number,
            random,
            time,
            client: format!("192.0.{}.{}", random % 256, random / 256 % 256),
            request: format!("GET /shop/item/{number}?session={random:x} HTTP/1.1"),
            entries: vec![time],
            logged,
        }
    }

    fn below(&self, limit: u64) -> i64 {
        (self.random / 7 % limit) as i64
    }

    fn write(&self, server: &str, pen: &mut impl Write, web: &mut impl Write) -> io::Result<()> {
        for &time in &self.entries {
            if time == i64::MIN {
                let other = self.number % 500;
                writeln!(
                    pen,
                    "{} {} 10.1.{}.{} {}",
                    self.client,
                    self.time,
                    other / 250,
                    other % 250,
                    self.request
                )?;
            } else {
                writeln!(pen, "{} {time} {server} {}", self.client, self.request)?;
            }
        }
        let Logged { time, client, user, behind, request, agent, instead } = &self.logged;
        if let Some(text) = instead {
            return writeln!(web, "{text}");
        }
        let date = Timestamp::from_second(*time).unwrap_or_default().strftime("%d/%b/%Y:%H:%M:%S +0000");
        let request = request.as_ref().unwrap_or(&self.request);
        let bytes = self.random % 100_000;
        write!(
            web,
            r#"{client} - {user} [{date}]{behind} "{request}" 200 {bytes} "http://www.example.com/start" ""#
        )?;
        web.write_all(agent)?;
        web.write_all(b"\"\n")
    }
}

impl LogKind {
    /// Writes pen's log and those of the servers, the same every time.
    ///
    /// # Errors
    /// A file cannot be written, or compressed.
    pub(super) fn generate(&self, dir: &Path) -> io::Result<()> {
        let create = |name: &str| File::create(dir.join(name)).map(BufWriter::new);
        let mut pen = create("pen")?;
        let mut webs = (0..self.servers).map(|n| create(&log(n))).collect::<io::Result<Vec<_>>>()?;
        let names: Vec<String> = (0..self.servers).map(server).collect();
        let mut random = 88_172_645_463_325_252_u64;
        for number in 0..self.lines {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut request = LoggedRequest::new(number, random, BEGIN + number as i64 * 100 / self.rate);
            (self.shape)(&mut request);
            let n = (number % self.servers) as usize;
            request.write(&names[n], &mut pen, &mut webs[n])?;
        }
        webs.iter_mut().chain([&mut pen]).try_for_each(BufWriter::flush)?;
        for name in (0..self.servers).map(log).chain(["pen".into()]).filter(|_| self.gzip) {
            let compressed = Command::new("gzip")
                .args(["-1", "-c"])
                .arg(dir.join(&name))
                .stderr(Stdio::null())
                .output()?;
            std::fs::write(dir.join(&name), compressed.stdout)?;
        }
        Ok(())
    }
}
