//! Clients that `tarpit_acl` denies, from their acceptance to their line in the connection log.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::core::end_reason::EndReason;

use super::client_name::ClientName;
use super::connection_record;
use super::shared::Shared;

/// Holds the connection of a client; if there is no room, closes it.
pub(super) fn hold(shared: &Shared, socket: OwnedFd, client: ClientName) {
    let snapshot = shared.snapshot.load();
    if !shared.tarpit.hold(socket, client, &snapshot.listener, snapshot.tarpit_max) {
        ends(shared, client, &snapshot.listener, Duration::ZERO);
    }
}

/// Lets go of connections whose clients have gone, or are no longer denied, until pen takes no more clients.
pub async fn watch(shared: Arc<Shared>) {
    let tell = |client, listener: &str, held| ends(&shared, client, listener, held);
    shared.tarpit.run(&shared.lifecycle, &shared.snapshot, tell).await;
}

/// Lets go of all connections; further ones are closed.
pub fn end(shared: &Shared) {
    shared.tarpit.end(&|client, listener, held| ends(shared, client, listener, held));
}

fn ends(shared: &Shared, client: ClientName, listener: &str, held: Duration) {
    connection_record::refused(shared, listener, client, EndReason::Denied, held);
}
