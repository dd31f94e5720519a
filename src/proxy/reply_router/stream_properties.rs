//! Whatever becomes of the pieces of an answer, its client gets all bytes in order, or a cut.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::{IntGauge, Registry};
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::pending::{Awaited, Waiting};
use super::streams::{OpenStream, Taken};
use crate::proxy::admission::bytes::ByteBudget;
use crate::proxy::metrics::ProxyMetrics;
use crate::proxy::routing::topics::{KnownTopic, KnownTopics};
use crate::proxy::stream::outcome::Outcome;
use crate::proxy::stream::pipe::{Event, Outlet, pipe};
use crate::proxy::stream::places::Offer;
use crate::settings::{self, Mode};
use crate::wire::CorrelationId;
use crate::wire::beside::InstanceId;
use crate::wire::stream::{Piece, StreamError, StreamHead, StreamId, Then};

pub(super) const WINDOW: u64 = 64;

pub(super) fn topic() -> Arc<KnownTopic> {
    let settings = settings::load(Mode::Proxy, &[], &Default::default()).unwrap().settings;
    let metrics = ProxyMetrics::register(&Registry::new()).unwrap();
    let topics = KnownTopics::new(&settings.proxy, &settings.create_topics, None, metrics);
    topics.configured(&settings.proxy.request_topic).unwrap()
}

fn waiting(topic: &Arc<KnownTopic>) -> Waiting {
    Waiting {
        id: CorrelationId::new(7),
        request_topic: topic.clone(),
        reply_topic: topic.clone(),
        awaited: Awaited::OnTopic,
        sent: Instant::now(),
        deadline: Instant::now(),
        queue: topic.load.queue(Duration::from_secs(30)),
        offer: None,
        reply_tx: oneshot::channel().0,
    }
}

pub(super) fn piece(stream: StreamId, seq: u64, body: &[u8], then: Then) -> Piece {
    let head = StreamHead {
        status: 200,
        headers: Vec::new(),
        instance: Some(InstanceId::new()),
    };
    Piece {
        correlation_id: Bytes::from_static(b"id"),
        stream,
        seq,
        head: (seq == 0).then_some(head),
        body: Bytes::copy_from_slice(body),
        then,
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// The call that is followed writes its next piece, of this many bytes.
    Next(usize),
    /// It writes a piece that is never read.
    Lost(usize),
    /// One of its pieces is read again.
    Again(usize),
    /// Another call of the same request writes a piece.
    Other(u64, usize),
    /// The client takes what there is, this many times.
    Read(usize),
    /// The last piece.
    End,
    /// The last piece says that the body is cut off.
    Cut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..40_usize).prop_map(Step::Next),
        1 => (0..40_usize).prop_map(Step::Lost),
        2 => (0..9_usize).prop_map(Step::Again),
        2 => (0..4_u64, 0..40_usize).prop_map(|(seq, size)| Step::Other(seq, size)),
        8 => (1..6_usize).prop_map(Step::Read),
        1 => Just(Step::End),
        1 => Just(Step::Cut),
    ];
    proptest::collection::vec(step, 0..60)
}

/// What a client has, and what it was told.
#[derive(Default)]
pub(super) struct Client {
    pub(super) got: Vec<u8>,
    pub(super) end: Option<Outcome>,
}

impl Client {
    /// Returns false where there is nothing.
    pub(super) fn read(&mut self, stream: &mut OpenStream, outlet: &mut Outlet, credit: &mut u64) -> bool {
        let event = match outlet.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) if self.end.is_none() => event,
            _ => return false,
        };
        match event {
            Event::Bytes(bytes) => {
                assert!(!bytes.is_empty());
                self.got.extend_from_slice(&bytes);
                outlet.took(bytes.len());
            }
            Event::End(outcome) => self.end = Some(outcome),
        }
        // As the body does, and more often.
        outlet.makes_room();
        if let Some(total) = stream.progress(Instant::now()) {
            assert_eq!(total, self.got.len() as u64 + WINDOW);
            assert!(total > *credit);
            *credit = total;
        }
        true
    }
}

