//! The command `wait`: replies when a server meets a condition.

use std::sync::Arc;
use std::time::Duration;

use crate::control::protocol;
use crate::core::command::Awaited;
use crate::core::error::Error;
use crate::core::report::model::ServerState;
use crate::core::settings::{AdminState, Keyword, Value};
use crate::core::snapshot::Backend;
use crate::net::shared::Shared;

/// The polling interval: workers count connections without notifying anybody.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `server` meets the condition. The reply is an error when `time` is over first, or when the server never
/// will.
pub(super) async fn wait(
    shared: Arc<Shared>,
    server: Arc<Backend>,
    awaited: Awaited,
    time: Duration,
) -> String {
    let reached = async {
        while obstacle(&shared, &server, awaited).is_some() {
            if awaited == Awaited::Up && server.stats.is_removed() {
                return Err(format!("{server} is not up, and will not be: it was removed"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    };
    match tokio::time::timeout(time, reached).await {
        Ok(Ok(())) => return String::new(),
        Ok(Err(error)) => return protocol::refusal(&[Error::new(error).of("wait")]),
        Err(_) => {}
    }
    match obstacle(&shared, &server, awaited) {
        None => String::new(),
        Some(obstacle) => {
            let (word, time) = (awaited.word(), Value::Seconds(time));
            let error = format!("{server} is not {word} after {time} seconds: {obstacle}");
            protocol::refusal(&[Error::new(error).of("wait")])
        }
    }
}

/// Why the server does not meet the condition; `None` when it does.
fn obstacle(shared: &Shared, server: &Arc<Backend>, awaited: Awaited) -> Option<String> {
    let snapshot = shared.snapshot.load();
    // The server as configured now; one that was removed as it was, since its slot may hold another server.
    let current = snapshot.backend(server.role).filter(|now| Arc::ptr_eq(&now.stats, &server.stats));
    let current = current.unwrap_or(server);
    let (state, admin_state) = (ServerState::of(current, shared.now()), current.admin_state);
    let is_so = match awaited {
        Awaited::Idle => {
            let count = server.stats.connections();
            return (count > 0).then(|| format!("it has {count} connections"));
        }
        Awaited::Up => state.is_up() && admin_state == AdminState::Ready,
        Awaited::Down => state.is_down(),
    };
    (!is_so).then(|| match admin_state {
        AdminState::Ready => format!("it is {}", state.word()),
        admin_state => format!("it is {}, in the state {}", state.word(), admin_state.word()),
    })
}
