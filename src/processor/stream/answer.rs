//! One answer that is streamed, from its first piece to its last.
//!
//! It waits for four things at once: bytes of the backend, acknowledgements, credit, and an end from outside. The backend is read only as
//! far as there is room for a piece, so whoever reads slowly slows it down. Dropped before its end, as with its worker, it says so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use prometheus::IntGauge;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use crate::exchange::{ByKey, Phase, UnderWay};
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::group_pump::intake::{Lease, LeaseHold};
use crate::processor::backend::standstill::STANDSTILL;
use crate::processor::metrics::Counted;
use crate::processor::record::attempts::HeldByCall;
use crate::processor::record::caller::Caller;
use crate::processor::record::outbox::Outbox;
use crate::processor::record::reply_seal::ReplySeal;
use crate::processor::record::reply_topics::Destination;
use crate::processor::record::settlement::Settlement;
use crate::processor::stream::calls::{Ending, OpenCall, Streamed};
use crate::processor::stream::pieces::Cutter;
use crate::processor::stream::sender::Sender;
use crate::processor::stream::shared::Streams;
use crate::processor::stream::source::{Broken, Source};
use crate::wire::Fields;
use crate::wire::stream::{StreamError, StreamHead, Then};

/// What is to be streamed.
pub struct Begun<'a> {
    pub status: u16,
    pub headers: Fields,
    /// What came of the body so far.
    pub body: Bytes,
    /// `None`: that is all.
    pub rest: Option<Source>,
    /// The place among the streams of the process, where `rest` has none.
    pub place: Option<OwnedSemaphorePermit>,
    /// Held until its end.
    pub held: Option<HeldByCall<'a>>,
    /// Set under `ordering`: the partition's next owner must not overtake it.
    pub lease: Option<(Lease, LeaseHold)>,
}

/// Where it goes.
pub struct To {
    pub streamed: Streamed,
    /// When nobody waits for the first piece any more.
    pub until: Option<std::time::Instant>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All of it was acknowledged.
    Complete,
    Cut(StreamError),
    /// Whoever asked has left.
    Cancelled,
    RequesterGone,
    /// Kafka did not take a piece.
    Undelivered,
}

impl Outcome {
    /// As metrics and logs call it.
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Cut(error) => error.as_str(),
            Outcome::Cancelled => StreamError::ClientLeft.as_str(),
            Outcome::RequesterGone => "requester-gone",
            Outcome::Undelivered => "undelivered",
        }
    }
}

/// A stream under way, and what it holds until its end.
pub struct Answer<'a> {
    /// Of its head.
    pub status: u16,
    sender: Sender<'a>,
    cutter: Cutter,
    rest: Option<Source>,
    call: OpenCall,
    caller: &'a Caller,
    kafka: &'a KafkaHealth,
    streams: &'a Streams,
    /// Set under `ordering`: the partition's next owner must not overtake it.
    lease: Option<(Lease, LeaseHold)>,
    /// Its end was decided: only acknowledgements are waited for.
    is_cut: bool,
    /// What is told of its record when it ends.
    pub seen: Option<UnderWay>,
    /// Whoever gives it its bytes.
    feeder: Option<LocalBoxFuture<'a, ()>>,
    /// Its end says that it is remembered.
    is_kept: bool,
    _held: Option<HeldByCall<'a>>,
    _place: Option<OwnedSemaphorePermit>,
    _open: Counted,
}

/// What ends the wait for a next step.
enum Step {
    Ended(Ending),
    Steered,
    Acked,
    Came(Option<Result<Bytes, Broken>>),
    Draining,
    Time,
}

/// What an answer is streamed with: the worker's, and the process's.
pub struct Means<'a> {
    pub outbox: &'a Arc<Outbox>,
    pub seal: &'a ReplySeal,
    pub caller: &'a Caller,
    pub kafka: &'a KafkaHealth,
    pub streams: &'a Streams,
    pub open: &'a IntGauge,
}

