//! Both ends of a streamed answer, joined: what a processor's calls cut, and what the client of a proxy gets of it. Whatever becomes of the
//! records between them, that is all bytes of one call in order, or a cut; and where nothing was lost, it is all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::IntGauge;
use proptest::prelude::*;

use super::stream_properties::{Client, WINDOW, begun, piece, topic};
use super::streams::{OpenStream, Taken};
use crate::processor::stream::pieces::{Cutter, Sizes};
use crate::proxy::routing::topics::KnownTopic;
use crate::proxy::stream::outcome::Outcome;
use crate::proxy::stream::pipe::Outlet;
use crate::wire::stream::{Piece, StreamError, StreamId, Then};

const SIZES: Sizes = Sizes { first: 7, further: 16 };
/// Turns in which what is left comes to its end.
const TURNS: usize = 1_000;

/// What happens next. A call is the first (false) or the second execution of the same request.
#[derive(Debug, Clone)]
enum Step {
    /// The backend writes so many bytes.
    Writes(bool, usize),
    /// Its answer ends, or breaks off.
    Ends(bool, Then),
    /// Kafka acknowledges the pieces of a call.
    Acknowledged(bool),
    /// The proxy reads the next piece.
    Piece,
    /// The next piece is lost.
    PieceLost,
    /// The proxy reads a piece that it had before.
    PieceAgain(usize),
    /// The processor reads the next record of the control topic.
    Control,
    /// That record is lost.
    ControlLost,
    /// The processor reads one that it had before.
    ControlAgain(usize),
    /// The client takes what there is, so many times.
    Reads(usize),
    /// The client leaves.
    Leaves,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // The first call is the busier one.
    let call = || prop::bool::weighted(0.3);
    let then = prop_oneof![
        2 => Just(Then::End),
        1 => Just(Then::Cut(StreamError::BackendReset)),
    ];
    let step = prop_oneof![
        60 => (call(), 0..60_usize).prop_map(|(call, size)| Step::Writes(call, size)),
        6 => (call(), then).prop_map(|(call, then)| Step::Ends(call, then)),
        40 => call().prop_map(Step::Acknowledged),
        80 => Just(Step::Piece),
        1 => Just(Step::PieceLost),
        10 => (0..30_usize).prop_map(Step::PieceAgain),
        30 => Just(Step::Control),
        10 => Just(Step::ControlLost),
        10 => (0..30_usize).prop_map(Step::ControlAgain),
        60 => (1..6_usize).prop_map(Step::Reads),
        1 => Just(Step::Leaves),
    ];
    prop::collection::vec(step, 0..150)
}

/// One execution of the request.
struct Call {
    id: StreamId,
    cutter: Cutter,
    /// The backend has answered.
    has_begun: bool,
    body: Vec<u8>,
    ended: Option<Then>,
    /// Pieces that it sent.
    sent: u64,
    is_cancelled: bool,
}

impl Call {
    fn new() -> Self {
        Call {
            id: StreamId::new(),
            cutter: Cutter::new(SIZES, WINDOW),
            has_begun: false,
            body: Vec::new(),
            ended: None,
            sent: 0,
            is_cancelled: false,
        }
    }

    /// The backend writes; `mask` tells the bytes of one call from those of the other.
    fn write(&mut self, size: usize, mask: u8) {
        self.has_begun = true;
        if self.ended.is_none() {
            let from = self.body.len();
            self.body.extend((from..from + size).map(|number| number as u8 ^ mask));
            self.cutter.push(Bytes::copy_from_slice(&self.body[from..]));
        }
    }

    fn end(&mut self, then: Then) {
        self.has_begun = true;
        self.cutter.end(then);
        self.ended.get_or_insert(then);
    }

    /// Sends what may be sent.
    fn send(&mut self, log: &mut Vec<Option<Piece>>) {
        let goes_on = self.has_begun && !self.is_cancelled;
        while let Some(cut) = goes_on.then(|| self.cutter.next_piece()).flatten() {
            log.push(Some(piece(self.id, cut.seq, &cut.body, cut.then)));
            self.sent += 1;
        }
    }
}

/// A record of the control topic.
#[derive(Debug, Clone, Copy)]
enum Told {
    Credit(StreamId, u64),
    Cancel(StreamId),
}

/// Records that are read in their order. One that is lost is never read.
struct Log<T> {
    records: Vec<Option<T>>,
    read: usize,
}

impl<T: Clone> Log<T> {
    fn new() -> Self {
        Log {
            records: Vec::new(),
            read: 0,
        }
    }

    fn next(&mut self) -> Option<T> {
        let next = self.records.get(self.read)?;
        self.read += 1;
        next.clone()
    }

    fn is_read(&self) -> bool {
        self.read == self.records.len()
    }

    fn lose(&mut self) -> Option<T> {
        let lost = self.records.get_mut(self.read)?.take();
        self.read += 1;
        lost
    }

    fn again(&self, index: usize) -> Option<T> {
        self.records[..self.read].get(index)?.clone()
    }
}

/// Both ends, and what is between them.
struct World<'t> {
    topic: &'t Arc<KnownTopic>,
    calls: [Call; 2],
    pieces: Log<Piece>,
    /// The calls whose pieces were lost.
    lost: Vec<StreamId>,
    control: Log<Told>,
    now: Instant,
    gauge: IntGauge,
    /// Once a first piece came. The client's end is gone where it left.
    stream: Option<(OpenStream, Option<Outlet>)>,
    fault: Option<Outcome>,
    client: Client,
    credit: u64,
}

