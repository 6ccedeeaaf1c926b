//! What keeps clients from their servers, reported once while it lasts.

use crate::core::select::NoServer;
use crate::core::snapshot::Backend;
use crate::sys::log::{self, Condition, Conditions};

use super::failure::{Failure, Reason};

/// The conditions.
#[derive(Debug, Default)]
pub struct Reports {
    shortage: Condition,
    down: Condition,
    full: Condition,
    /// Servers that pen's own system does not let it reach, by [`crate::core::snapshot::Role::number`].
    unreachable: Conditions<i64>,
}

impl Reports {
    /// Descriptors or memory are short.
    pub fn shortage(&self, failure: &Failure) {
        self.shortage.begin(format_args!("cannot connect to servers: {}", Reason(&failure.error)));
    }

    /// Pen's own system does not let it reach this server.
    pub fn unreachable(&self, backend: &Backend, failure: &Failure) {
        log::debug(1, format_args!("connecting to {backend}: {}", failure.error));
        self.unreachable.begin(
            backend.role.number(),
            format_args!("cannot connect to {backend} for a reason on this side: {}", Reason(&failure.error)),
        );
    }

    /// A client was closed because no server is left.
    pub fn no_server(&self, why: NoServer) {
        match why {
            NoServer::Down => self.down.begin(format_args!("no server is left, new clients are closed")),
            NoServer::Full => {
                self.full.begin(format_args!(
                    "every server has as many connections as it may, new clients are closed"
                ));
            }
            NoServer::ForClient => log::debug(1, format_args!("no server may serve this client")),
        }
    }

    /// A client has this server, which works.
    pub fn connected(&self, backend: &Backend) {
        self.shortage.end(format_args!("connecting to servers again"));
        self.down.end(format_args!("new clients are served again"));
        self.full.end(format_args!("new clients are served again"));
        self.unreachable.end(&backend.role.number(), format_args!("connecting to {backend} again"));
    }
}