impl<'a> Answer<'a> {
    /// Sends the first piece, with whose acknowledgement the record is done. `None`: its topic takes no piece with this head, or it cannot
    /// be sealed.
    pub fn begin(
        means: Means<'a>,
        begun: Begun<'a>,
        (call, to): (OpenCall, To),
        settlement: &Arc<Settlement>,
    ) -> Option<Self> {
        let mut sender = Sender::new(means.outbox, means.seal, call.correlation_id.clone(), to.streamed);
        let head = StreamHead {
            status: begun.status,
            headers: begun.headers,
            instance: Some(means.streams.instance),
        };
        let sizes = sender.sizes(&head)?;
        let mut cutter = Cutter::new(sizes, call.credit());
        cutter.push(begun.body);
        if begun.rest.as_ref().is_none_or(Source::is_over) {
            cutter.end(Then::End);
        }
        let first = cutter.next_piece()?;
        call.streams(sender.streamed.clone());
        sender.begin(first, head, to.until, settlement)?;
        means.caller.metrics.finished(&begun.status.to_string());
        Some(Answer {
            status: begun.status,
            sender,
            cutter,
            rest: begun.rest,
            call,
            caller: means.caller,
            kafka: means.kafka,
            streams: means.streams,
            is_cut: false,
            seen: None,
            lease: begun.lease,
            feeder: None,
            is_kept: false,
            _held: begun.held,
            _place: begun.place,
            _open: Counted::new(means.open),
        })
    }

    /// The same, with who gives it its bytes, and goes on where it ends early. `is_kept`: its end comes once it is remembered.
    pub fn fed_by(self, feeder: impl Future<Output = ()> + 'a, is_kept: bool) -> Self {
        Answer {
            feeder: Some(Box::pin(feeder)),
            is_kept,
            ..self
        }
    }

    /// Where its pieces go.
    pub fn destination(&self) -> &Destination {
        &self.sender.streamed.destination
    }

    /// Streams to the end.
    pub async fn run(mut self) {
        match self.feeder.take() {
            Some(feeder) => drop(futures_util::future::join(self.stream(), feeder).await),
            None => self.stream().await,
        }
    }

    async fn stream(mut self) {
        let outcome = self.outcome().await;
        if matches!(outcome, Outcome::Cancelled | Outcome::RequesterGone) {
            self.sender.last_word = StreamError::ClientLeft;
        } else if outcome == Outcome::Undelivered {
            // The end may be among what Kafka did not take.
            self.sender.is_over = false;
        }
        let topic = &self.caller.topic;
        self.caller.metrics.stream_ended(outcome.as_str());
        if let Some(seen) = &mut self.seen {
            seen.ends(Phase::Reply);
            let first = self.sender.acks.first_offset();
            seen.reply.iter_mut().for_each(|reply| reply.offset = first);
            seen.ending.code = (outcome != Outcome::Complete).then(|| outcome.as_str());
            if self.is_kept {
                // What becomes of one that ends early is not known yet.
                seen.by_key = (outcome == Outcome::Complete).then_some(ByKey::Remembered);
            }
        }
        if outcome != Outcome::Complete {
            tracing::debug!(topic = %topic.request_topic, backend = %topic.backend_url, correlation_id = self.sender.id_text(), outcome = outcome.as_str(), "a streamed answer was cut off");
        }
    }

