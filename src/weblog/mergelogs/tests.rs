//! The merge as a whole: compared with a plain model, and its time as the logs grow.

use std::fmt::Write as _;
use std::fs;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{MergelogsOptions, merge};
use crate::sys::usage::cpu_time;

/// The time of the first requests.
const BEGIN: i64 = 971_175_336;

/// pen's log and the servers' logs; the first server is 10.0.0.0.
#[derive(Default)]
struct SampleLogs {
    pen: String,
    webs: Vec<String>,
}

impl SampleLogs {
    fn new(servers: usize) -> SampleLogs {
        SampleLogs { pen: String::new(), webs: vec![String::new(); servers] }
    }

    fn entry(&mut self, client: &str, time: i64, server: usize, request: &str) {
        writeln!(self.pen, "{client} {} {} {request}", BEGIN + time, address(server)).unwrap();
    }

    fn line(&mut self, server: usize, time: i64, request: &str, rest: &str) {
        let date = Timestamp::from_second(BEGIN + time).unwrap().strftime("%d/%b/%Y:%H:%M:%S +0000");
        writeln!(self.webs[server], r#"9.9.9.9 - - [{date}] "{request}" 200 {rest}"#).unwrap();
    }

    /// An entry and a line of the same request.
    fn pair(&mut self, n: usize, time: i64, server: usize, request: &str) {
        self.entry(&client(n), time, server, request);
        self.line(server, time, request, "1");
    }

    /// Merges them, and returns the output and the seconds of processor time.
    fn merge(&self, jitter: i64) -> (String, f64) {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("pen"), &self.pen).unwrap();
        let logs = self.webs.iter().enumerate().map(|(n, text)| {
            fs::write(path(&n.to_string()), text).unwrap();
            (address(n), path(&n.to_string()))
        });
        let options = MergelogsOptions {
            pen: path("pen"),
            debug: 0,
            jitter,
            output: Some(path("out")),
            utc: false,
            zone: None,
            logs: logs.collect(),
        };
        let begun = cpu_time().unwrap();
        assert!(merge(&options, &mut |_| {}).unwrap());
        let seconds = (cpu_time().unwrap() - begun).as_secs_f64();
        (fs::read_to_string(path("out")).unwrap(), seconds)
    }
}

fn address(server: usize) -> String {
    format!("10.0.{}.{}", server / 256, server % 256)
}

fn client(n: usize) -> String {
    format!("192.0.{}.{}", n / 256 % 256, n % 256)
}

proptest! {
    /// Each line, in the order of time, takes the entry that is nearest to it of those that are left.
    #[test]
    fn agrees_with_the_model(
        mut entries in prop::collection::vec((0_i64..90, 0_usize..3, 0_u8..3), 0..60),
        lines in prop::collection::vec((0_i64..90, 0_usize..3, 0_u8..3), 0..60),
        jitter in 0_i64..40,
    ) {
        let mut logs = SampleLogs::new(3);
        entries.sort_by_key(|entry| entry.0);
        for (n, (time, server, request)) in entries.iter().enumerate() {
            logs.entry(&client(n), *time, *server, &format!("GET /{request}"));
        }
        for (n, (time, server, request)) in lines.iter().enumerate() {
            logs.line(*server, *time, &format!("GET /{request}"), &n.to_string());
        }
        let mut order: Vec<usize> = (0..lines.len()).collect();
        order.sort_by_key(|n| (lines[*n].0, lines[*n].1));
        let mut left: Vec<Option<(i64, usize, u8)>> = entries.into_iter().map(Some).collect();
        let wanted: Vec<String> = order.into_iter().map(|n| {
            let (time, server, request) = lines[n];
            let far = |at: i64| at.abs_diff(time);
            let fits = left.iter().enumerate().filter_map(|(n, entry)| Some((n, (*entry)?))).filter(
                |(_, (at, on, what))| (*on, *what) == (server, request) && far(*at) <= jitter as u64,
            );
            let nearest = fits.min_by_key(|(n, (at, ..))| (far(*at), *at, *n)).map(|(n, _)| n);
            let found = nearest.and_then(|n| left[n].take().map(|_| client(n)));
            format!("{} 200 {n}", found.unwrap_or_else(|| address(server)))
        }).collect();
        let (out, _) = logs.merge(jitter);
        let found: Vec<String> = out.lines().map(|line| {
            let (client, number) = (line.split(' ').next().unwrap(), line.rsplit(' ').next().unwrap());
            format!("{client} 200 {number}")
        }).collect();
        prop_assert_eq!(found, wanted);
    }
}