fn run(topic: &Arc<KnownTopic>, steps: Vec<Step>) {
    let gauge = IntGauge::new("g", "g").unwrap();
    let first = piece(StreamId::new(), 0, b"", Then::More);
    let (followed, other, now) = (first.stream, StreamId::new(), Instant::now());
    let (mut stream, mut outlet) = begun(topic, WINDOW, &first, &gauge, now);
    let (mut client, mut credit) = (Client::default(), WINDOW);
    // What the backend has written, and the pieces of it.
    let (mut body, mut pieces, mut is_whole) = (Vec::new(), vec![Some(first)], true);
    let (mut fault, mut ended) = (None, None);
    for step in steps {
        let mut next = |size: usize, then| {
            let from = body.len();
            body.extend((from..from + size).map(|number| number as u8));
            let next = piece(followed, pieces.len() as u64, &body[from..], then);
            pieces.push(Some(next.clone()));
            next
        };
        let taken = match step {
            Step::Next(size) if ended.is_none() => stream.take(next(size, Then::More), now),
            Step::Lost(size) if ended.is_none() => {
                next(size, Then::More);
                // Never read, not even once more.
                pieces.last_mut().map(Option::take);
                is_whole = false;
                continue;
            }
            Step::End if ended.is_none() => {
                ended = Some(Outcome::Complete);
                stream.take(next(3, Then::End), now)
            }
            Step::Cut if ended.is_none() => {
                ended = Some(Outcome::Cut(StreamError::BackendReset));
                stream.take(next(3, Then::Cut(StreamError::BackendReset)), now)
            }
            Step::Again(index) => match pieces.get(index).cloned().flatten() {
                Some(again) => stream.take(again, now),
                None => continue,
            },
            Step::Other(seq, size) => stream.take(piece(other, seq, &vec![0xff; size], Then::More), now),
            Step::Read(times) => {
                for _ in 0..times {
                    client.read(&mut stream, &mut outlet, &mut credit);
                }
                continue;
            }
            Step::Next(_) | Step::Lost(_) | Step::End | Step::Cut => continue,
        };
        match taken {
            Taken::Goes | Taken::Other => {}
            Taken::Fault(outcome) => fault = fault.or(Some(outcome)),
        }
        assert!(gauge.get() as u64 <= WINDOW, "no more is held than the window");
    }
    while client.read(&mut stream, &mut outlet, &mut credit) {}
    assert!(body.starts_with(&client.got), "in order, and nothing of another call");
    match client.end {
        Some(Outcome::Complete) => {
            assert_eq!((&client.got, is_whole, ended), (&body, true, Some(Outcome::Complete)));
        }
        Some(outcome) => assert!(fault == Some(outcome) || ended == Some(outcome), "{outcome:?}"),
        // It is still open: no gap was noticed, and no end was read.
        None => assert!(fault.is_none() && (ended.is_none() || !is_whole)),
    }
    assert_eq!(gauge.get(), 0);
    assert_eq!(stream.is_over(), client.end.is_some());
}

/// A stream that has taken its first piece, and its client's end.
pub(super) fn begun(
    topic: &Arc<KnownTopic>,
    window: u64,
    first: &Piece,
    gauge: &IntGauge,
    now: Instant,
) -> (OpenStream, Outlet) {
    let (inlet, outlet) = pipe(gauge, &ByteBudget::new(0, IntGauge::new("b", "b").unwrap()));
    let terms = Offer::unlimited().terms.clone();
    let mut stream = OpenStream::begin(&waiting(topic), terms, first, window, inlet, now);
    assert_eq!(stream.take(first.clone(), now), Taken::Goes);
    (stream, outlet)
}

/// Two of them here: of what was received, whoever answers used only the window, and both halves of it were credited.
#[test]
fn credit_is_given_again_however_often_it_was_lost() {
    const LARGE: u64 = 1 << 20;
    let (first, start) = (piece(StreamId::new(), 0, b"", Then::More), Instant::now());
    let gauge = IntGauge::new("g", "g").unwrap();
    let (mut stream, mut outlet) = begun(&topic(), LARGE, &first, &gauge, start);
    let followed = first.stream;
    let at = |seconds| start + Duration::from_secs(seconds);
    let half = vec![0; LARGE as usize / 2];
    assert_eq!(stream.lost_credit(at(60)), None, "none was given");
    let mut given = None;
    for seq in [1, 2] {
        assert_eq!(stream.take(piece(followed, seq, &half, Then::More), start), Taken::Goes);
        let taken = outlet.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(taken, Poll::Ready(Event::Bytes(_))));
        outlet.took(half.len());
        given = stream.progress(start);
    }
    assert_eq!(given, Some(2 * LARGE));
    assert_eq!(stream.lost_credit(at(4)), None);
    assert_eq!(stream.lost_credit(at(5)), given);
    // It may be lost again. A client that still reads what came before is no sign that it was heard.
    assert_eq!(stream.progress(at(9)), None);
    assert_eq!((stream.lost_credit(at(9)), stream.lost_credit(at(10))), (None, given));
    assert_eq!(stream.take(piece(followed, 3, &half, Then::More), at(14)), Taken::Goes);
    assert_eq!((stream.lost_credit(at(18)), stream.lost_credit(at(19))), (None, given));
    stream.end(Outcome::Idle);
    assert_eq!(stream.lost_credit(at(60)), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_client_gets_all_bytes_in_order_or_a_cut(steps in steps()) {
        thread_local!(static TOPIC: Arc<KnownTopic> = topic());
        TOPIC.with(|topic| run(topic, steps));
    }
}
