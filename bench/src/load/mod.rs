//! The client: a separate process that drives one contender for one round and reads the contender's CPU time at both
//! ends of the measured interval.

mod bulk;
mod idle;
mod keep;
pub(crate) mod paced;
mod pump;
mod short;
mod tls;
mod udp;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::procfs;

/// The work of the connections in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Sequential requests on persistent connections.
    Keep,
    /// Requests at random times on persistent connections, at a rate that all contenders can serve.
    Paced,
    /// A new connection for each request.
    Short,
    /// Endless downloads.
    Bulk,
    /// One request each, then nothing.
    Idle,
    /// Sequential queries over UDP from a fixed set of ports.
    Ask,
    /// Queries over UDP, each from a new port.
    Question,
}

impl Work {
    const NAMES: [(Work, &str); 7] = [
        (Work::Keep, "keep"),
        (Work::Paced, "paced"),
        (Work::Short, "short"),
        (Work::Bulk, "bulk"),
        (Work::Idle, "idle"),
        (Work::Ask, "ask"),
        (Work::Question, "question"),
    ];

    /// Whether it speaks UDP.
    pub(crate) fn is_udp(self) -> bool {
        matches!(self, Work::Ask | Work::Question)
    }

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(w, _)| *w == self).map_or("", |(_, n)| n)
    }
}

/// The TLS parameters of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The certificate to trust, DER.
    pub(crate) ca: PathBuf,
    /// Resume the session of the connection before.
    pub(crate) resume: bool,
}

/// One round against one contender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) addr: SocketAddr,
    /// Concurrent connections.
    pub(crate) conns: usize,
    /// The length of the measured interval; it is preceded by a warm-up of a fifth of it.
    pub(crate) length: Duration,
    /// The contender's processes.
    pub(crate) pids: Vec<u32>,
    pub(crate) tls: Option<Tls>,
}

/// The results of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Requests, connections or bytes.
    pub(crate) units: u64,
    /// Length of the interval in nanoseconds.
    pub(crate) wall_ns: u64,
    /// CPU time of the contender in it.
    pub(crate) cpu_ns: u64,
    /// CPU time of the whole machine in it: the contender, its client and its server.
    pub(crate) machine_ns: u64,
    /// The 99th percentile of the latency; 0 if not measured.
    pub(crate) p99_ns: u64,
    /// Growth of the contender's anonymous memory.
    pub(crate) grown_kib: u64,
    /// All of its anonymous memory at the end.
    pub(crate) all_kib: u64,
}

/// Runs a round.
pub(crate) fn run(task: &Task) -> Result<Outcome, String> {
    match (task.work, &task.tls) {
        (Work::Keep, None) => keep::run(task),
        (Work::Paced, _) => paced::run(task),
        (Work::Short, None) => short::run(task),
        (Work::Bulk, None) => bulk::run(task),
        (Work::Idle, _) => idle::run(task),
        (Work::Ask | Work::Question, _) => udp::run(task),
        (_, Some(tls)) => tls::run(task, tls),
    }
}

/// One request on a new connection, answered completely: the contender works.
pub(crate) fn probe(addr: SocketAddr, udp: bool, tls: Option<&Tls>) -> Result<(), String> {
    if udp {
        return udp::probe(addr);
    }
    let task = Task {
        work: Work::Idle,
        addr,
        conns: 1,
        length: Duration::ZERO,
        pids: Vec::new(),
        tls: tls.cloned(),
    };
    idle::run(&task).map(|_| ())
}

/// Wall clock and CPU time since [`Meter::start`].
struct Meter<'a> {
    pids: &'a [u32],
    cpu: u64,
    machine: u64,
    since: Instant,
}

impl<'a> Meter<'a> {
    fn start(pids: &'a [u32]) -> Self {
        Meter { pids, cpu: procfs::cpu_ns(pids), machine: procfs::machine_ns(), since: Instant::now() }
    }

    fn stop(&self, units: u64) -> Outcome {
        let wall_ns = self.since.elapsed().as_nanos() as u64;
        let cpu_ns = procfs::cpu_ns(self.pids).saturating_sub(self.cpu);
        let machine_ns = procfs::machine_ns().saturating_sub(self.machine);
        Outcome { units, wall_ns, cpu_ns, machine_ns, ..Outcome::default() }
    }
}

