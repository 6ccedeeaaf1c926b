//! The reply that a client waits for. If pen ends before it is there, the client is told so: no reply would look like success.

use std::os::fd::BorrowedFd;

use crate::core::error::Error;
use crate::sys::socket;

use super::protocol;

/// The result of `work`, for which `client` waits. If this is dropped before, the client gets an error instead.
pub(super) async fn for_client<T>(client: BorrowedFd<'_>, work: impl Future<Output = T>) -> T {
    let mut reply = OwedReply { client, is_there: false };
    let result = work.await;
    reply.is_there = true;
    result
}

struct OwedReply<'a> {
    client: BorrowedFd<'a>,
    is_there: bool,
}

impl Drop for OwedReply<'_> {
    fn drop(&mut self) {
        if !self.is_there {
            let error = protocol::refusal(&[Error::new("pen has ended before it could reply")]);
            // Nothing has been written to this client: there is room.
            if socket::send(self.client, error.as_bytes(), false).ok() != Some(error.len()) {
                socket::reset_on_close(&self.client);
            }
        }
    }
}
