//! Clients that ask all the time, while something happens to the servers.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::wait::{pause, wait_until};

/// How a client asks: true for the answer that it expects.
pub(crate) type Ask = fn(SocketAddr) -> io::Result<bool>;

/// How many clients there are.
pub(crate) const CLIENTS: usize = 2;
/// How many requests tell that all are served.
const ENOUGH: usize = 12;

/// A request: when it began, and why it failed if it did.
type Request = (Instant, Option<String>);

/// The clients, until they are dropped.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts them.
    pub(crate) fn start(address: SocketAddr, ask: Ask) -> Load {
        let (over, requests) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<Request>>>::default());
        let client = || {
            let (over, requests) = (Arc::clone(&over), Arc::clone(&requests));
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    let begin = Instant::now();
                    let failure = match ask(address) {
                        Ok(true) => None,
                        Ok(false) => Some("another answer".into()),
                        Err(error) => Some(error.to_string()),
                    };
                    requests.lock().unwrap().push((begin, failure));
                    pause();
                }
            })
        };
        let threads = (0..CLIENTS).map(|_| client()).collect();
        Load { over, requests, threads }
    }

    /// Whoever asks from now on is served.
    #[track_caller]
    pub(crate) fn is_served(&self) {
        let now = Instant::now();
        let since = || {
            let requests = self.requests.lock().unwrap();
            requests
                .iter()
                .filter(|(begin, _)| *begin >= now)
                .map(|(_, failure)| failure.clone())
                .collect::<Vec<_>>()
        };
        wait_until("requests", || since().len() >= ENOUGH);
        assert!(since().iter().all(Option::is_none), "{:?}", since());
    }

    /// Why requests have failed so far.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().filter_map(|(_, failure)| failure.clone()).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            _ = thread.join();
        }
    }
}
