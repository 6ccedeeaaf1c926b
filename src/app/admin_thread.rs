//! The thread of the admin listener.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::admin::{self, AdminListener};
use crate::core::Error;
use crate::sys::listen::SocketFile;

use super::documents::Documents;

/// The thread, while pen serves.
#[derive(Debug)]
pub(super) struct AdminThread {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    file: Option<SocketFile>,
}

impl AdminThread {
    /// Starts it; `file` is removed at its end.
    ///
    /// # Errors
    /// When the system gives no thread or no event port.
    pub(super) fn start(
        listener: AdminListener,
        file: Option<SocketFile>,
        documents: &Arc<Documents>,
    ) -> Result<Self, Error> {
        let (stop, stopped) = oneshot::channel();
        let thread = admin::start(listener, Arc::clone(documents), stopped);
        let thread = thread.map_err(|e| Error::failed("a thread for the admin listener", e))?;
        Ok(AdminThread { thread, stop, file })
    }

    /// Ends it.
    pub(super) fn end(self) {
        drop(self.stop);
        // A thread that panicked has said so.
        _ = self.thread.join();
        drop(self.file);
    }
}
