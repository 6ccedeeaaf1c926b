//! Problems between clients and their servers, reported once while they last.

use std::fmt;
use std::io;

use crate::core::error::SystemReason;
use crate::core::select::NoServer;
use crate::core::snapshot::{Backend, Role};
use crate::sys::log::{self, Condition, Conditions};

use super::failure::{Failure, Origin};

/// The conditions.
#[derive(Debug, Default)]
pub struct Reports {
    shortage: Condition,
    down: Condition,
    full: Condition,
    queue_full: Condition,
    /// The emergency server is in use.
    emergency: Condition,
    /// Servers that cannot be reached and are not blacklisted for it, by [`crate::core::snapshot::Role::number`].
    unreachable: Conditions<i64>,
    /// Servers whose checks have no result, likewise.
    unchecked: Conditions<i64>,
}

impl Reports {
    /// Descriptors or memory are short.
    pub fn shortage(&self, failure: &Failure) {
        self.shortage.begin(format_args!("cannot connect to servers: {}", SystemReason(&failure.error)));
    }

    /// The connection of this client was cut because descriptors or memory are short.
    pub fn cut(&self, client: impl fmt::Display, error: &io::Error) {
        self.shortage.begin(format_args!("the connection of {client} is cut: {}", SystemReason(error)));
    }

    /// This server cannot be reached, and is not blacklisted for it.
    pub fn unreachable(&self, backend: &Backend, failure: &Failure) {
        let on_whose_side = match failure.origin {
            Origin::Internal => " for a reason on this side",
            _ => "",
        };
        self.unreachable.begin(
            backend.role.number(),
            format_args!("cannot connect to {backend}{on_whose_side}: {}", SystemReason(&failure.error)),
        );
    }

    /// A check of this server has no result, for a reason on this side.
    pub fn unchecked(&self, backend: &Backend, reason: &str) {
        self.unchecked.begin(
            backend.role.number(),
            format_args!("cannot check {backend} for a reason on this side: {reason}"),
        );
    }

    /// A check of this server has a result.
    pub fn checked(&self, backend: &Backend) {
        self.unchecked.end(&backend.role.number(), format_args!("checking {backend} again"));
    }

    /// A client could not wait for a server, since `limit` others do.
    pub fn queue_full(&self, limit: usize) {
        if limit > 0 {
            self.queue_full.begin(format_args!(
                "every server is full, and {limit} connections wait, as many as queue_max allows"
            ));
        }
    }

    /// A client waits for a server.
    pub fn queued(&self) {
        self.queue_full.end(format_args!("there is room in the queue again"));
    }

    /// A client was closed because no server is left.
    pub fn no_server(&self, why: NoServer) {
        match why {
            NoServer::Down => self.down.begin(format_args!("no server is left, new clients are closed")),
            NoServer::Full => {
                self.full.begin(format_args!(
                    "all servers are at their limits of connections, new clients are closed"
                ));
            }
            NoServer::ForClient => log::debug(1, format_args!("no server may serve this client")),
        }
    }

    /// A client is connected to this server, which works.
    pub fn connected(&self, backend: &Backend) {
        self.shortage.end(format_args!("connecting to servers again"));
        if backend.role != Role::Abuse {
            self.down.end(format_args!("new clients are served again"));
            self.full.end(format_args!("new clients are served again"));
        }
        match backend.role {
            Role::Regular(_) => {
                self.emergency.end(format_args!("new clients are served by the regular servers again"));
            }
            Role::Emergency => {
                self.emergency.begin(format_args!("no regular server is left, {backend} serves new clients"));
            }
            Role::Abuse => {}
        }
        self.unreachable.end(&backend.role.number(), format_args!("connecting to {backend} again"));
    }
}