/// A kind of logs: its name, and `n` lines of it or what else takes `n` times as long.
type LogKind = (&'static str, usize, fn(usize) -> SampleLogs);

/// Logs of `servers` with one request after the other, as `each` makes it.
fn logs_of(servers: usize, n: usize, each: impl Fn(&mut SampleLogs, usize, i64)) -> SampleLogs {
    let mut logs = SampleLogs::new(servers);
    (0..n).for_each(|k| each(&mut logs, k, k as i64 / 100));
    logs
}

/// Kinds in which a search could take longer the more lines, logs or bytes there are.
const KINDS: [LogKind; 14] = [
    ("other requests", 4000, |n| logs_of(1, n, |l, k, t| l.pair(k, t, 0, &format!("GET /{k}")))),
    ("equal requests", 4000, |n| logs_of(1, n, |l, k, t| l.pair(k, t, 0, "GET /"))),
    ("equal requests at one time", 4000, |n| logs_of(1, n, |l, k, _| l.pair(k, 0, 0, "GET /"))),
    ("equal requests in turn", 4000, |n| {
        logs_of(1, n, |l, k, t| l.pair(k, t + (k % 2) as i64 * 300, 0, "GET /"))
    }),
    ("equal entries, other lines", 4000, |n| {
        logs_of(1, n, |l, k, t| {
            l.entry(&client(k), t, 0, "GET /");
            l.line(0, t, "GET /none", "1");
        })
    }),
    ("ten entries a line", 1000, |n| {
        logs_of(1, n, |l, k, t| {
            (0..10).for_each(|m| l.entry(&client(m), t, 0, "GET /"));
            l.line(0, t, "GET /", &k.to_string());
        })
    }),
    ("entries without a line", 4000, |n| {
        logs_of(1, n, |l, k, t| {
            l.entry(&client(k), t, 0, &format!("GET /{k}"));
            l.line(0, t, "GET /", "1");
        })
    }),
    ("one request in ten seconds", 4000, |n| {
        logs_of(1, n, |l, k, _| l.pair(k, 10 * k as i64, 0, &format!("GET /{k}")))
    }),
    ("lines of many times", 4000, |n| {
        logs_of(1, n, |l, k, _| l.pair(k, (k * 7919 % 4001) as i64, 0, "GET /"))
    }),
    ("stamps a week apart", 2000, |n| {
        logs_of(1, n, |l, k, t| l.pair(k, t + (k % 2) as i64 * 604_800, 0, "GET /"))
    }),
    ("many logs", 100, |n| logs_of(n, n * 40, |l, k, t| l.pair(k, t, k % l.webs.len(), "GET /"))),
    ("no known format", 4000, |n| logs_of(1, n, |l, k, _| writeln!(l.webs[0], "text {k}").unwrap())),
    ("open brackets", 8000, |n| {
        let open = "[".repeat(n);
        logs_of(1, 10, |l, _, t| {
            writeln!(l.webs[0], r#"9.9.9.9 {open} ] "GET /" 200 1"#).unwrap();
            l.pair(0, t, 0, "GET /");
        })
    }),
    ("stamps in open brackets", 1000, |n| {
        let open = "[10/Oct/2000:13:55:36+99[10/Oct/2000:13:55:36".repeat(n);
        logs_of(1, 10, |l, _, t| {
            writeln!(l.webs[0], r#"9.9.9.9 {open} ] "GET /" 200 1"#).unwrap();
            l.pair(0, t, 0, "GET /");
        })
    }),
];

/// Four times as much takes four times as long, and not sixteen times: processor time of the same kind in one process,
/// the least of some runs, with half a factor of four to spare.
#[test]
fn no_kind_takes_the_square_of_its_length() {
    for (kind, n, make) in KINDS {
        let (short, long) = (make(n), make(4 * n));
        let least = |logs: &SampleLogs| (0..2).map(|_| logs.merge(600).1).fold(f64::INFINITY, f64::min);
        let ratio = || least(&long) / least(&short).max(0.001);
        assert!((0..3).any(|_| ratio() < 9.0), "{kind}: 4 times the length takes more than 9 times as long");
    }
}
