//! The scenes of the demo, independent of how pen was started.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::server::Server;
use crate::Result;

/// The time limit for any step.
const DEADLINE: Duration = Duration::from_secs(30);

/// The number of requests per round.
const REQUESTS: usize = 20;

/// Announces the next step.
pub(super) fn step(text: &str) {
    println!("\n==> {text}");
}

/// Prints a line under a step.
pub(super) fn tell(text: &str) {
    println!("    {text}");
}

/// Sends requests to pen at `front` while a server fails and comes back, and prints which server answers.
///
/// # Errors
/// A request without an answer; a server that gets no request; an interrupt.
pub(super) fn run(front: SocketAddr, servers: &mut [Server; 2], interrupt: &Interrupt) -> Result<()> {
    wait("pen to answer", interrupt, || get(front).ok())?;
    step(&format!("{REQUESTS} requests to pen at http://{front}/"));
    round(front, &[servers[0].name, servers[1].name])?;

    let (dead, alive) = (servers[0].name, servers[1].name);
    step(&format!("Server {dead} dies"));
    servers[0].die();
    round(front, &[alive])?;

    step(&format!("Server {dead} is back; pen tries it again when its time on the blacklist is over"));
    servers[0].come_back()?;
    wait(&format!("server {dead} to get a request"), interrupt, || {
        get(front).ok().filter(|answer| greets(answer) == Some(dead))
    })?;
    round(front, &[dead, alive])
}

/// Sends a round of requests, which all of `expected` and no other servers must answer.
fn round(front: SocketAddr, expected: &[&str]) -> Result<()> {
    let mut answers = BTreeMap::<String, usize>::new();
    for _ in 0..REQUESTS {
        let answer = get(front).map_err(|e| format!("a request to pen failed: {e}"))?;
        let name = greets(&answer).ok_or_else(|| format!("an answer that no server gave: {answer}"))?;
        *answers.entry(name.to_owned()).or_default() += 1;
    }
    let counts: Vec<String> = answers.iter().map(|(name, n)| format!("server {name} answered {n}")).collect();
    tell(&format!("{}, none failed", counts.join(", ")));
    if answers.keys().map(String::as_str).ne(expected.iter().copied()) {
        return Err(format!("all of {} were to answer", expected.join(", ")).into());
    }
    Ok(())
}

/// The server that wrote an answer.
fn greets(answer: &str) -> Option<&str> {
    answer.split_once("Server ")?.1.split(' ').next()
}

fn get(front: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&front, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {front}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// Polls until there is an answer.
fn wait<T>(what: &str, interrupt: &Interrupt, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if interrupt.came_within(Duration::from_millis(50)) {
            return Err("interrupted".into());
        }
        if begin.elapsed() > DEADLINE {
            return Err(format!("waited in vain for {what}").into());
        }
    }
}
