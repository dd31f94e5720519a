//! The consumers that read large bodies, and who may read with one. They are started when the first bodies come, and kept.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::kafka::range_reader::{Contents, Range, RangeError};
use crate::kafka::range_readers::RangeReaders;
use crate::processor::bodies::BodyError;
use crate::processor::bodies::assembly::{Assembly, Wanted};
use crate::processor::bodies::metrics::{BodyMetrics, ReadingEnd};
use crate::processor::bodies::stream::{Reading, StreamedBody, streamed};
use crate::processor::metrics::Counted;
use crate::wire::SharedSealing;

/// Pieces between a reader and the HTTP client.
const AHEAD: usize = 2;

/// The readers of the process. Clones share them.
#[derive(Clone)]
pub struct BodyReaders(Arc<Shared>);

struct Shared {
    readers: RangeReaders,
    max_record: usize,
    sealing: SharedSealing,
    /// One for each consumer that there may be.
    places: Arc<Semaphore>,
    metrics: BodyMetrics,
}

/// The right to read one body.
pub struct ReaderPlace {
    readers: BodyReaders,
    permit: OwnedSemaphorePermit,
}

impl BodyReaders {
    /// There are `most` of them. `config` is that of a consumer.
    pub fn new(
        config: ClientConfig,
        most: usize,
        max_record: usize,
        sealing: SharedSealing,
        metrics: BodyMetrics,
    ) -> Self {
        BodyReaders(Arc::new(Shared {
            readers: RangeReaders::new(config, Contents::Bodies, most),
            max_record,
            sealing,
            places: Arc::new(Semaphore::new(most)),
            metrics,
        }))
    }

    /// A place, if one is free.
    pub fn try_place(&self) -> Option<ReaderPlace> {
        let permit = self.0.places.clone().try_acquire_owned().ok()?;
        Some(ReaderPlace {
            readers: self.clone(),
            permit,
        })
    }

    /// Waits for a place, in order. Cancel safe. `None` never comes: the semaphore is not closed.
    pub async fn place(&self) -> Option<ReaderPlace> {
        let _waiting = Counted::new(&self.0.metrics.waiting);
        let permit = self.0.places.clone().acquire_owned().await.ok()?;
        Some(ReaderPlace {
            readers: self.clone(),
            permit,
        })
    }
}

impl ReaderPlace {
    /// Begins to read a body. The place is given back when the reading ends, which `Reading` and the body's end bring about.
    ///
    /// # Errors
    /// The body is not there, or cannot be read now: then the backend need not be called.
    pub async fn open(self, wanted: Wanted) -> Result<(StreamedBody, Reading), BodyError> {
        let length = wanted.place.length;
        let (to, mut pieces) = mpsc::channel(AHEAD);
        let stop = CancellationToken::new();
        // Also where this future is dropped while the first piece is waited for.
        let stop_on_drop = stop.clone().drop_guard();
        let stopped = stop.clone();
        // It is the reader's thread until the body ends. There are as many of them as places.
        drop(tokio::task::spawn_blocking(move || self.read(&wanted, &to, &stopped)));
        match pieces.recv().await {
            Some(Ok(first)) => {
                stop_on_drop.disarm();
                Ok(streamed(first, pieces, length, stop))
            }
            Some(Err(error)) => Err(error),
            // It panicked, and the panic hook has logged it.
            None => Err(BodyError::Unread("its reader has ended".into())),
        }
    }

    /// Reads the body to its end, or until nobody wants it. Blocks.
    fn read(self, wanted: &Wanted, to: &mpsc::Sender<Result<Bytes, BodyError>>, stop: &CancellationToken) {
        let shared = &*self.readers.0;
        let _reading = Counted::new(&shared.metrics.reading);
        let end = match shared.read(wanted, to, stop) {
            Ok(end) => end,
            Err(error) => {
                tracing::debug!(topic = %wanted.topic, %error, "a large body is not read to its end");
                let end = match &error {
                    BodyError::Gone(_) => ReadingEnd::Gone,
                    BodyError::Unread(_) => ReadingEnd::Unread,
                };
                hand_over(to, stop, Err(error));
                end
            }
        };
        shared.metrics.ended(&wanted.topic, end);
        drop(self.permit);
    }
}

impl Shared {
    fn read(
        &self,
        wanted: &Wanted,
        to: &mpsc::Sender<Result<Bytes, BodyError>>,
        stop: &CancellationToken,
    ) -> Result<ReadingEnd, BodyError> {
        let range = Range {
            topic: wanted.topic.clone(),
            partition: wanted.place.partition,
            first: wanted.place.first,
            last: wanted.place.last,
        };
        let sealing = self.sealing.load_full();
        let mut assembly = Assembly::new(wanted, &sealing);
        let mut trouble = None;
        let is_wanted = || !stop.is_cancelled() && !to.is_closed();
        let read = self.readers.read(&range, is_wanted, |fetched| {
            let taken = assembly.take_fetched(&fetched, self.max_record);
            match taken {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(bytes)) => {
                    self.metrics.bytes.inc_by(bytes.len() as u64);
                    match hand_over(to, stop, Ok(bytes)) && !assembly.is_whole() {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                }
                Err(error) => {
                    trouble = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        match (trouble, read) {
            (Some(error), _) => Err(error),
            _ if assembly.is_whole() => Ok(ReadingEnd::Whole),
            (None, Ok(true)) => Err(BodyError::Gone("its last pieces are missing".into())),
            (None, Ok(false)) => Ok(ReadingEnd::CallEnded),
            (None, Err(RangeError::Gone(why))) => Err(BodyError::Gone(why)),
            (None, Err(RangeError::Unread(why))) => Err(BodyError::Unread(why)),
        }
    }
}

/// Waits for the HTTP client. False: nobody wants more. Blocks.
fn hand_over(
    to: &mpsc::Sender<Result<Bytes, BodyError>>,
    stop: &CancellationToken,
    piece: Result<Bytes, BodyError>,
) -> bool {
    let sent = stop.run_until_cancelled(to.send(piece));
    futures_executor::block_on(sent).is_some_and(|sent| sent.is_ok())
}
