//! The datagrams between clients and servers in one pass: all available ones are read first, then all are written, with
//! as few system calls as possible.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::core::flow_table::FlowId;
use crate::sys::calls::{Call, Calls};
use crate::sys::datagram::{Batch, DATAGRAM_MAX, DatagramSocket, Destination, UpstreamSocket};

use super::flow::UdpFlow;

/// The maximum number of answers received in one pass.
const ANSWERS_MAX: usize = 64;

/// A datagram of a client, to be sent to the flow's server.
#[derive(Debug)]
struct Question {
    id: FlowId,
    flow: Arc<UdpFlow>,
    upstream: Arc<UpstreamSocket>,
    /// Its index in the batch.
    at: usize,
    /// That of itself behind a header; empty where it goes without.
    framed: Range<usize>,
}

/// A flow whose server may have answered.
#[derive(Debug)]
struct PendingAnswer {
    id: FlowId,
    flow: Arc<UdpFlow>,
    upstream: Arc<UpstreamSocket>,
    /// The length of the answer, if it is to be sent to the client.
    length: Option<usize>,
}

/// The result of an attempt to receive an answer.
pub(super) enum ReceiveOutcome<'a> {
    /// An answer.
    Answer(&'a [u8]),
    /// The socket had an error.
    Failed(io::Error),
}

/// The memory of a pass, which the next one reuses.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The datagrams from clients.
    pub(super) batch: Batch,
    /// Whether clients have sent more than one datagram in a pass.
    pub(super) several: bool,
    /// The tokens of sockets that are ready.
    pub(super) ready: Vec<u64>,
    /// Datagrams behind the headers that their servers get.
    pub(super) framed: Vec<u8>,
    calls: Calls,
    questions: Vec<Question>,
    answers: Vec<PendingAnswer>,
    /// Buffers for this many answers. Pages that are never written take no memory.
    rooms: Box<[u8]>,
    destinations: Vec<Destination>,
}

impl Exchange {
    /// Makes system calls `together` if the system supports it.
    pub(super) fn new(together: bool) -> Self {
        Exchange {
            batch: Batch::new(),
            several: false,
            ready: Vec::new(),
            framed: Vec::new(),
            calls: Calls::new(together),
            questions: Vec::new(),
            answers: Vec::new(),
            rooms: vec![0; ANSWERS_MAX * DATAGRAM_MAX].into_boxed_slice(),
            destinations: Vec::new(),
        }
    }

    /// Begins a pass, and discards data that the previous one may have left.
    pub(super) fn begin(&mut self) {
        self.batch.clear();
        self.ready.clear();
        self.questions.clear();
        self.framed.clear();
        self.answers.clear();
    }

    /// Whether a datagram of the flow is listed. The next one may have to go elsewhere, depending on its result.
    pub(super) fn has_question_of(&self, id: FlowId) -> bool {
        self.questions.iter().any(|question| question.id == id)
    }

    /// Lists the datagram at the place `at` of the batch, to be sent by `upstream`: instead of it what was added to
    /// [`Exchange::framed`] from `begin` on, if anything was.
    pub(super) fn ask(
        &mut self,
        id: FlowId,
        flow: Arc<UdpFlow>,
        upstream: Arc<UpstreamSocket>,
        (at, begin): (usize, usize),
    ) {
        self.questions.push(Question { id, flow, upstream, at, framed: begin..self.framed.len() });
    }

    /// Lists the ready flows, since their servers may have answered; `flow` returns the flow of a token.
    pub(super) fn expect_answers(&mut self, flow: impl Fn(u64) -> Option<(FlowId, Arc<UdpFlow>)>) {
        let flows = self.ready.iter().filter_map(|token| flow(*token));
        let answers = flows.filter_map(|(id, flow)| {
            let upstream = flow.upstream()?;
            Some(PendingAnswer { id, flow, upstream, length: None })
        });
        // The next pass reports those for which there is no room.
        self.answers.extend(answers.take(ANSWERS_MAX));
    }

    /// Sends the datagrams listed for servers, and receives the answers of the listed flows. Calls `over` for flows
    /// that have ended by that, and `came` for received data, with whether it is for the client.
    pub(super) fn ask_and_receive(
        &mut self,
        mut over: impl FnMut(FlowId),
        mut came: impl FnMut(FlowId, &UdpFlow, &Arc<UpstreamSocket>, ReceiveOutcome<'_>) -> bool,
    ) {
        let Self { batch, framed, calls, questions, answers, rooms, .. } = self;
        let bytes = |question: &Question| batch.get(question.at).map_or(&[][..], |(bytes, _)| bytes);
        let sent = |question: &Question| match &question.framed {
            none if none.is_empty() => bytes(question),
            place => framed.get(place.clone()).unwrap_or_default(),
        };
        let sends = questions.iter().map(|question| Call::Send(question.upstream.as_fd(), sent(question)));
        let receives = answers.iter().zip(rooms.chunks_exact_mut(DATAGRAM_MAX));
        let receives = receives.map(|(answer, room)| Call::Receive(answer.upstream.as_fd(), room));
        let (asked, received) = calls.make(sends.chain(receives)).split_at(questions.len());
        for (question, returned) in questions.iter().zip(asked) {
            let result = returned.count().map(drop);
            if !question.flow.sent(bytes(question), &question.upstream, result) {
                over(question.id);
            }
        }
        questions.clear();
        framed.clear();
        for ((answer, returned), room) in answers.iter_mut().zip(received).zip(rooms.chunks(DATAGRAM_MAX)) {
            let received = match answer.upstream.clear_if_failed(returned.count()) {
                Ok(length) => {
                    answer.length = Some(length);
                    ReceiveOutcome::Answer(room.get(..length).unwrap_or(room))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The other events that it is ready for.
                    answer.upstream.clear_errors();
                    continue;
                }
                Err(error) => ReceiveOutcome::Failed(error),
            };
            if !came(answer.id, &answer.flow, &answer.upstream, received) {
                answer.length = None;
            }
        }
    }

    /// Sends the received answers to their clients through `socket`.
    pub(super) fn pass_answers_on(&mut self, socket: &DatagramSocket) {
        let Self { calls, answers, rooms, destinations, .. } = self;
        destinations.clear();
        let passed = |answer: &&PendingAnswer| answer.length.is_some();
        destinations.extend(answers.iter().filter(passed).map(|answer| Destination::of(answer.flow.peer())));
        let bytes = || {
            let rooms = rooms.chunks(DATAGRAM_MAX);
            answers.iter().zip(rooms).filter_map(|(answer, room)| Some((answer, room.get(..answer.length?)?)))
        };
        let sends = bytes().zip(&*destinations);
        let sends = sends.map(|((_, bytes), destination)| Call::SendTo(socket.as_fd(), bytes, destination));
        let returned = calls.make(sends);
        for ((answer, bytes), returned) in bytes().zip(returned) {
            let result = match returned.count() {
                Err(error) if socket.may_send_otherwise(&error, answer.flow.peer()) => {
                    socket.send(bytes, answer.flow.peer())
                }
                result => result.map(drop),
            };
            answer.flow.passed_on(bytes.len(), result);
        }
        answers.clear();
    }
}
