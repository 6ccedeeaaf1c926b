//! The interface to the source of the servers, for what shows a row for each of them.

use std::sync::Arc;

use crate::core::Millis;
use crate::core::report::pieces::Rows;
use crate::core::snapshot::Backend;

/// The source of the servers.
pub trait ServerSource: Send + Sync + 'static {
    /// The servers, except removed ones, `most` at a time, as they are when they are taken.
    fn servers(&self, most: usize) -> Rows<Arc<Backend>>;
    /// The time of pen's clock.
    fn now(&self) -> Millis;
}
