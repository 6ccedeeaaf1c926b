//! The command `wait`: answers when a server is as it is awaited.

use std::sync::Arc;
use std::time::Duration;

use crate::control::protocol;
use crate::core::command::Awaited;
use crate::core::error::Error;
use crate::core::report::model::ServerState;
use crate::core::settings::{Keyword, Value};
use crate::core::snapshot::Backend;
use crate::net::shared::Shared;

/// How often it looks: what it waits for is counted by workers, which tell nobody.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `server` is as it is awaited: the reply, which is an error when `time` is over before.
pub(super) async fn wait(
    shared: Arc<Shared>,
    server: Arc<Backend>,
    awaited: Awaited,
    time: Duration,
) -> String {
    let reached = async {
        while obstacle(&shared, &server, awaited).is_some() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(time, reached).await.is_ok() {
        return String::new();
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

/// Why the server is not as it is awaited; `None` when it is.
fn obstacle(shared: &Shared, server: &Arc<Backend>, awaited: Awaited) -> Option<String> {
    let snapshot = shared.snapshot.load();
    // As it is configured now, unless it was removed: its slot may have another server then.
    let current = snapshot.backend(server.role).filter(|now| Arc::ptr_eq(&now.stats, &server.stats));
    let state = ServerState::of(current.unwrap_or(server), shared.now());
    let is_so = match awaited {
        Awaited::Idle => {
            let count = server.stats.connections();
            return (count > 0).then(|| format!("it has {count} connections"));
        }
        Awaited::Up => state.is_up(),
        Awaited::Down => state.is_down(),
    };
    (!is_so).then(|| format!("it is {}", state.word()))
}
