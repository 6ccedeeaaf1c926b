//! What a filter sees and changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::filter::{FilterVerdict, StreamFilter};

/// Puts `<` before and `>` after every chunk, and the `>` of the last only at the end.
#[derive(Default)]
struct BracketFilter {
    open: bool,
    most: usize,
}

impl StreamFilter for BracketFilter {
    fn max_read(&self) -> usize {
        self.most
    }

    fn request(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> FilterVerdict {
        assert!(chunk.len() <= self.most && out.is_empty());
        if std::mem::replace(&mut self.open, true) {
            out.push(b'>');
        }
        out.push(b'<');
        out.extend_from_slice(chunk);
        FilterVerdict::Replace
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.push(b'>');
    }
}

#[test]
fn an_inspector_rewrites_and_finishes() {
    both_ways(|settings| async move {
        let (mut client, mut server, mut relay) = at_rest(&settings, true, ()).await;
        let filter = Box::new(BracketFilter { open: false, most: 1000 });
        relay.show_to(Some(filter));
        let relay = tokio::spawn(relay);
        let data = vec![b'x'; 300_000];
        let write = async {
            client.write_all(&data).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let ((), (got, _)) = tokio::join!(write, read_all(&mut server));
        assert!(got.starts_with(b"<x") && got.ends_with(b"x>"));
        assert_eq!(got.iter().filter(|b| **b == b'x').count(), data.len());
        let chunks = got.iter().filter(|b| **b == b'<').count();
        assert!(chunks >= 300 && chunks == got.iter().filter(|b| **b == b'>').count());
        drop(server);
        relay.await.unwrap();
    });
}

/// Wants to see 10 bytes, then has a body of `body` bytes, and so on; counts what it sees.
struct Bodies {
    body: u64,
    left: u64,
    seen: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
}

impl StreamFilter for Bodies {
    fn request(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) -> FilterVerdict {
        out.extend_from_slice(chunk);
        self.seen.fetch_add(chunk.len(), Relaxed);
        while !chunk.is_empty() {
            let n = chunk.len().min(if self.left == 0 { 10 } else { self.left as usize });
            if self.left == 0 {
                assert_eq!(&chunk[..n], b"0123456789", "out of step");
                self.left = self.body;
            } else {
                self.left -= n as u64;
            }
            chunk = &chunk[n..];
        }
        FilterVerdict::Pass
    }

    fn finish(&mut self, _: &mut Vec<u8>) {}

    fn opaque(&self) -> u64 {
        self.left
    }

    fn skip(&mut self, bytes: u64) {
        self.left = self.left.checked_sub(bytes).expect("more skipped than allowed");
    }

    fn opaque_response(&self) -> u64 {
        if self.answers.load(Relaxed) < 100_000 { 0 } else { u64::MAX }
    }

    fn response(&mut self, chunk: &[u8]) {
        self.answers.fetch_add(chunk.len(), Relaxed);
    }
}

#[test]
fn bodies_pass_unseen_and_heads_do_not() {
    both_ways(|settings| async move {
        let (mut client, mut server, mut relay) = at_rest(&settings, false, ()).await;
        let (seen, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let filter = Bodies { body: 2_000_000, left: 0, seen: seen.clone(), answers: answers.clone() };
        relay.show_to(Some(Box::new(filter)));
        let relay = tokio::spawn(relay);
        let mut data = Vec::new();
        for seed in 0..5 {
            data.extend_from_slice(b"0123456789");
            data.extend(noise(2_000_000, seed));
        }
        let answer = noise(1_000_000, 10);
        let (mut client_read, mut client_write) = client.split();
        let (mut server_read, mut server_write) = server.split();
        let (mut got_data, mut got_answer) = (Vec::new(), Vec::new());
        tokio::join!(
            async {
                client_write.write_all(&data).await.unwrap();
                client_write.shutdown().await.unwrap();
            },
            async {
                server_write.write_all(&answer).await.unwrap();
                server_write.shutdown().await.unwrap();
            },
            async { server_read.read_to_end(&mut got_data).await.unwrap() },
            async { client_read.read_to_end(&mut got_answer).await.unwrap() },
        );
        assert!(got_data == data && got_answer == answer);
        assert!(seen.load(Relaxed) < 2_000_000, "{} seen", seen.load(Relaxed));
        assert!(answers.load(Relaxed) >= 100_000);
        relay.await.unwrap();
    });
}
