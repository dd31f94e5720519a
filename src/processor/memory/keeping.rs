//! An answer that streams and is remembered: its body is read once, kept, and passed on to the stream.
//!
//! The end of the stream waits for the memory: whoever has seen a complete answer knows that it is remembered. The backend is read as fast
//! as the slower of the two takes it; where the stream ends early, its body is kept to the end all the same.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::kafka::group_pump::intake::{Lease, LeaseHold};
use crate::processor::backend::open_body::ReadError;
use crate::processor::backend::standstill::STANDSTILL;
use crate::processor::memory::answers::{Body, NotKept};
use crate::processor::memory::claim::Claim;
use crate::processor::memory::shelf::{Kept, Shelf, Sizes};
use crate::processor::metrics::Counted;
use crate::processor::record::attempts::HeldByCall;
use crate::processor::record::caller::Caller;
use crate::processor::stream::source::{Feeds, Rest};
use crate::wire::beside::BodyPlace;
use crate::wire::idempotency::memory::Stored;
use crate::wire::stream::StreamError;
use crate::wire::{Fields, Response, headers};

/// An answer on its way from its backend to the memory, and to its stream.
pub struct Keeping<'a> {
    pub claim: Claim,
    /// Where its body goes.
    pub body: Rc<Body>,
    /// Its status and fields, and what came of its body so far.
    pub answer: Response,
    pub rest: Rest,
    /// Bytes of a record where the answer goes: a repeat is to get it in one, where it fits.
    pub record: usize,
    pub caller: &'a Caller,
    /// The partition's next owner runs the request again where nothing is remembered: then nobody may have seen its end.
    pub lease: (Lease, LeaseHold),
    pub held: HeldByCall<'a>,
    /// Cancelled when the time of a drain is nearly over.
    pub draining: CancellationToken,
    /// Its stream.
    pub to: Feeds,
}

/// What ends the wait for a next step.
enum Step {
    /// The process ends, or the partition goes.
    CutOff,
    Wrote(Result<i64, NotKept>),
    /// The stream has taken what waited for it, or it has ended.
    Passed,
    Came(Option<Result<Bytes, ReadError>>),
    Time,
}

/// How far the body was read.
struct Progress {
    /// Bytes still to come, where the backend has told how many there are.
    left: Option<u64>,
    is_over: bool,
    /// When something came or went last.
    at: Instant,
}

