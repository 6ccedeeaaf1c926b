//! Moves bytes between sockets inside the kernel, on systems that can (Linux, splice(2)).
//!
//! A connection that moves bulk data borrows a pipe from its worker's [`Pool`], and copies the data if there is none:
//! the same code works on every system. A pipe counts the bytes that it holds, and only an empty one is lent again, so
//! a connection that ends early cannot leak a byte into another one.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::platform::KernelPipe;

/// The size of a pipe in bytes: the largest that Linux allows without privilege (pipe(7), pipe-max-size).
pub const PIPE_SIZE: usize = 1 << 20;

/// A bounded number of pipes that are lent to one connection after the other. Clones share the pipes.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Mutex<PoolState>>);

#[derive(Debug)]
struct PoolState {
    idle: Vec<KernelPipe>,
    /// The number of further pipes that may be lent or created.
    left: usize,
}

impl Pool {
    /// A pool of at most `most` pipes, each created when first needed. A pipe takes two descriptors.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(PoolState { idle: Vec::new(), left: most })))
    }

    /// Lends an empty pipe. `None` when all are lent, or the system has no splice or no pipe now: the data of the
    /// connection is then copied until its end.
    pub fn take(&self) -> Option<Pipe> {
        let pipe = {
            let mut state = self.state();
            if state.left == 0 {
                return None;
            }
            let pipe = match state.idle.pop() {
                Some(pipe) => pipe,
                None => KernelPipe::new(PIPE_SIZE).ok()?,
            };
            state.left -= 1;
            pipe
        };
        Some(Pipe { pipe: Some(pipe), held: 0, pool: self.clone() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, PoolState> {
        // No code that holds this lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A borrowed pipe; dropping it returns it, or closes it if it still holds data.
#[derive(Debug)]
pub struct Pipe {
    /// `None` only while the pipe is dropped.
    pipe: Option<KernelPipe>,
    held: usize,
    pool: Pool,
}

impl Pipe {
    /// The bytes read from a source and not yet written to a sink.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether everything that was read has been written.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Reads from `source` into the pipe without blocking, and returns the number of bytes; 0 is the end of `source`.
    ///
    /// # Errors
    /// `WouldBlock` when `source` has nothing to read, **or when the pipe is full**, which a source of small segments
    /// reaches long before [`PIPE_SIZE`] bytes: drain a pipe that holds data before filling it. For other errors see
    /// read(2) on `source`; no error loses a byte.
    pub fn fill(&mut self, source: impl AsFd) -> io::Result<usize> {
        self.fill_at_most(source, usize::MAX)
    }

    /// Like [`Pipe::fill`], but reads no more than `most` bytes, at least 1.
    ///
    /// # Errors
    /// See [`Pipe::fill`].
    pub fn fill_at_most(&mut self, source: impl AsFd, most: usize) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Err(io::ErrorKind::Unsupported.into()) };
        let room = pipe.capacity().saturating_sub(self.held).min(most);
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = pipe.fill(source, room)?;
        self.held += count;
        Ok(count)
    }

    /// Writes from the pipe to `sink` without blocking, and returns the number of bytes.
    ///
    /// # Errors
    /// `WouldBlock` when `sink` accepts nothing now; otherwise see write(2) on `sink`.
    pub fn drain(&mut self, sink: impl AsFd) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Err(io::ErrorKind::Unsupported.into()) };
        if self.held == 0 {
            return Ok(0);
        }
        let count = pipe.drain(sink, self.held)?;
        self.held -= count;
        Ok(count)
    }

    /// Reads bytes back out of the pipe, for a sink that turns out not to support splice, and returns their number; 0
    /// when the pipe or `buffer` is empty.
    ///
    /// # Errors
    /// See read(2) on a pipe.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        let most = buffer.len().min(self.held);
        if most == 0 {
            return Ok(0);
        }
        let count = pipe.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.held -= count;
        Ok(count)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.left += 1;
        if self.held == 0
            && let Some(pipe) = self.pipe.take()
        {
            state.idle.push(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    /// A pipe, if the system supports it; on Linux its absence is a failure.
    fn pipe(pool: &Pool) -> Option<Pipe> {
        let pipe = pool.take();
        let expected = cfg!(target_os = "linux") && std::env::var_os("PEN_PORTABLE").is_none();
        assert_eq!(pipe.is_some(), expected);
        pipe
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().expect("pair");
        near.set_nonblocking(true).expect("non-blocking");
        (near, far)
    }

    #[test]
    fn carries_every_byte_in_order_and_sees_the_end() {
        let pool = Pool::new(1);
        let Some(mut pipe) = pipe(&pool) else { return };
        let data: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let ((source, mut client), (sink, mut server)) = (pair(), pair());
        let sent = data.clone();
        let writer = thread::spawn(move || client.write_all(&sent));
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            server.read_to_end(&mut got).map(|_| got)
        });
        let mut end = false;
        while !end || !pipe.is_empty() {
            let before = pipe.len();
            match pipe.drain(&sink) {
                Ok(count) => assert_eq!(pipe.len(), before - count),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            if !end {
                match pipe.fill(&source) {
                    Ok(count) => end = count == 0,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
        }
        drop(sink);
        writer.join().expect("thread").expect("all written");
        assert!(reader.join().expect("thread").expect("all read") == data);
    }

    #[test]
    fn never_holds_more_than_its_capacity_and_never_blocks() {
        let pool = Pool::new(1);
        let Some(mut pipe) = pipe(&pool) else { return };
        let (source, mut client) = pair();
        assert_eq!(pipe.fill(&source).expect_err("nothing there").kind(), io::ErrorKind::WouldBlock);
        client.set_nonblocking(true).expect("non-blocking");
        let block = [7; 65536];
        let mut written = 0;
        let full = loop {
            written += client.write(&block).unwrap_or(0);
            match pipe.fill(&source) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(pipe.len() <= PIPE_SIZE && pipe.len() <= written);
    }

    #[test]
    fn lends_no_more_than_its_number_and_no_byte_of_another() {
        let pool = Pool::new(2);
        let (Some(mut first), Some(second)) = (pipe(&pool), pipe(&pool)) else { return };
        assert!(pool.take().is_none());
        let (source, mut client) = pair();
        client.write_all(b"secret").expect("writes");
        assert_eq!(first.fill(&source).expect("reads"), 6);
        drop(first); // With bytes in it: closed.
        assert!(pool.state().idle.is_empty());
        drop(second); // Empty: kept.
        assert_eq!(pool.state().idle.len(), 1);
        assert_eq!(pool.state().left, 2);
        let (mut one, mut two) = (pool.take().expect("kept"), pool.take().expect("made"));
        let (sink, _far) = pair();
        assert_eq!(one.drain(&sink).expect("empty") + two.drain(&sink).expect("empty"), 0);
    }

    #[test]
    fn takes_no_more_than_asked_and_gives_bytes_back() {
        let pool = Pool::new(1);
        let Some(mut pipe) = pipe(&pool) else { return };
        let (source, mut client) = pair();
        client.write_all(b"half and half").expect("writes");
        assert_eq!(pipe.fill_at_most(&source, 4).expect("reads"), 4);
        let mut buffer = [0; 16];
        assert_eq!(pipe.read(&mut buffer).expect("reads"), 4);
        assert_eq!(&buffer[..4], b"half");
        assert_eq!(pipe.read(&mut buffer).expect("empty"), 0);
        assert_eq!(pipe.fill(&source).expect("reads"), 9);
    }

    #[test]
    fn a_pool_of_none_lends_none() {
        assert!(Pool::new(0).take().is_none());
    }
}
