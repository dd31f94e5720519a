//! The consumers that fetch results by their offsets. They are started when the first results are asked for, and kept.
//!
//! Results of one record have consumers of their own: nobody who reads a long one slowly holds them up.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::kafka::range_reader::{Contents, Range, RangeError};
use crate::kafka::range_readers::RangeReaders;
use crate::wire::sealing::Binding;
use crate::wire::stream::{Piece, decode_piece, is_piece};
use crate::wire::{CorrelationId, RawRecord, SharedSealing, headers};

/// Consumers for results of one record, and for longer ones.
const OF_ONE: usize = 4;
const OF_MANY: usize = 8;
/// Pieces between a reader and the client's connection.
const AHEAD: usize = 2;
/// How long a place is waited for.
const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// How long one record may take to come.
const RECORD_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may take none of a result that is read for it.
const STALLED: Duration = Duration::from_secs(30);
/// How often a reader looks whether it may go on.
const TURN: Duration = Duration::from_millis(2);

/// Which result is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub id: CorrelationId,
    pub request_topic: Arc<str>,
    pub range: Range,
}

/// A record of a result.
pub enum Item {
    Whole(RawRecord),
    Piece(Piece),
}

/// A result, or the first of its records.
pub enum Fetched {
    Whole(RawRecord),
    /// The first piece; the others follow.
    Pieces(Piece, Pieces),
}

/// Records that follow, as they are read.
pub type Pieces = mpsc::Receiver<Result<Item, FetchError>>;

/// Why a result is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Kafka has it no more.
    #[error("the result is gone: {0}")]
    Gone(String),
    /// Kafka does not give it now.
    #[error("the result could not be read: {0}")]
    Unread(String),
    /// As many are read as may be.
    #[error("too many results are read now")]
    Busy,
}

impl From<RangeError> for FetchError {
    fn from(error: RangeError) -> Self {
        match error {
            RangeError::Gone(why) => FetchError::Gone(why),
            RangeError::Unread(why) => FetchError::Unread(why),
        }
    }
}

/// The consumers of the process. Clones share them.
#[derive(Clone)]
pub struct Fetcher(Arc<Shared>);

struct Shared {
    readers: RangeReaders,
    max_record: usize,
    sealing: SharedSealing,
    of_one: Arc<Semaphore>,
    of_many: Arc<Semaphore>,
}

impl Fetcher {
    /// `config` is that of a consumer.
    pub fn new(config: ClientConfig, max_record: usize, sealing: SharedSealing) -> Self {
        Fetcher(Arc::new(Shared {
            readers: RangeReaders::new(config, Contents::Results, OF_ONE + OF_MANY),
            max_record,
            sealing,
            of_one: Arc::new(Semaphore::new(OF_ONE)),
            of_many: Arc::new(Semaphore::new(OF_MANY)),
        }))
    }

    /// Fetches a result, as far as its first record. Its reading ends when it is dropped.
    ///
    /// # Errors
    /// It is not there, or cannot be read now.
    pub async fn fetch(&self, wanted: Wanted) -> Result<Fetched, FetchError> {
        let places = match wanted.range.first == wanted.range.last {
            true => &self.0.of_one,
            false => &self.0.of_many,
        };
        let place = tokio::time::timeout(PLACE_WITHIN, places.clone().acquire_owned()).await;
        // Never closed.
        let place = place.map_err(|_| FetchError::Busy)?.map_err(|_| FetchError::Busy)?;
        let (to, mut items) = mpsc::channel(AHEAD);
        let shared = self.0.clone();
        // It is the reader's thread until all was taken. There are as many of them as places.
        drop(tokio::task::spawn_blocking(move || shared.run(&wanted, place, &to)));
        match items.recv().await {
            Some(Ok(Item::Whole(record))) => Ok(Fetched::Whole(record)),
            Some(Ok(Item::Piece(first))) => Ok(Fetched::Pieces(first, items)),
            Some(Err(error)) => Err(error),
            // It panicked, and the panic hook has logged it.
            None => Err(FetchError::Unread("its reader has ended".into())),
        }
    }
}

impl Shared {
    /// Blocks.
    fn run(&self, wanted: &Wanted, place: OwnedSemaphorePermit, to: &mpsc::Sender<Result<Item, FetchError>>) {
        if let Err(error) = self.read(wanted, to) {
            tracing::debug!(topic = %wanted.range.topic, correlation_id = %wanted.id, %error, "a result is not read to its end");
            hand_over(to, Err(error));
        }
        drop(place);
    }

    fn read(&self, wanted: &Wanted, to: &mpsc::Sender<Result<Item, FetchError>>) -> Result<(), FetchError> {
        let topic = &wanted.range.topic;
        let is_ours = |id: &[u8]| CorrelationId::from_bytes(id) == Some(wanted.id);
        let (mut trouble, mut stream) = (None, None);
        let came = Cell::new(Instant::now());
        let is_wanted = || !to.is_closed() && came.get().elapsed() < RECORD_WITHIN;
        let read = self.readers.read(&wanted.range, is_wanted, |fetched| {
            came.set(Instant::now());
            // Nothing of other results is copied.
            if fetched.header(headers::KAFKA_CORRELATION_ID.as_bytes(), is_ours) != Some(true) {
                return ControlFlow::Continue(());
            }
            let record = fetched.copy(topic, self.max_record).record;
            let item = match self.item(wanted, &record) {
                Ok(item) => item,
                // Somebody else's, or of a call that was not followed.
                Err(error) if stream.is_some() => {
                    tracing::debug!(%topic, error, "a record among those of a result is passed over");
                    return ControlFlow::Continue(());
                }
                Err(error) => {
                    trouble = Some(FetchError::Unread(error));
                    return ControlFlow::Break(());
                }
            };
            if let Item::Piece(piece) = &item
                && *stream.get_or_insert(piece.stream) != piece.stream
            {
                return ControlFlow::Continue(());
            }
            let went_on = hand_over(to, Ok(item));
            came.set(Instant::now());
            match went_on {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        match (trouble, read?) {
            (Some(error), _) => Err(error),
            (None, false) if !to.is_closed() => Err(FetchError::Unread("Kafka does not give it in time".into())),
            (None, _) => Ok(()),
        }
    }

    fn item(&self, wanted: &Wanted, record: &RawRecord) -> Result<Item, String> {
        let binding = Binding::Reply {
            request_topic: &wanted.request_topic,
            reply_topic: &wanted.range.topic,
        };
        let opened = self
            .sealing
            .load()
            .open(record, binding)
            .map_err(|error| error.to_string())?;
        match is_piece(&opened) {
            true => decode_piece(&opened).map(Item::Piece),
            false => Ok(Item::Whole(opened.into_owned())),
        }
    }
}

/// Waits for the client's connection. False: it takes no more. Blocks.
fn hand_over(to: &mpsc::Sender<Result<Item, FetchError>>, item: Result<Item, FetchError>) -> bool {
    let (mut item, until) = (item, Instant::now() + STALLED);
    loop {
        match to.try_send(item) {
            Ok(()) => return true,
            Err(mpsc::error::TrySendError::Closed(_)) => return false,
            Err(mpsc::error::TrySendError::Full(back)) if Instant::now() < until => item = back,
            Err(mpsc::error::TrySendError::Full(_)) => return false,
        }
        std::thread::park_timeout(TURN);
    }
}
