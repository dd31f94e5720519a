//! The answers that come in pieces: which piece is the next one, and what may still come. Part of the router's state, and of no other's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pending::{Awaited, Waiting};
use crate::proxy::routing::topics::KnownTopic;
use crate::proxy::stream::outcome::Outcome;
use crate::proxy::stream::pipe::Inlet;
use crate::proxy::stream::places::StreamTerms;
use crate::wire::beside::InstanceId;
use crate::wire::stream::{Piece, StreamId, Then};
use crate::wire::{CorrelationId, RawRecord};

/// How long the end of an answer may take that its client does not wait for.
const LEFT_FOR: Duration = Duration::from_secs(60);
/// Credit is given again when nothing came for so long. It may be lost, any number of times, and whoever answers waits for it then.
const CREDIT_AGAIN: Duration = Duration::from_secs(5);

/// One answer that comes in pieces.
pub struct OpenStream {
    pub id: CorrelationId,
    /// The call that is followed: the one whose first piece came first.
    pub stream: StreamId,
    pub request_topic: Arc<KnownTopic>,
    pub reply_topic: Arc<KnownTopic>,
    pub awaited: Awaited,
    /// Who answers; `None`: it does not say.
    pub instance: Option<InstanceId>,
    terms: Arc<StreamTerms>,
    began: Instant,
    /// When a piece came last.
    came: Instant,
    /// When a piece came last, or the client took one.
    last: Instant,
    /// The number of the next piece.
    next: u64,
    /// Bytes that have come.
    received: u64,
    allowed: Allowed,
    inlet: Inlet,
    /// How it ended; what came before still goes to the client.
    ended: bool,
}

/// How many bytes of the body may have come.
struct Allowed {
    window: u64,
    now: u64,
    /// When the last credit was given, the latest time.
    since: Instant,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way to the client, or needs no place there.
    Goes,
    /// It is of another call, which nobody reads.
    Other,
    /// The client is cut off, and the call is to be cancelled.
    Fault(Outcome),
}

impl OpenStream {
    /// `first`: its piece 0.
    pub fn begin(
        waiting: &Waiting,
        terms: Arc<StreamTerms>,
        first: &Piece,
        window: u64,
        inlet: Inlet,
        now: Instant,
    ) -> Self {
        OpenStream {
            id: waiting.id,
            stream: first.stream,
            request_topic: waiting.request_topic.clone(),
            reply_topic: waiting.reply_topic.clone(),
            awaited: waiting.awaited,
            instance: first.head.as_ref().and_then(|head| head.instance),
            terms,
            began: now,
            came: now,
            last: now,
            next: 0,
            received: 0,
            allowed: Allowed {
                window,
                now: window,
                since: now,
            },
            inlet,
            ended: false,
        }
    }

    /// Takes the next piece that came.
    pub fn take(&mut self, piece: Piece, now: Instant) -> Taken {
        if piece.stream != self.stream {
            return Taken::Other;
        }
        // What was written twice.
        if self.ended || piece.seq < self.next {
            return Taken::Goes;
        }
        if piece.seq > self.next {
            return self.fault(Outcome::Gap);
        }
        self.next += 1;
        (self.came, self.last) = (now, now);
        self.received = self.received.saturating_add(piece.body.len() as u64);
        if self.received > self.allowed.now {
            return self.fault(Outcome::OverWindow);
        }
        self.inlet.push(piece.body);
        match piece.then {
            Then::More => {}
            Then::End => self.end(Outcome::Complete),
            Then::Cut(error) => self.end(Outcome::Cut(error)),
        }
        Taken::Goes
    }

    fn fault(&mut self, outcome: Outcome) -> Taken {
        self.end(outcome);
        Taken::Fault(outcome)
    }

    /// No more comes; what has come still goes to the client.
    pub fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.inlet.end(outcome);
    }

    /// The client has taken some. Returns how many bytes may have been sent from now on, if whoever answers should know.
    pub fn progress(&mut self, now: Instant) -> Option<u64> {
        self.last = now;
        self.inlet.flush();
        let allowed = self.inlet.taken().saturating_add(self.allowed.window);
        let due = !self.ended && allowed - self.allowed.now >= report_every(self.allowed.window);
        due.then(|| {
            self.allowed.now = allowed;
            self.allowed.since = now;
            allowed
        })
    }

    /// The last credit again, if it may have been lost: nothing came since, or too little to tell.
    pub fn lost_credit(&mut self, now: Instant) -> Option<u64> {
        let was_given = self.allowed.now > self.allowed.window;
        let quiet_since = self.came.max(self.allowed.since);
        let is_due = !self.ended && was_given && now.saturating_duration_since(quiet_since) >= CREDIT_AGAIN;
        is_due.then(|| {
            self.allowed.since = now;
            self.allowed.now
        })
    }

    /// Why it is to end now. `well_since`: silence counts from then on.
    pub fn overdue(&mut self, now: Instant, well_since: Instant) -> Option<Outcome> {
        if self.ended {
            return None;
        }
        if self.inlet.is_left() {
            // The client had all bytes that the answer told of, and the end is still due.
            return (now.saturating_duration_since(self.last) >= LEFT_FOR).then_some(Outcome::ClientLeft);
        }
        if !self.inlet.is_empty() {
            // It waits for the client, and whoever answers waits for credit.
            self.last = now;
        }
        let is_over = |limit, since| now.saturating_duration_since(since) >= limit;
        if self.terms.max_duration.is_some_and(|limit| is_over(limit, self.began)) {
            return Some(Outcome::TooLong);
        }
        let quiet_since = self.last.max(well_since);
        let is_idle = self.terms.idle_timeout.is_some_and(|limit| is_over(limit, quiet_since));
        is_idle.then_some(Outcome::Idle)
    }

    /// It has ended, and nothing of it is left with the router. One whose client left before is not over: `Forget` is on its way, and has it
    /// cancelled.
    pub fn is_over(&mut self) -> bool {
        self.ended && self.inlet.flush()
    }

    /// Whoever answers has no credit left, so no piece would tell that a cancel was lost.
    pub fn is_out_of_credit(&self) -> bool {
        self.received >= self.allowed.now
    }

    /// No end was given to the client.
    pub fn is_open(&self) -> bool {
        !self.ended
    }

    pub fn awaits(&self, record: &RawRecord) -> bool {
        self.awaited.takes(record, &self.reply_topic.name)
    }
}

/// The body reports what the client has taken when half of the window is used up.
pub fn report_every(window: u64) -> u64 {
    (window / 2).max(1)
}

/// All of them, by `CorrelationId::low64`.
#[derive(Default)]
pub struct OpenStreams(pub HashMap<u64, OpenStream>);

impl OpenStreams {
    /// The stream of a request.
    pub fn of(&mut self, id: CorrelationId) -> Option<&mut OpenStream> {
        self.0.get_mut(&id.low64()).filter(|stream| stream.id == id)
    }

    /// Takes one out.
    pub fn remove(&mut self, id: CorrelationId) -> Option<OpenStream> {
        self.0.remove(&id.low64())
    }

    /// Takes out all that are over.
    pub fn remove_over(&mut self) -> Vec<OpenStream> {
        let over = self.0.extract_if(|_, stream| stream.is_over());
        over.map(|(_, stream)| stream).collect()
    }

    /// The repliers of this topic turned out to ignore the partition that requests name.
    pub fn await_on_any_partition(&mut self, topic: &str) {
        let answered_there = |stream: &&mut OpenStream| &*stream.reply_topic.name == topic;
        for stream in self.0.values_mut().filter(answered_there) {
            stream.awaited.allow_any_partition();
        }
    }
}
