use std::collections::VecDeque;
use std::os::fd::RawFd;

use proptest::prelude::*;

use super::*;

/// What the kernel does when it is asked.
#[derive(Debug, Clone)]
enum KernelResponse {
    /// Takes so many calls, and completes so many fewer until it is waited for.
    Takes(usize, usize),
    /// Refuses, with this error.
    Refuses(i32),
}

/// A kernel with faults.
#[derive(Debug, Default)]
struct Faulty {
    responses: VecDeque<KernelResponse>,
    /// What the calls return, by their numbers.
    outcomes: Vec<i32>,
    listed: VecDeque<(u64, RawCall)>,
    /// Taken calls whose memory is in use.
    in_progress: VecDeque<u64>,
    completions: VecDeque<u64>,
    /// Calls in the order in which they were made, with their sockets.
    made: Vec<(RawFd, u64)>,
}

impl SubmissionQueue for Faulty {
    unsafe fn list(&mut self, call: RawCall, number: u64) -> bool {
        if self.listed.len() == ENTRIES as usize {
            return false;
        }
        self.listed.push_back((number, call));
        true
    }

    fn submit(&mut self) -> io::Result<usize> {
        let (most, later) = match self.responses.pop_front() {
            Some(KernelResponse::Takes(most, later)) => (most, later),
            Some(KernelResponse::Refuses(error)) => return Err(io::Error::from_raw_os_error(error)),
            None => (usize::MAX, 0),
        };
        let count = most.min(self.listed.len());
        for (number, call) in self.listed.drain(..count) {
            let RawCall::Send { socket, .. } = call else { unreachable!("the test sends") };
            self.made.push((socket, number));
            self.in_progress.push_back(number);
        }
        let over = self.in_progress.len().saturating_sub(later);
        self.completions.extend(self.in_progress.drain(..over));
        Ok(count)
    }

    fn wait(&mut self, _completions: usize) -> io::Result<()> {
        if let Some(KernelResponse::Refuses(error)) = self.responses.pop_front() {
            return Err(io::Error::from_raw_os_error(error));
        }
        assert!(!self.in_progress.is_empty(), "there is nothing to wait for");
        self.completions.extend(self.in_progress.pop_front());
        Ok(())
    }

    fn completion(&mut self) -> Option<(u64, Returned)> {
        let number = self.completions.pop_front()?;
        Some((number, Returned(self.outcomes[number as usize])))
    }
}

fn responses() -> impl Strategy<Value = Vec<KernelResponse>> {
    let errors = prop::sample::select(vec![libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM]);
    let turn = prop_oneof![
        3 => (0..200_usize, 0..8_usize).prop_map(|(most, later)| KernelResponse::Takes(most, later)),
        1 => errors.prop_map(KernelResponse::Refuses),
    ];
    prop::collection::vec(turn, 0..12)
}

proptest! {
    /// Short counts, EAGAIN, EINTR and ECONNRESET at any call, and a kernel that takes few, completes late or refuses.
    #[test]
    fn none_is_in_progress_afterwards_and_each_socket_has_its_order(
        responses in responses(),
        calls in prop::collection::vec(
            (0..4, prop::sample::select(vec![0, 1, 17, 4096, -libc::EAGAIN, -libc::EINTR, -libc::ECONNRESET])),
            0..300,
        ),
    ) {
        let (sockets, outcomes): (Vec<RawFd>, Vec<i32>) = calls.into_iter().unzip();
        let mut faulty = Faulty { responses: responses.into(), outcomes: outcomes.clone(), ..Faulty::default() };
        let bytes = [0; 16];
        let raw: Vec<_> = sockets
            .iter()
            .map(|socket| RawCall::Send { socket: *socket, bytes: bytes.as_ptr(), length: bytes.len() })
            .collect();
        let mut returned = vec![Returned(i32::MIN); raw.len()];
        // SAFETY: the stand-in reads nothing.
        let made = match unsafe { make(&mut faulty, &raw, &mut returned) } {
            Ok(()) => raw.len(),
            Err(made) => made,
        };
        prop_assert!(faulty.in_progress.is_empty() && faulty.completions.is_empty());
        // Those that were made are the first ones, in order and once each; what is left is to be made otherwise.
        let expected: Vec<_> = sockets.iter().copied().zip(0..).take(made).collect();
        prop_assert_eq!(&faulty.made, &expected);
        let values: Vec<_> = returned.iter().map(|returned| returned.0).collect();
        prop_assert_eq!(&values[..made], &outcomes[..made]);
        prop_assert!(values[made..].iter().all(|value| *value == i32::MIN));
    }
}