    async fn outcome(&mut self) -> Outcome {
        let streams = self.streams;
        let mut draining = std::pin::pin!(streams.ending.cancelled());
        let whole = deadline(Instant::now(), self.caller.topic.streams.max_duration);
        let mut progress = Instant::now();
        // Since when nothing may be sent. What the backend writes meanwhile is no progress.
        let mut starved: Option<Instant> = None;
        let mut timer = std::pin::pin!(sleep_until(Instant::now()));
        loop {
            if self.sender.acks.has_failed() {
                return Outcome::Undelivered;
            }
            if self.cutter.acked(self.sender.acks.count()) | self.cutter.credit(self.call.credit()) {
                progress = Instant::now();
            }
            while let Some(cut) = self.cutter.next_piece() {
                if !self.sender.send(cut) {
                    return Outcome::Undelivered;
                }
                progress = Instant::now();
            }
            if self.cutter.is_finished() {
                self.rest = None;
                if self.cutter.is_acked() {
                    return match self.cutter.ended() {
                        Some(Then::Cut(error)) => Outcome::Cut(error),
                        _ => Outcome::Complete,
                    };
                }
            }
            match self.cutter.waits_for_credit() {
                true => drop(starved.get_or_insert_with(Instant::now)),
                false => starved = None,
            }
            let silence = deadline(starved.unwrap_or(progress), self.caller.topic.streams.idle_timeout);
            let next = silence.into_iter().chain(whole).min();
            if let Some(next) = next.filter(|next| *next != timer.deadline()) {
                timer.as_mut().reset(next);
            }
            let is_open = !self.is_cut && !self.cutter.is_finished();
            let wants_more = self.cutter.wants_more();
            let lease = self.lease.as_ref();
            let cut_off = async {
                match lease {
                    Some((lease, _)) => lease.cut_off().await,
                    None => std::future::pending().await,
                }
            };
            let rest = &mut self.rest;
            let came = async {
                match rest {
                    Some(rest) if wants_more => rest.next().await,
                    _ => std::future::pending().await,
                }
            };
            let step = tokio::select! {
                biased;
                () = self.call.changed() => self.call.ending().map_or(Step::Steered, Step::Ended),
                () = self.sender.acks.changed() => Step::Acked,
                () = &mut draining, if is_open => Step::Draining,
                () = cut_off, if is_open => Step::Draining,
                came = came => Step::Came(came),
                () = &mut timer, if next.is_some() && is_open => Step::Time,
            };
            match step {
                Step::Ended(Ending::Cancelled) => return Outcome::Cancelled,
                Step::Ended(Ending::RequesterGone) => return Outcome::RequesterGone,
                Step::Steered | Step::Acked => {}
                Step::Draining => self.cut_off(StreamError::Draining),
                Step::Came(Some(Ok(bytes))) => {
                    progress = Instant::now();
                    self.seen
                        .iter_mut()
                        .for_each(|seen| seen.response_bytes += bytes.len() as u64);
                    self.cutter.push(bytes);
                    if self.rest.as_ref().is_some_and(Source::is_over) {
                        self.cutter.end(Then::End);
                    }
                }
                // What came is sent; then it is said that more was to come.
                Step::Came(Some(Err(broken))) => {
                    self.rest = None;
                    self.cutter.end(Then::Cut(self.why(broken)));
                }
                Step::Came(None) => self.cutter.end(Then::End),
                Step::Time => {
                    let now = Instant::now();
                    if whole.is_some_and(|whole| now >= whole) {
                        self.cut_off(StreamError::StreamIdle);
                    } else if next.is_some_and(|next| now - next > STANDSTILL) || !self.kafka.is_up() {
                        // The silence was this process's own, or Kafka's.
                        progress = now;
                        starved = None;
                    } else if starved.is_some() {
                        self.cut_off(StreamError::NoCredit);
                    } else if wants_more {
                        self.cut_off(StreamError::StreamIdle);
                    } else {
                        // It is Kafka's turn, whose own limits end it.
                        progress = now;
                    }
                }
            }
        }
    }

    fn cut_off(&mut self, error: StreamError) {
        self.is_cut = true;
        self.rest = None;
        self.cutter.cut_off(error);
    }

    fn why(&self, broken: Broken) -> StreamError {
        match broken {
            Broken::Backend(error) => {
                self.caller.broke_off(&self.call.correlation_id, &error);
                StreamError::BackendReset
            }
            Broken::Told(error) => error,
        }
    }
}

/// `None`: as long as it likes.
fn deadline(since: Instant, limit: Duration) -> Option<Instant> {
    (!limit.is_zero()).then(|| since.checked_add(limit)).flatten()
}
