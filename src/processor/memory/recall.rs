//! Reads a remembered answer, for a request that comes again.

use std::ops::ControlFlow;
use std::sync::Arc;

use rdkafka::ClientConfig;
use tokio::sync::{Semaphore, oneshot};

use crate::kafka::range_reader::{Contents, Range, RangeError};
use crate::kafka::range_readers::RangeReaders;
use crate::wire::RawRecord;

/// Consumers that read answers, in the whole process. One read takes milliseconds.
const READERS: usize = 4;

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
        let closed = || RangeError::Unread("the readers have ended".into());
        let place = self.0.places.clone().acquire_owned().await.map_err(|_| closed())?;
        let (gives, taken) = oneshot::channel();
        let (shared, topic) = (self.0.clone(), topic.clone());
        // Nobody waits for the thread itself: where this future is dropped, it ends as soon as it looks.
        drop(tokio::task::spawn_blocking(move || {
            let range = Range {
                topic,
                partition,
                first: offset,
                last: offset,
            };
            let read = shared.read(&range, || !gives.is_closed());
            drop(place);
            // Err: nobody wants it any more.
            let _ = gives.send(read);
        }));
        taken.await.map_err(|_| closed())?
    }
}

impl Shared {
    fn read(&self, range: &Range, is_wanted: impl Fn() -> bool) -> Result<RawRecord, RangeError> {
        let mut found = None;
        self.readers.read(range, is_wanted, |fetched| {
            let copied = fetched.copy(&range.topic, self.max_record);
            found = copied.oversized.is_none().then_some(copied.record);
            ControlFlow::Break(())
        })?;
        found.ok_or_else(|| RangeError::Gone(format!("there is no answer at offset {}", range.first)))
    }
}