impl World<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Writes(call, size) => self.calls[usize::from(call)].write(size, if call { 0xff } else { 0 }),
            Step::Ends(call, then) => self.calls[usize::from(call)].end(then),
            Step::Acknowledged(call) => self.acknowledge(usize::from(call)),
            Step::Piece => self.pieces.next().into_iter().for_each(|piece| self.take(piece)),
            Step::PieceLost => self.lost.extend(self.pieces.lose().map(|piece| piece.stream)),
            Step::PieceAgain(index) => self.pieces.again(index).into_iter().for_each(|piece| self.take(piece)),
            Step::Control => self.control.next().into_iter().for_each(|told| self.hear(told)),
            Step::ControlLost => {
                self.control.lose();
            }
            Step::ControlAgain(index) => self.control.again(index).into_iter().for_each(|told| self.hear(told)),
            Step::Reads(times) => {
                for _ in 0..times {
                    self.read();
                }
            }
            Step::Leaves => self.leave(),
        }
        for call in &mut self.calls {
            call.send(&mut self.pieces.records);
        }
        assert!(self.gauge.get() as u64 <= WINDOW, "no more is held than the window");
    }

    fn acknowledge(&mut self, call: usize) {
        let call = &mut self.calls[call];
        call.cutter.acked(call.sent);
    }

    /// The proxy reads a piece.
    fn take(&mut self, piece: Piece) {
        let (id, is_first) = (piece.stream, piece.seq == 0);
        let taken = match &mut self.stream {
            Some((stream, _)) => stream.take(piece, self.now),
            None if is_first => {
                let (stream, outlet) = begun(self.topic, WINDOW, &piece, &self.gauge, self.now);
                self.stream = Some((stream, Some(outlet)));
                return;
            }
            // Nobody's: its first one was lost.
            None => return,
        };
        match taken {
            Taken::Goes => return,
            Taken::Other => {}
            Taken::Fault(outcome) => self.fault = self.fault.or(Some(outcome)),
        }
        self.control.records.push(Some(Told::Cancel(id)));
    }

    /// The processor reads a record of the control topic.
    fn hear(&mut self, told: Told) {
        let (Told::Credit(id, _) | Told::Cancel(id)) = told;
        for call in self.calls.iter_mut().filter(|call| call.id == id) {
            match told {
                Told::Credit(_, total) => {
                    call.cutter.credit(total);
                }
                Told::Cancel(_) => call.is_cancelled = true,
            }
        }
    }

    /// The client reads; false: there is nothing.
    fn read(&mut self) -> bool {
        let Some((stream, Some(outlet))) = &mut self.stream else {
            return false;
        };
        let before = self.credit;
        let has_read = self.client.read(stream, outlet, &mut self.credit);
        if self.credit > before {
            self.control
                .records
                .push(Some(Told::Credit(stream.stream, self.credit)));
        }
        has_read
    }

    fn leave(&mut self) {
        if let Some((stream, outlet)) = &mut self.stream {
            drop(outlet.take());
            self.control.records.push(Some(Told::Cancel(stream.stream)));
        }
    }

    /// Everything comes that was not lost yet, and time passes.
    fn come_to_its_end(&mut self) {
        self.calls.iter_mut().for_each(|call| call.end(Then::End));
        for _ in 0..TURNS {
            for call in 0..2 {
                self.acknowledge(call);
            }
            while !self.pieces.is_read() {
                self.step(Step::Piece);
            }
            while !self.control.is_read() {
                self.step(Step::Control);
            }
            self.step(Step::Reads(1));
            self.now += Duration::from_secs(5);
            let again = self.stream.as_mut().and_then(|(stream, _)| {
                let total = stream.lost_credit(self.now)?;
                Some(Told::Credit(stream.stream, total))
            });
            again.into_iter().for_each(|told| self.hear(told));
        }
        while self.read() {}
    }
}

fn run(topic: &Arc<KnownTopic>, steps: Vec<Step>) {
    let mut world = World {
        topic,
        calls: [Call::new(), Call::new()],
        pieces: Log::new(),
        lost: Vec::new(),
        control: Log::new(),
        now: Instant::now(),
        gauge: IntGauge::new("g", "g").unwrap(),
        stream: None,
        fault: None,
        client: Client::default(),
        credit: WINDOW,
    };
    steps.into_iter().for_each(|step| world.step(step));
    world.come_to_its_end();
    let World {
        calls,
        lost,
        stream,
        fault,
        client,
        ..
    } = world;
    let Some((stream, outlet)) = stream else {
        // Its client got nothing, and is answered 504 in time.
        assert!(calls.iter().all(|call| lost.contains(&call.id)));
        return;
    };
    let followed = calls.iter().find(|call| call.id == stream.stream).unwrap();
    assert!(
        followed.body.starts_with(&client.got),
        "in order, and nothing of the other call"
    );
    let (has_left, is_lost) = (outlet.is_none(), lost.contains(&followed.id));
    match client.end {
        Some(Outcome::Complete) => {
            assert_eq!(
                (&client.got, followed.ended, is_lost),
                (&followed.body, Some(Then::End), false)
            );
        }
        Some(Outcome::Cut(error)) => assert_eq!(followed.ended, Some(Then::Cut(error))),
        Some(outcome) => assert!(is_lost && fault == Some(outcome), "{outcome:?}"),
        // Its last piece was lost: the idle timeout cuts it off.
        None => assert!(has_left || is_lost, "nothing was lost, and it stands still"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_the_records_a_client_gets_all_bytes_in_order_or_a_cut(steps in steps()) {
        thread_local!(static TOPIC: Arc<KnownTopic> = topic());
        TOPIC.with(|topic| run(topic, steps));
    }
}
