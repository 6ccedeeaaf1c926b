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
    if !shared.tarpit.hold(socket, client, shared.snapshot.load().tarpit_max) {
        ends(shared, client, Duration::ZERO);
    }
}

/// Lets go of connections whose clients have gone, or are no longer denied, until pen takes no more clients.
pub async fn watch(shared: Arc<Shared>) {
    shared.tarpit.run(&shared.lifecycle, &shared.snapshot, |client, held| ends(&shared, client, held)).await;
}

/// Lets go of all connections; further ones are closed.
pub fn end(shared: &Shared) {
    shared.tarpit.end(&|client, held| ends(shared, client, held));
}

fn ends(shared: &Shared, client: ClientName, held: Duration) {
    let snapshot = shared.snapshot.load();
    connection_record::refused(shared, &snapshot, client, EndReason::Denied, held);
}
