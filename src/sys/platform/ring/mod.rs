//! Calls passed to the kernel together (io_uring(7)), only in batches: every call is non-blocking (MSG_DONTWAIT), so it
//! is over when the kernel has taken it, and none is in progress when [`Ring::make`] returns.
#![allow(unsafe_code, reason = "the kernel is given pointers, which are valid until all calls are over")]

use std::io;

use io_uring::types::Fd;
use io_uring::{IoUring, Probe, opcode, squeue};

use super::call::{RawCall, Returned};

/// io_uring_enter(2), IORING_ENTER_GETEVENTS: wait for completions.
const GETEVENTS: u32 = 1;

/// The maximum number of calls that the kernel takes at once.
const ENTRIES: u32 = 128;

/// A thread's ring for passing calls to the kernel together.
pub(in crate::sys) struct Ring(IoUring);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    /// Creates a ring.
    ///
    /// # Errors
    /// The system has none, forbids it (kernel.io_uring_disabled, a system call filter) or has no memory for one.
    pub(in crate::sys) fn new() -> io::Result<Self> {
        if crate::sys::emulation::is_portable() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let ring = IoUring::new(ENTRIES)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Recv::CODE, opcode::Send::CODE, opcode::SendMsg::CODE];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self(ring))
    }

    /// Makes `calls` in order and stores their results in `returned`, at the same indices. All of them are over then.
    ///
    /// # Errors
    /// The kernel takes no more: the number of calls that were made, from the first on. The ring must not be used
    /// again.
    ///
    /// # Safety
    /// The memory that the calls point to must be valid and not in use elsewhere until this returns.
    pub(in crate::sys) unsafe fn make(
        &mut self,
        calls: &[RawCall],
        returned: &mut [Returned],
    ) -> Result<(), usize> {
        // SAFETY: guaranteed by the caller.
        unsafe { make(&mut self.0, calls, returned) }
    }
}

/// The functions of the kernel that are used; tests have a replacement.
trait SubmissionQueue {
    /// Lists a call for the next [`SubmissionQueue::submit`]. False when there is no room.
    ///
    /// # Safety
    /// The memory that it points to must be valid and not in use elsewhere until its completion has been returned, or
    /// until the queue is dropped without having taken it.
    unsafe fn list(&mut self, call: RawCall, number: u64) -> bool;

    /// Passes the listed calls to the kernel, and returns how many it took, from the first on. An error means that it
    /// took none.
    fn submit(&mut self) -> io::Result<usize>;

    /// Waits until this many completions can be fetched.
    fn wait(&mut self, completions: usize) -> io::Result<()>;

    /// Fetches one completion, with the number of its call.
    fn completion(&mut self) -> Option<(u64, Returned)>;
}

impl SubmissionQueue for IoUring {
    unsafe fn list(&mut self, call: RawCall, number: u64) -> bool {
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let entry: squeue::Entry = match call {
            RawCall::Receive { socket, room, length: most } => {
                opcode::Recv::new(Fd(socket), room, length(most)).flags(libc::MSG_DONTWAIT).build()
            }
            RawCall::Send { socket, bytes, length: all } => {
                opcode::Send::new(Fd(socket), bytes, length(all)).flags(libc::MSG_DONTWAIT).build()
            }
            RawCall::SendMessage { socket, message } => {
                opcode::SendMsg::new(Fd(socket), message).flags(libc::MSG_DONTWAIT as u32).build()
            }
        };
        // SAFETY: guaranteed by the caller.
        unsafe { self.submission().push(&entry.user_data(number)) }.is_ok()
    }

    fn submit(&mut self) -> io::Result<usize> {
        self.submitter().submit()
    }

    fn wait(&mut self, completions: usize) -> io::Result<()> {
        let least = u32::try_from(completions).unwrap_or(u32::MAX);
        // SAFETY: nothing is submitted, and there is no further argument.
        unsafe { self.submitter().enter::<()>(0, least, GETEVENTS, None) }.map(|_| ())
    }

    fn completion(&mut self) -> Option<(u64, Returned)> {
        self.completion().next().map(|entry| (entry.user_data(), Returned(entry.result())))
    }
}

/// [`Ring::make`] with any queue.
///
/// # Safety
/// See [`Ring::make`].
unsafe fn make(
    queue: &mut impl SubmissionQueue,
    calls: &[RawCall],
    returned: &mut [Returned],
) -> Result<(), usize> {
    let mut first = 0;
    while first < calls.len() {
        let rest = calls.iter().enumerate().skip(first).take(ENTRIES as usize);
        // SAFETY: guaranteed by the caller; below, everything that the kernel takes is waited for.
        let listed = rest.take_while(|(at, call)| unsafe { queue.list(**call, *at as u64) }).count();
        let taken = give(queue, listed, returned);
        first += taken;
        if taken < listed || listed == 0 {
            return Err(first);
        }
    }
    Ok(())
}

/// Passes the listed calls to the kernel and waits for all of them. Returns how many calls it took: less than `listed`
/// if it failed to take more.
fn give(queue: &mut impl SubmissionQueue, listed: usize, returned: &mut [Returned]) -> usize {
    let (mut taken, mut completed, mut takes) = (0, 0, true);
    loop {
        while let Some((number, value)) = queue.completion() {
            if let Some(place) = usize::try_from(number).ok().and_then(|number| returned.get_mut(number)) {
                *place = value;
            }
            completed += 1;
        }
        let to_take = if takes { listed - taken } else { 0 };
        if to_take == 0 && completed >= taken {
            return taken;
        }
        if to_take > 0 {
            match queue.submit() {
                Ok(count) => {
                    taken += count;
                    takes = count > 0;
                }
                Err(error) => takes = error.kind() == io::ErrorKind::Interrupted,
            }
        } else if queue.wait(taken - completed).is_err() {
            // The calls do not block, so a correct kernel has completed all that it took. Their memory is in use until
            // it has.
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests;
