//! The thread of the admin listener.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::admin::{self, AdminListener};
use crate::core::Error;
use crate::sys::listen::SocketFile;

use super::documents::Documents;

/// The thread, which runs while pen serves.
#[derive(Debug)]
pub(super) struct AdminThread {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    file: Option<SocketFile>,
}

impl AdminThread {
    /// Starts the thread, for so many concurrent connections; `file` is removed when it ends.
    ///
    /// # Errors
    /// The system cannot create the thread or its event port.
    pub(super) fn start(
        listener: AdminListener,
        file: Option<SocketFile>,
        documents: &Arc<Documents>,
        connections: usize,
    ) -> Result<Self, Error> {
        let (stop, stopped) = oneshot::channel();
        let thread = admin::start(listener, Arc::clone(documents), connections, stopped);
        let thread = thread.map_err(|e| Error::failed("a thread for the admin listener", e))?;
        Ok(AdminThread { thread, stop, file })
    }

    /// Ends the thread.
    pub(super) fn end(self) {
        drop(self.stop);
        // The panic handler has reported a panic.
        _ = self.thread.join();
        drop(self.file);
    }
}