impl Keeping<'_> {
    /// To the end of the body, and of its stream.
    pub async fn run(mut self) {
        let storing = Counted::new(&self.claim.metrics.storing);
        let mut shelf = Shelf::new(Sizes {
            whole: self.claim.room_for(&self.answer, self.record),
            piece: self.body.piece(),
            most: self.caller.topic.memory.most_of_answer(),
        });
        let read = self.read(&mut shelf).await;
        let Keeping {
            claim,
            body,
            answer,
            rest,
            lease,
            held,
            to,
            ..
        } = self;
        // A call that is cut off has ended before anybody else may call.
        let place = rest.into_place();
        let last = match read {
            Ok(last) => tokio::select! {
                biased;
                // What is acknowledged from now on, the next owner may not know.
                () = lease.0.gone() => Err(StreamError::Draining),
                () = remember(claim, answer, &body, shelf.kept()) => Ok(last),
            },
            // At least once, the next request with its key runs; at most once, it hears that the outcome is not known.
            Err(error) => {
                drop(claim);
                Err(error)
            }
        };
        drop((lease, held, storing));
        tell(&to, last).await;
        // As long as the stream lasts, it has its place.
        to.closed().await;
        drop(place);
    }

    /// Reads the body to its end. What completes it is not passed on, but returned.
    async fn read(&mut self, shelf: &mut Shelf) -> Result<Option<Bytes>, StreamError> {
        let (idle, longest) = {
            let streams = &self.caller.topic.streams;
            (streams.idle_timeout, streams.max_duration)
        };
        let mut progress = Progress {
            left: declared_length(&self.answer.headers),
            is_over: matches!(self.rest, Rest::None(_)),
            at: Instant::now(),
        };
        let whole = deadline(progress.at, longest);
        let mut timer = std::pin::pin!(sleep_until(progress.at));
        let mut writing: Option<LocalBoxFuture<'static, Result<i64, NotKept>>> = None;
        let first = std::mem::take(&mut self.answer.body);
        // What waits for the stream; once the body is complete, its last bytes, which wait for the memory.
        let mut waits = progress.take(first, shelf);
        loop {
            if writing.is_none()
                && let Some(piece) = shelf.next_piece()
            {
                let body = self.body.clone();
                writing = Some(Box::pin(async move { body.write(piece).await }));
            }
            if progress.is_over && writing.is_none() {
                return Ok(waits);
            }
            let is_open = !progress.is_over;
            let reads = is_open && waits.is_none() && shelf.has_room();
            let silence = deadline(progress.at, idle).filter(|_| reads);
            let next = silence.into_iter().chain(whole).min();
            if let Some(next) = next.filter(|next| *next != timer.deadline()) {
                timer.as_mut().reset(next);
            }
            let wrote = async {
                match &mut writing {
                    Some(writing) => writing.await,
                    None => std::future::pending().await,
                }
            };
            let rest = &mut self.rest;
            let came = async {
                match rest {
                    Rest::Open(body) => body.next().await,
                    Rest::None(_) => None,
                }
            };
            let step = tokio::select! {
                biased;
                () = self.draining.cancelled(), if is_open => Step::CutOff,
                () = self.lease.0.gone() => Step::CutOff,
                wrote = wrote => Step::Wrote(wrote),
                room = self.to.reserve(), if is_open && waits.is_some() => {
                    let bytes = waits.take();
                    // Err: it has ended.
                    let _ = room.map(|room| room.send(Ok(bytes)));
                    Step::Passed
                }
                came = came, if reads => Step::Came(came),
                () = &mut timer, if next.is_some() && is_open => Step::Time,
            };
            match step {
                Step::CutOff => return Err(StreamError::Draining),
                Step::Wrote(Ok(offset)) => {
                    writing = None;
                    progress.at = Instant::now();
                    shelf.wrote(offset);
                }
                Step::Wrote(Err(NotKept)) => {
                    writing = None;
                    shelf.give_up();
                }
                Step::Passed => progress.at = Instant::now(),
                Step::Came(Some(Ok(bytes))) => waits = progress.take(bytes, shelf).filter(|_| !self.to.is_closed()),
                Step::Came(Some(Err(error))) => {
                    self.caller.broke_off(&self.answer.correlation_id, &error);
                    return Err(StreamError::BackendReset);
                }
                Step::Came(None) => progress.ends(shelf),
                Step::Time => {
                    let now = Instant::now();
                    let is_late = next.is_some_and(|next| now - next > STANDSTILL);
                    if !is_late || whole.is_some_and(|whole| now >= whole) {
                        return Err(StreamError::StreamIdle);
                    }
                    // The silence was this process's own.
                    progress.at = now;
                }
            }
        }
    }
}

impl Progress {
    /// Takes in what came; returns it, where it is not empty.
    fn take(&mut self, bytes: Bytes, shelf: &mut Shelf) -> Option<Bytes> {
        self.at = Instant::now();
        shelf.push(&bytes);
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        self.is_over |= self.left == Some(0);
        if self.is_over {
            shelf.end();
        }
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }

    fn ends(&mut self, shelf: &mut Shelf) {
        self.is_over = true;
        shelf.end();
    }
}

/// Remembers an answer as it is kept; returns once Kafka has that.
async fn remember(claim: Claim, answer: Response, body: &Body, kept: Kept) {
    match kept {
        Kept::Whole(body) => drop(claim.remember(&Response { body, ..answer }).await),
        Kept::InPieces { first, last, length } => {
            let place = BodyPlace {
                partition: body.partition(),
                first,
                last,
                length,
            };
            claim.remember_stored(answer, Stored { id: body.id, place }).await;
        }
        Kept::No => claim.remember_too_large().await,
    }
}

/// Tells the stream how the body ends. It may have ended before.
async fn tell(to: &Feeds, last: Result<Option<Bytes>, StreamError>) {
    let ending = match last {
        Ok(last) => {
            if last.is_some() && to.send(Ok(last)).await.is_err() {
                return;
            }
            Ok(None)
        }
        Err(error) => Err(error),
    };
    // Err: nobody reads it any more.
    let _ = to.send(ending).await;
}

/// How many bytes the backend has said that there are.
fn declared_length(fields: &Fields) -> Option<u64> {
    let (_, length) = fields.iter().find(|(name, _)| name == headers::CONTENT_LENGTH)?;
    std::str::from_utf8(length).ok()?.parse().ok()
}

/// `None`: as long as it likes.
fn deadline(since: Instant, limit: Duration) -> Option<Instant> {
    (!limit.is_zero()).then(|| since.checked_add(limit)).flatten()
}
