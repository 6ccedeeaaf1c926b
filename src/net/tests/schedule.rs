//! Any order of writes, slow reads, half closes and resets.

use std::io::ErrorKind;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::relay::Cause;
use crate::net::relay::buffer::READ_SIZE;
use crate::sys::splice::PIPE_SIZE;

/// What one peer does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write(usize),
    Read(usize),
    Yield(u8),
    HalfClose,
    /// An urgent byte, once: it is not passed on, and must not disturb the others.
    Urgent,
    Reset,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (1_usize..200_000).prop_map(Act::Write),
        4 => (1_usize..2_000).prop_map(Act::Write),
        1 => (4_090_usize..4_100).prop_map(Act::Write),
        6 => (1_usize..200_000).prop_map(Act::Read),
        3 => (1_u8..20).prop_map(Act::Yield),
        1 => Just(Act::HalfClose),
        1 => Just(Act::Urgent),
    ];
    (prop::collection::vec(act, 0..20), prop::bool::weighted(0.25)).prop_map(|(mut acts, reset)| {
        if reset {
            acts.push(Act::Reset);
        }
        acts
    })
}

/// How messages that are short are carried.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By the task.
    Task,
    /// By lanes, with calls made together or not.
    Lanes { together: bool },
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Task), any::<bool>().prop_map(|together| Way::Lanes { together })]
}

impl Way {
    /// To be called first on a worker. Returns after how many messages the relay has lanes.
    fn prepare(self) -> usize {
        match self {
            Way::Task => 0,
            Way::Lanes { together } => {
                crate::sys::socket::prepare(together).unwrap();
                WARM
            }
        }
    }
}

/// What one peer did and saw.
#[derive(Default)]
struct Story {
    sent: usize,
    got: Vec<u8>,
    /// The other's end was a clean one; an error; or not seen, after an own reset.
    clean: Option<bool>,
    /// A write met the news of a reset, after which read(2) tells nothing of it.
    failed: bool,
    ended: bool,
    reset: bool,
    urgent: bool,
}

/// Acts, then ends its stream and reads to the other's end.
async fn act(stream: TcpStream, acts: Vec<Act>, data: &[u8]) -> Story {
    let (mut read, mut write) = stream.into_split();
    let mut story = Story::default();
    let mut piece = vec![0; 200_000];
    for act in acts {
        match act {
            Act::Write(n) if !story.ended && !story.failed => {
                let n = n.min(data.len() - story.sent);
                // Reads too while it writes, or both sides could wait for each other.
                let bytes = &data[story.sent..story.sent + n];
                let mut at = 0;
                while at < bytes.len() {
                    tokio::select! {
                        result = write.write(&bytes[at..]) => match result {
                            Ok(n) => at += n,
                            Err(_) => { story.failed = true; break; }
                        },
                        result = read.read(&mut piece), if story.clean.is_none() => match result {
                            Ok(0) => story.clean = Some(true),
                            Ok(n) => story.got.extend_from_slice(&piece[..n]),
                            Err(_) => { story.clean = Some(false); story.failed = true; break; }
                        },
                    }
                }
                story.sent += at;
            }
            Act::Read(n) if story.clean.is_none() => {
                tokio::task::yield_now().await;
                match read.try_read(&mut piece[..n]) {
                    Ok(0) => story.clean = Some(true),
                    Ok(n) => story.got.extend_from_slice(&piece[..n]),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => story.clean = Some(false),
                }
            }
            Act::Yield(n) => {
                for _ in 0..n {
                    tokio::task::yield_now().await;
                }
            }
            Act::Urgent if !story.ended && !story.urgent => {
                match SockRef::from(write.as_ref()).send_out_of_band(b"!") {
                    Ok(_) => story.urgent = true,
                    Err(e) => story.failed |= e.kind() != ErrorKind::WouldBlock,
                }
            }
            Act::HalfClose if !story.ended => {
                story.ended = write.shutdown().await.is_ok();
            }
            Act::Reset => {
                reset(read.reunite(write).expect("the same stream"));
                story.reset = true;
                return story;
            }
            _ => {}
        }
    }
    if !story.ended {
        story.ended = write.shutdown().await.is_ok();
    }
    while story.clean.is_none() {
        match read.read(&mut piece).await {
            Ok(0) => story.clean = Some(true),
            Ok(n) => story.got.extend_from_slice(&piece[..n]),
            Err(_) => story.clean = Some(false),
        }
    }
    story
}

/// What must be true of the bytes from `source` to `sink`, of which the relay says it delivered `delivered`.
fn check(source: &Story, sink: &Story, data: &[u8], delivered: usize) {
    assert!(sink.got.len() <= source.sent && data.starts_with(&sink.got), "lost, doubled or disordered");
    if !sink.reset {
        assert!(sink.got.len() <= delivered);
    }
    if sink.clean == Some(true) && !sink.failed {
        assert_eq!(sink.got.len(), source.sent, "a clean end after a part");
        assert!(source.ended, "an end that nobody sent");
    }
    if !source.reset && !sink.reset {
        assert_eq!(sink.clean, Some(true), "an error that nobody caused");
        assert_eq!(sink.got.len(), delivered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule(client_acts in acts(), server_acts in acts(), small: bool, splice: bool, way in way()) {
        let settings = if splice { spliced() } else { RelaySettings::default() };
        static DATA: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| (noise(4_000_000, 11), noise(4_000_000, 12)));
        let (up, down) = &*DATA;
        run(async {
            let warm = way.prepare();
            let Rig { mut client, mut server, relay, counts } = rig(&settings, small).await;
            for _ in 0..warm {
                talk(&mut client, &mut server).await;
            }
            let (at_client, at_server, end) =
                tokio::join!(act(client, client_acts, up), act(server, server_acts, down), relay);
            let end = end.unwrap();
            check(&at_client, &at_server, up, end.to_server as usize - warm);
            check(&at_server, &at_client, down, end.to_client as usize - warm);
            assert_eq!(counts.pending.load(Relaxed), 0);
            assert!(counts.most_pending.load(Relaxed) <= if splice { PIPE_SIZE } else { READ_SIZE });
            if !at_client.reset && !at_server.reset {
                assert!(matches!(end.cause, Cause::Closed), "{:?}", end);
            }
        });
    }
}
