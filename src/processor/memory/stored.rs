//! The body of a remembered answer that is larger than a record: read from the topic of answers, some pieces at a time, as the stream of a
//! repeat takes them.

use bytes::{Bytes, BytesMut};

use crate::processor::bodies::BodyError;
use crate::processor::bodies::assembly::Wanted;
use crate::processor::memory::recall::{Pieces, Recall};
use crate::processor::stream::source::Feeds;
use crate::wire::stream::StreamError;
use crate::wire::{Response, SharedSealing};

/// A remembered answer whose body lies elsewhere.
pub struct StoredAnswer {
    /// Its status and fields, for the request that came again.
    pub head: Response,
    pub body: StoredBody,
}

/// A body that is read from its pieces.
pub struct StoredBody {
    recall: Recall,
    wanted: Wanted,
    sealing: SharedSealing,
    /// What was read and not given out.
    read: Pieces,
}

impl StoredBody {
    /// One whose first pieces are there.
    ///
    /// # Errors
    /// They are gone, or cannot be read now.
    pub async fn open(recall: &Recall, wanted: Wanted, sealing: &SharedSealing) -> Result<Self, BodyError> {
        let begin = (Default::default(), wanted.place.first);
        let read = recall.pieces(wanted.clone(), sealing.load_full(), begin).await?;
        Ok(StoredBody {
            recall: recall.clone(),
            wanted,
            sealing: sealing.clone(),
            read,
        })
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.wanted.place.length
    }

    /// All of it. For one that fits into a record.
    ///
    /// # Errors
    /// Some of it is gone, or cannot be read now.
    pub async fn whole(mut self) -> Result<Bytes, BodyError> {
        let mut all = BytesMut::new();
        loop {
            match self.next().await {
                Ok(Some(piece)) => all.extend_from_slice(&piece),
                Ok(None) => return Ok(all.freeze()),
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Feeds a stream with it, to its end or that of the stream.
    pub async fn feed(mut self, to: Feeds) {
        loop {
            let next = tokio::select! {
                biased;
                // Nobody waits for it, and others for the reader.
                () = to.closed() => return,
                next = self.next() => next,
            };
            let fed = next.map_err(|error| {
                self.failed(error);
                StreamError::ProcessorFailed
            });
            let goes_on = matches!(fed, Ok(Some(_)));
            // Err: the stream has ended.
            if to.send(fed).await.is_err() || !goes_on {
                return;
            }
        }
    }

    fn failed(&self, error: BodyError) -> BodyError {
        tracing::warn!(topic = %self.wanted.topic, partition = self.wanted.place.partition, offset = self.read.next, %error,
            "a remembered answer cannot be read to its end; its client gets 502, or its connection is cut");
        error
    }

    /// The next piece; `None`: that was the last.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while self.read.pieces.is_empty() && !self.read.so_far.is_whole() {
            let from = (self.read.so_far, self.read.next);
            let read = self.recall.pieces(self.wanted.clone(), self.sealing.load_full(), from);
            self.read = read.await?;
        }
        Ok(self.read.pieces.pop_front())
    }
}
