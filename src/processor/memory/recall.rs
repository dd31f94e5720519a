//! Reads remembered answers, for requests that come again: a record, or some pieces of a body at a time. No reader waits for a client.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use tokio::sync::{Semaphore, oneshot};

use crate::kafka::range_reader::{Contents, Range, RangeError};
use crate::kafka::range_readers::RangeReaders;
use crate::processor::bodies::BodyError;
use crate::processor::bodies::assembly::{Assembly, SoFar, Wanted};
use crate::wire::{RawRecord, Sealing};

/// Consumers that read answers, in the whole process. One read takes milliseconds.
const READERS: usize = 4;
/// Pieces of a body that are read at once, each of 256 KiB at most.
const AT_ONCE: usize = 4;
/// A read of a body ends after so long where anything came: much may lie between two pieces, and others wait for the consumer.
const TURN: Duration = Duration::from_millis(500);
/// A read ends after so long where nothing comes. A new leader is there well within it.
const SILENCE: Duration = Duration::from_secs(30);

const CLOSED: &str = "the readers have ended";
const SILENT: &str = "nothing came for 30 s";

/// The readers of the process. Clones share them.
#[derive(Clone)]
pub struct Recall(Arc<Shared>);

struct Shared {
    readers: RangeReaders,
    max_record: usize,
    /// One for each consumer that there may be.
    places: Arc<Semaphore>,
}

impl Recall {
    /// `config` is a consumer's.
    pub fn new(config: ClientConfig, max_record: usize) -> Self {
        Recall(Arc::new(Shared {
            readers: RangeReaders::new(config, Contents::Answers, READERS),
            max_record,
            places: Arc::new(Semaphore::new(READERS)),
        }))
    }

    /// The record at this place.
    ///
    /// # Errors
    /// It is gone, or Kafka does not give it.
    pub async fn read(&self, topic: &Arc<str>, partition: i32, offset: i64) -> Result<RawRecord, RangeError> {
        let range = Range {
            topic: topic.clone(),
            partition,
            first: offset,
            last: offset,
        };
        let read = self.run(move |shared, is_wanted| shared.read(&range, is_wanted)).await;
        read.unwrap_or_else(|| Err(RangeError::Unread(CLOSED.into())))
    }

    /// The next pieces of a body, which has come `so_far`.
    ///
    /// # Errors
    /// It is not there or not whole, or Kafka does not give it.
    pub async fn pieces(
        &self,
        wanted: Wanted,
        sealing: Arc<Sealing>,
        (so_far, from): (SoFar, i64),
    ) -> Result<Pieces, BodyError> {
        let read = move |shared: &Shared, is_wanted: &dyn Fn() -> bool| {
            shared.pieces(&wanted, Assembly::resume(&wanted, &sealing, so_far), from, is_wanted)
        };
        let read = self.run(read).await;
        read.unwrap_or_else(|| Err(BodyError::Unread(CLOSED.into())))
    }

    /// Runs `read` on a thread of its own, with the question whether anybody wants it still. `None`: it panicked.
    async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared, &dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Option<T> {
        let place = self.0.places.clone().acquire_owned().await.ok()?;
        let (gives, taken) = oneshot::channel();
        let shared = self.0.clone();
        // Nobody waits for the thread itself: where this future is dropped, it ends as soon as it looks.
        drop(tokio::task::spawn_blocking(move || {
            let read = read(&shared, &|| !gives.is_closed());
            drop(place);
            // Err: nobody wants it any more.
            let _ = gives.send(read);
        }));
        taken.await.ok()
    }
}

/// Some pieces of a body.
pub struct Pieces {
    pub pieces: VecDeque<Bytes>,
    /// How far the body has come with them.
    pub so_far: SoFar,
    /// The offset behind them.
    pub next: i64,
}

fn missing() -> BodyError {
    BodyError::Gone("its last pieces are missing".into())
}

impl Shared {
    fn pieces(
        &self,
        wanted: &Wanted,
        mut assembly: Assembly<'_>,
        from: i64,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Pieces, BodyError> {
        let range = Range {
            topic: wanted.topic.clone(),
            partition: wanted.place.partition,
            first: from,
            last: wanted.place.last,
        };
        if range.first > range.last {
            return Err(missing());
        }
        let (mut pieces, next, mut trouble) = (VecDeque::new(), Cell::new(from), None);
        let began = Instant::now();
        let goes_on = || {
            let limit = if next.get() > from { TURN } else { SILENCE };
            is_wanted() && began.elapsed() < limit
        };
        let read = self.readers.read(&range, goes_on, |fetched| {
            next.set(fetched.offset() + 1);
            let taken = assembly.take_fetched(&fetched, self.max_record);
            match taken {
                Ok(piece) => pieces.extend(piece),
                Err(error) => trouble = Some(error),
            }
            match trouble.is_none() && !assembly.is_whole() && pieces.len() < AT_ONCE {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        let read = match (trouble, read) {
            (Some(error), _) => return Err(error),
            (None, Ok(all)) => all,
            (None, Err(RangeError::Gone(why))) => return Err(BodyError::Gone(why)),
            (None, Err(RangeError::Unread(why))) => return Err(BodyError::Unread(why)),
        };
        if read && !assembly.is_whole() {
            return Err(missing());
        }
        let next = next.get();
        match next > from {
            true => Ok(Pieces {
                pieces,
                so_far: assembly.so_far(),
                next,
            }),
            false => Err(BodyError::Unread(SILENT.into())),
        }
    }

    fn read(&self, range: &Range, is_wanted: impl Fn() -> bool) -> Result<RawRecord, RangeError> {
        let (mut found, began) = (None, Instant::now());
        let goes_on = || is_wanted() && began.elapsed() < SILENCE;
        self.readers.read(range, goes_on, |fetched| {
            let copied = fetched.copy(&range.topic, self.max_record);
            found = copied.oversized.is_none().then_some(copied.record);
            ControlFlow::Break(())
        })?;
        found.ok_or_else(|| match began.elapsed() < SILENCE {
            true => RangeError::Gone(format!("there is no answer at offset {}", range.first)),
            false => RangeError::Unread(SILENT.into()),
        })
    }
}
