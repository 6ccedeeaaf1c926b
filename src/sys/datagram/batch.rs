//! Receives several datagrams with one call, which also saves the call that only reports an empty queue.

use std::io;

use super::peer::Peer;
use super::received::{BATCH_MAX, DATAGRAM_MAX, ReceivedDatagram};

/// The datagrams that one call received. The next call reuses its memory.
#[derive(Debug)]
pub struct Batch {
    bytes: Box<[u8]>,
    received: [ReceivedDatagram; BATCH_MAX],
    count: usize,
}

impl Batch {
    /// An empty batch, with room for a few datagrams of maximum size. Pages that are never written take no memory.
    pub fn new() -> Self {
        Batch {
            bytes: vec![0; BATCH_MAX * DATAGRAM_MAX].into_boxed_slice(),
            received: [(0, None); BATCH_MAX],
            count: 0,
        }
    }

    /// The datagrams in order of arrival, each with its sender if known.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<Peer>)> {
        let each = self.bytes.chunks(DATAGRAM_MAX).zip(&self.received).take(self.count);
        each.map(|(bytes, (length, peer))| (bytes.get(..*length).unwrap_or(bytes), *peer))
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One of the datagrams, as [`Batch::iter`] has it.
    pub fn get(&self, at: usize) -> Option<(&[u8], Option<Peer>)> {
        let (length, peer) = *self.received.get(..self.count)?.get(at)?;
        let bytes = self.bytes.chunks(DATAGRAM_MAX).nth(at)?;
        Some((bytes.get(..length).unwrap_or(bytes), peer))
    }

    /// Calls `receive` to put datagrams into slices of [`DATAGRAM_MAX`] bytes each and return their number. Returns
    /// whether the batch is full, so that there may be more.
    ///
    /// # Errors
    /// Errors of `receive`.
    #[cfg(target_os = "linux")]
    pub(super) fn receive_many(
        &mut self,
        receive: impl FnOnce(&mut [u8], &mut [ReceivedDatagram; BATCH_MAX]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        self.count = 0;
        self.count = receive(&mut self.bytes, &mut self.received)?;
        Ok(self.count == BATCH_MAX)
    }

    /// Calls `receive` to put one datagram into the memory.
    ///
    /// # Errors
    /// Errors of `receive`.
    pub(super) fn receive_one(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> io::Result<ReceivedDatagram>,
    ) -> io::Result<()> {
        self.count = 0;
        self.received[0] = receive(self.bytes.get_mut(..DATAGRAM_MAX).unwrap_or_default())?;
        self.count = 1;
        Ok(())
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}
