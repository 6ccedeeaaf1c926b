//! Checks over a connection: tcp, http, send, and dns where pen balances connections.

use std::future::poll_fn;

use crate::core::alpn;
use crate::core::health::{CheckType, dns, http};
use crate::net::connect::failure::Failure;
use crate::net::connect::{HandshakeAck, attempt};
use crate::net::stream::Stream;

use super::addresses::first_of;
use super::outcome::Trouble;
use super::probe::{CheckStage, Probe, random_id};

/// The maximum number of bytes of an answer that are read.
const LOOKED_AT: usize = 128 * 1024;
/// The maximum number of bytes of an answer that a reason quotes.
const QUOTED: usize = 60;

/// Carries out the check.
pub(super) async fn ask(probe: &Probe<'_>) -> Result<String, Trouble> {
    let config = &probe.check.config;
    let mut stream = connect(probe).await?;
    if let Some(header) = probe.proxy_header() {
        write(&mut stream, &header).await?;
    }
    if let Some(peer) = &probe.check.tls {
        probe.stage.set(CheckStage::Handshake);
        let alpn = (config.kind == CheckType::Http).then_some(alpn::HTTP.as_bytes());
        stream = probe.upstream_tls.connect(peer, alpn, stream).await.map_err(Failure::from)?;
    }
    probe.stage.set(CheckStage::Answer);
    match config.kind {
        CheckType::Http => {
            write(&mut stream, &http::request(config, &probe.check.host)).await?;
            read(probe, &mut stream, |answer, ended| http::judge(config, answer, ended)).await
        }
        CheckType::Send => {
            if !config.send.is_empty() {
                write(&mut stream, &config.send).await?;
            }
            read(probe, &mut stream, |answer, ended| holds(answer, &config.expect, ended)).await
        }
        CheckType::Dns => {
            let id = random_id();
            let question = dns::question(config.name.as_deref(), id);
            let length = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes();
            write(&mut stream, &[&length[..], &question].concat()).await?;
            read(probe, &mut stream, |answer, ended| {
                let length = usize::from(u16::from_be_bytes([*answer.first()?, *answer.get(1)?]));
                match answer.get(2..2 + length) {
                    Some(message) => {
                        dns::judge(message, id).or(Some(Err("the answer is for another query".into())))
                    }
                    None => ended.then(|| Err("the answer was cut off".into())),
                }
            })
            .await
        }
        CheckType::Tcp | CheckType::Udp | CheckType::Exec => Ok("connected".into()),
    }
}

/// Whether an answer contains the expected text; any answer if that is empty.
pub(super) fn holds(answer: &[u8], expected: &[u8], ended: bool) -> Option<Result<String, String>> {
    let quote = |bytes: &[u8]| bytes.get(..QUOTED).unwrap_or(bytes).escape_ascii().to_string();
    if !answer.is_empty() && memchr::memmem::find(answer, expected).is_some() {
        return Some(Ok(match expected {
            [] => "it answers".into(),
            expected => format!("the answer holds '{}'", quote(expected)),
        }));
    }
    ended.then(|| match (answer, expected) {
        ([], _) => Err("the server closed the connection without an answer".into()),
        (answer, expected) => Err(format!("expected '{}', got '{}'", quote(expected), quote(answer))),
    })
}

/// Connects to the server; if it has several addresses, to the first that answers within its share of the time.
async fn connect(probe: &Probe<'_>) -> Result<Stream, Failure> {
    let ack = if probe.speaks_first() { HandshakeAck::WithData } else { HandshakeAck::Alone };
    first_of(probe, async |address, _| attempt(probe.snapshot, address, None, ack).await).await
}

async fn write(stream: &mut Stream, mut bytes: &[u8]) -> Result<(), Trouble> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, bytes)).await.map_err(Failure::of_exchange)?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Reads until `judge` has a verdict.
async fn read(
    probe: &Probe<'_>,
    stream: &mut Stream,
    judge: impl Fn(&[u8], bool) -> Option<Result<String, String>>,
) -> Result<String, Trouble> {
    let mut answer = Vec::new();
    loop {
        let (count, error) = match poll_fn(|cx| stream.poll_read(cx, &mut probe.buffer.borrow_mut())).await {
            Ok(count) => (count, None),
            Err(error) => (0, Some(error)),
        };
        answer.extend_from_slice(probe.buffer.borrow().get(..count).unwrap_or_default());
        let ended = count == 0 || answer.len() >= LOOKED_AT;
        // The data before a reset may suffice.
        match (judge(&answer, ended && error.is_none()), error) {
            (Some(verdict), _) => {
                // Both ends have finished. A reset spares both the rest of the closing, a third of the packets of a check.
                if stream.is_at_end() {
                    stream.set_reset_on_close();
                }
                return verdict.map_err(Trouble::Server);
            }
            (None, Some(error)) => return Err(Failure::of_exchange(error).into()),
            (None, None) if ended => return Err(Trouble::Server("the answer was cut off".into())),
            (None, None) => {}
        }
    }
}
