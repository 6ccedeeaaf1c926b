//! How connections are spread over the workers.

use std::thread::available_parallelism;

use crate::support::backend::greeters;
use crate::support::{Client, Setup, process, skipped, wait_for, wait_until};

/// Connections that a worker may have more than another.
const MARGIN: usize = 4;

#[test]
fn long_connections_are_shared_out_evenly() {
    let backends = greeters(1);
    for workers in [2, 3] {
        let pen = Setup::new().command(format!("workers {workers}")).servers(&backends).start();
        if process::event_ports(pen.pid()).is_none() {
            return skipped("workers", "the system does not tell what an event port watches");
        }
        let count = 30;
        let mut clients: Vec<Client> = (0..count).map(|_| pen.client()).collect();
        for client in &mut clients {
            assert_eq!(client.line(), "A");
        }
        let mut shares = Vec::new();
        wait_until("other connections to have ended", || {
            // A connection is two sockets; the control socket alone is none.
            let ports = process::event_ports(pen.pid()).unwrap();
            shares = ports.into_iter().map(|sockets| sockets / 2).filter(|share| *share > 0).collect();
            shares.iter().sum::<usize>() == count
        });
        shares.sort_unstable();
        assert_eq!(shares.len(), workers, "{shares:?}");
        assert!(shares[workers - 1] - shares[0] <= MARGIN, "{shares:?}");
    }
}

#[test]
fn there_are_as_many_workers_as_processors_unless_told_otherwise() {
    let processors = available_parallelism().unwrap().get();
    for (setup, count) in [(Setup::new(), processors), (Setup::new().command("workers 5"), 5)] {
        let pen = setup.start();
        if process::threads(pen.pid()).is_none() {
            return skipped("workers", "the system does not tell the names of threads");
        }
        // A thread names itself when it begins: until then it is called what the main one is.
        let names = wait_for("all threads to have their names", || {
            process::threads(pen.pid()).filter(|names| names.iter().filter(|n| *n == "pen\n").count() == 1)
        });
        let workers = names.iter().filter(|name| name.starts_with("worker ")).count();
        assert_eq!(workers, count, "{names:?}");
    }
}
