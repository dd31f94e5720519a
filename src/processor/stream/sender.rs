//! Sends the pieces of one streamed answer into Kafka.

use std::sync::Arc;

use bytes::Bytes;

use crate::processor::record::outbox::{Content, Outbox, Parcel};
use crate::processor::record::reply_seal::ReplySeal;
use crate::processor::record::settlement::Settlement;
use crate::processor::stream::acks::Acks;
use crate::processor::stream::calls::Streamed;
use crate::processor::stream::pieces::{Cut, Sizes};
use crate::wire::Record;
use crate::wire::correlation::id_text;
use crate::wire::stream::{MAX_PIECE, Piece, StreamError, StreamHead, Then, encode_piece};

/// Room for what the size of an empty piece does not show: the digits of its number, the word of an error.
const SLACK: usize = 64;

/// Sends the pieces of one stream. Dropped before the last one, it sends that one: `processor-failed`.
pub struct Sender<'a> {
    outbox: &'a Arc<Outbox>,
    seal: &'a ReplySeal,
    correlation_id: Bytes,
    pub streamed: Streamed,
    pub acks: Arc<Acks>,
    /// The number of the next piece.
    seq: u64,
    /// The end was sent, or nothing was begun.
    pub is_over: bool,
    /// Why it ends, where nothing else says it.
    pub last_word: StreamError,
}

impl<'a> Sender<'a> {
    /// One that has sent nothing yet.
    pub fn new(outbox: &'a Arc<Outbox>, seal: &'a ReplySeal, correlation_id: Bytes, streamed: Streamed) -> Self {
        Sender {
            outbox,
            seal,
            correlation_id,
            streamed,
            acks: Arc::default(),
            seq: 0,
            // Until the first piece is sent.
            is_over: true,
            last_word: StreamError::ProcessorFailed,
        }
    }

    /// The correlation id of its request, for people.
    pub fn id_text(&self) -> String {
        id_text(&self.correlation_id)
    }

    /// The sizes of pieces that the topic takes.
    pub fn sizes(&self, head: &StreamHead) -> Option<Sizes> {
        let limit = self.outbox.limits.of(&self.streamed.destination.topic);
        let room = |head: Option<StreamHead>| {
            let empty = self.encode(0, head, Bytes::new(), Then::More)?;
            let room = limit.checked_sub(empty.encoded_size() + SLACK)?;
            Some(room.min(MAX_PIECE))
        };
        let (first, further) = (room(Some(head.clone()))?, room(None)?);
        (further > 0).then_some(Sizes { first, further })
    }

    /// The first piece, which is sent again until its client is gone.
    pub fn begin(
        &mut self,
        cut: Cut,
        head: StreamHead,
        until: Option<std::time::Instant>,
        settlement: &Arc<Settlement>,
    ) -> Option<()> {
        let is_last = cut.then != Then::More;
        let record = self.encode(cut.seq, Some(head), cut.body, cut.then)?;
        let parcel = Parcel {
            destination: self.streamed.destination.clone(),
            content: Content::Reply { record, until },
        };
        self.outbox.begin_stream(settlement, parcel, &self.acks);
        self.seq = 1;
        self.is_over = is_last;
        Some(())
    }

    /// False: one before it was not taken, or it cannot be sealed and must not go out in clear.
    pub fn send(&mut self, cut: Cut) -> bool {
        if self.acks.has_failed() {
            return false;
        }
        self.seq = cut.seq + 1;
        self.is_over = cut.then != Then::More;
        let Some(record) = self.encode(cut.seq, None, cut.body, cut.then) else {
            self.is_over = true;
            return false;
        };
        self.outbox.send_piece(&self.streamed.destination, &record, &self.acks);
        true
    }

    fn encode(&self, seq: u64, head: Option<StreamHead>, body: Bytes, then: Then) -> Option<Record> {
        let is_first = head.is_some();
        let mut record = encode_piece(Piece {
            correlation_id: self.correlation_id.clone(),
            stream: self.streamed.id,
            seq,
            head,
            body,
            then,
        });
        record.key.clone_from(&self.streamed.key);
        let Streamed {
            destination, is_sealed, ..
        } = &self.streamed;
        if is_first {
            destination.mark(&mut record);
        }
        self.seal.seal_if(*is_sealed, record, &destination.topic)
    }
}

impl Drop for Sender<'_> {
    /// However a stream ends, its reader is told, also after an outage of Kafka: silence would look like a backend that thinks. Behind a piece
    /// that Kafka did not take, the reader sees the gap.
    fn drop(&mut self) {
        if self.is_over || self.seq == 0 {
            return;
        }
        if let Some(record) = self.encode(self.seq, None, Bytes::new(), Then::Cut(self.last_word)) {
            self.outbox.send_last_word(self.streamed.destination.clone(), record);
        }
    }
}