/// The two intervals of a round: a warm-up, then the measured one.
struct Phases<'a> {
    task: &'a Task,
    until: Instant,
    meter: Option<Meter<'a>>,
}

impl<'a> Phases<'a> {
    fn start(task: &'a Task) -> Self {
        let warm = (task.length / 5).max(Duration::from_millis(50));
        Phases { task, until: Instant::now() + warm, meter: None }
    }

    /// Takes the time and the units done since the last `Turn::Begin`; returns when to reset them and when to stop.
    fn turn(&mut self, now: Instant, units: u64) -> Turn {
        if now < self.until {
            return Turn::On;
        }
        if let Some(meter) = &self.meter {
            return Turn::Done(meter.stop(units));
        }
        let meter = Meter::start(&self.task.pids);
        self.until = meter.since + self.task.length;
        self.meter = Some(meter);
        Turn::Begin
    }
}

enum Turn {
    On,
    Begin,
    Done(Outcome),
}

/// An error with the step that failed.
fn failed<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> String {
    move |e| format!("{what}: {e}")
}

impl Task {
    /// The task as arguments of `pen-bench load`.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let pids: Vec<String> = self.pids.iter().map(u32::to_string).collect();
        let mut args = vec![
            self.work.name().to_owned(),
            self.addr.to_string(),
            self.conns.to_string(),
            self.length.as_micros().to_string(),
            pids.join(","),
        ];
        if let Some(tls) = &self.tls {
            args.push(if tls.resume { "resume" } else { "full" }.to_owned());
            args.push(tls.ca.to_string_lossy().into_owned());
        }
        args
    }

    /// The inverse of [`Task::to_args`].
    pub(crate) fn from_args(args: &[String]) -> Result<Self, String> {
        let [work, addr, conns, micros, pids, tls @ ..] = args else {
            return Err("load: WORK ADDR CONNS MICROSECONDS PIDS [full|resume CERT]".into());
        };
        let find = |(_, name): &&(Work, &str)| name == work;
        let work = Work::NAMES.iter().find(find).ok_or_else(|| format!("load: no work `{work}`"))?.0;
        let pids = pids.split(',').filter(|p| !p.is_empty()).map(number).collect::<Result<_, _>>()?;
        let tls = match tls {
            [kind, ca] => Some(Tls { ca: ca.into(), resume: kind == "resume" }),
            _ => None,
        };
        Ok(Task {
            work,
            addr: number(addr)?,
            conns: number(conns)?,
            length: Duration::from_micros(number(micros)?),
            pids,
            tls,
        })
    }
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("load: `{word}` is not understood"))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { units, wall_ns, cpu_ns, machine_ns, p99_ns, grown_kib, all_kib } = self;
        write!(f, "{units} {wall_ns} {cpu_ns} {machine_ns} {p99_ns} {grown_kib} {all_kib}")
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let fields = line.split_whitespace().map(number).collect::<Result<Vec<u64>, _>>()?;
        let [units, wall_ns, cpu_ns, machine_ns, p99_ns, grown_kib, all_kib] = fields[..] else {
            return Err(format!("load: `{line}` is not a result"));
        };
        Ok(Outcome { units, wall_ns, cpu_ns, machine_ns, p99_ns, grown_kib, all_kib })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_and_outcome_survive_the_command_line() {
        let task = Task {
            work: Work::Bulk,
            addr: "127.0.0.1:80".parse().unwrap(),
            conns: 8,
            length: Duration::from_millis(300),
            pids: vec![1, 2],
            tls: Some(Tls { ca: "/x/y".into(), resume: true }),
        };
        assert_eq!(Task::from_args(&task.to_args()), Ok(task));
        let [units, wall_ns, cpu_ns, machine_ns, p99_ns, grown_kib, all_kib] = [1, 2, 3, 4, 5, 6, 7];
        let out = Outcome { units, wall_ns, cpu_ns, machine_ns, p99_ns, grown_kib, all_kib };
        assert_eq!(out.to_string().parse(), Ok(out));
        assert!("1 2 3".parse::<Outcome>().is_err());
    }
}
