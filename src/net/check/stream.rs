//! Checks over a connection: tcp, http, send, and dns where pen balances connections.

use std::future::poll_fn;

use crate::core::alpn;
use crate::core::health::{AnswerFault, CheckType, dns, http};
use crate::core::snapshot::ServerAddress;
use crate::net::connect::failure::Failure;
use crate::net::connect::{HandshakeAck, attempt};
use crate::net::stream::Stream;

use super::addresses::{CheckVerdict, first_of, of_server};
use super::outcome::Trouble;
use super::probe::{CheckStage, Probe, random_id};

/// The maximum number of bytes of an answer that are read.
const LOOKED_AT: usize = 128 * 1024;
/// The maximum number of bytes of an answer that a reason quotes.
const QUOTED: usize = 60;

/// Carries out the check: of several addresses, the server works if it does at one.
pub(super) async fn ask(probe: &Probe<'_>) -> Result<String, Trouble> {
    first_of(probe, async |address, _| ask_at(probe, address).await).await
}

/// What the server says at this address.
///
/// # Errors
/// It cannot be connected to, or gives no answer.
async fn ask_at(probe: &Probe<'_>, address: &ServerAddress) -> Result<CheckVerdict, Failure> {
    let config = &probe.check.config;
    probe.stage.set(CheckStage::Connect);
    let ack = if probe.speaks_first() { HandshakeAck::WithData } else { HandshakeAck::Alone };
    let mut stream = attempt(probe.snapshot, address, None, ack).await?;
    if let Some(header) = probe.proxy_header() {
        write(&mut stream, &header).await?;
    }
    if let Some(peer) = &probe.check.tls {
        probe.stage.set(CheckStage::Handshake);
        let alpn = (config.kind == CheckType::Http).then_some(alpn::HTTP.as_bytes());
        stream = probe.upstream_tls.connect(peer, alpn, stream).await?;
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
            read(probe, &mut stream, |answer, ended| match (answer, ended) {
                ([], true) => Some(Err(AnswerFault::ended(answer))),
                _ => Some(holds(answer, &config.expect, ended)?.map_err(AnswerFault::Wrong)),
            })
            .await
        }
        CheckType::Dns => {
            let id = random_id();
            let question = dns::question(config.name.as_deref(), id);
            let length = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes();
            write(&mut stream, &[&length[..], &question].concat()).await?;
            read(probe, &mut stream, |answer, ended| {
                let length = answer.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
                let Some(message) = length.and_then(|length| answer.get(2..2 + length)) else {
                    return ended.then(|| Err(AnswerFault::ended(answer)));
                };
                let verdict = dns::judge(message, id);
                let verdict = verdict.unwrap_or_else(|| Err("the answer is for another query".into()));
                Some(verdict.map_err(AnswerFault::Wrong))
            })
            .await
        }
        CheckType::Tcp | CheckType::Udp | CheckType::Exec => Ok(Ok("connected".into())),
    }
}

/// Whether an answer contains the expected text; any answer if that is empty.
pub(super) fn holds(answer: &[u8], expected: &[u8], ended: bool) -> Option<CheckVerdict> {
    let quote = |bytes: &[u8]| bytes.get(..QUOTED).unwrap_or(bytes).escape_ascii().to_string();
    if !answer.is_empty() && memchr::memmem::find(answer, expected).is_some() {
        return Some(Ok(match expected {
            [] => "it answers".into(),
            expected => format!("the answer holds '{}'", quote(expected)),
        }));
    }
    ended.then(|| Err(format!("expected '{}', got '{}'", quote(expected), quote(answer))))
}

async fn write(stream: &mut Stream, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, bytes)).await.map_err(Failure::of_exchange)?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Reads until `judge` has a verdict.
///
/// # Errors
/// The connection has ended before that.
async fn read(
    probe: &Probe<'_>,
    stream: &mut Stream,
    judge: impl Fn(&[u8], bool) -> Option<Result<String, AnswerFault>>,
) -> Result<CheckVerdict, Failure> {
    let mut answer = Vec::new();
    loop {
        let (count, error) = match poll_fn(|cx| stream.poll_read(cx, &mut probe.buffer.borrow_mut())).await {
            Ok(count) => (count, None),
            Err(error) => (0, Some(error)),
        };
        answer.extend_from_slice(probe.buffer.borrow().get(..count).unwrap_or_default());
        let ended = count == 0;
        // The data before a reset may suffice.
        let verdict = judge(&answer, ended && error.is_none());
        if verdict.is_some() && stream.is_at_end() {
            // Both ends have finished. A reset spares both the rest of the closing, a third of the packets of a check.
            stream.set_reset_on_close();
        }
        match (verdict, error) {
            (Some(Ok(reason)), _) => return Ok(Ok(reason)),
            (Some(Err(AnswerFault::Wrong(reason))), _) => return Ok(Err(reason)),
            (Some(Err(AnswerFault::CutOff(reason))), _) => return Err(of_server(reason)),
            (None, Some(error)) => return Err(Failure::of_exchange(error)),
            (None, None) if ended => return Err(of_server("the answer was cut off")),
            (None, None) if answer.len() >= LOOKED_AT => {
                return Ok(Err(format!("the first {LOOKED_AT} bytes of the answer do not suffice")));
            }
            (None, None) => {}
        }
    }
}
