//! Receiving several datagrams with one call, which also saves the call that only reports that there are no more.

use std::io;

use super::peer::Peer;
use super::received::{BATCH_MAX, DATAGRAM_MAX, Received};

/// The datagrams that one call received. Its memory is used again by the next call.
#[derive(Debug)]
pub struct Batch {
    bytes: Box<[u8]>,
    received: [Received; BATCH_MAX],
    count: usize,
}

impl Batch {
    /// An empty batch, with room for a few of the largest datagrams. Pages that are never written cost no memory.
    pub fn new() -> Self {
        Batch {
            bytes: vec![0; BATCH_MAX * DATAGRAM_MAX].into_boxed_slice(),
            received: [(0, None); BATCH_MAX],
            count: 0,
        }
    }

    /// The datagrams, in the order in which they came, each with who sent it where that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<Peer>)> {
        let each = self.bytes.chunks(DATAGRAM_MAX).zip(&self.received).take(self.count);
        each.map(|(bytes, (length, peer))| (bytes.get(..*length).unwrap_or(bytes), *peer))
    }

    /// Lets `receive` put datagrams into the pieces of the memory, [`DATAGRAM_MAX`] bytes each, and say how many. Returns
    /// whether there may be more: the batch is full.
    ///
    /// # Errors
    /// As `receive`.
    #[cfg(target_os = "linux")]
    pub(super) fn receive_many(
        &mut self,
        receive: impl FnOnce(&mut [u8], &mut [Received; BATCH_MAX]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        self.count = 0;
        self.count = receive(&mut self.bytes, &mut self.received)?;
        Ok(self.count == BATCH_MAX)
    }

    /// Lets `receive` put one datagram into the memory. Returns true: there may be more.
    ///
    /// # Errors
    /// As `receive`.
    pub(super) fn receive_one(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> io::Result<Received>,
    ) -> io::Result<bool> {
        self.count = 0;
        self.received[0] = receive(self.bytes.get_mut(..DATAGRAM_MAX).unwrap_or_default())?;
        self.count = 1;
        Ok(true)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}
