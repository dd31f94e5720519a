//! One large body on its way to Kafka. It holds no more than a piece and what Kafka has not acknowledged; that slows a client that
//! sends faster than Kafka takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::proxy::admission::bytes::HeldBytes;
use crate::proxy::uploads::metrics::OpenUpload;
use crate::proxy::uploads::pieces::{Acknowledged, Ticket};
use crate::proxy::uploads::topics::{BodiesTopics, OpenTopic};
use crate::wire::beside::BodyPlace;
use crate::wire::body_pieces::BodyPiece;
use crate::wire::sealing::Binding;
use crate::wire::{CorrelationId, SharedSealing};

/// Bytes of one body that are not acknowledged, at most.
const WINDOW: usize = 2 << 20;
/// How long a body waits for bytes that may be held, as long as a client may pause.
const ROOM_WITHIN: Duration = Duration::from_secs(10);
/// How often it looks meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A body that is being written.
pub struct Upload {
    topics: Arc<BodiesTopics>,
    topic: OpenTopic,
    partition: i32,
    sealing: SharedSealing,
    id: Bytes,
    /// Bytes of the next piece.
    next: BytesMut,
    seq: u64,
    /// Bytes written or in `next`.
    length: u64,
    unacknowledged: usize,
    first: Option<i64>,
    last: Option<i64>,
    reports: mpsc::UnboundedReceiver<Acknowledged>,
    to: mpsc::UnboundedSender<Acknowledged>,
    held: HeldBytes,
    metrics: OpenUpload,
}

impl Upload {
    pub fn new(
        topics: Arc<BodiesTopics>,
        topic: OpenTopic,
        sealing: SharedSealing,
        id: CorrelationId,
        held: HeldBytes,
        metrics: OpenUpload,
    ) -> Self {
        let (to, reports) = mpsc::unbounded_channel();
        Upload {
            partition: rand::random_range(0..topic.partitions.max(1)),
            topics,
            topic,
            sealing,
            id: Bytes::copy_from_slice(&id.to_bytes()),
            next: BytesMut::new(),
            seq: 0,
            length: 0,
            unacknowledged: 0,
            first: None,
            last: None,
            reports,
            to,
            held,
            metrics,
        }
    }

    /// Bytes taken in so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Notes why this body ends before its end.
    pub fn failed(&mut self, error: RequestError) {
        self.metrics.failed(error);
    }

    /// Takes in more of the body. Waits while Kafka is that far behind.
    ///
    /// # Errors
    /// Kafka did not take a piece, or no more bytes may be held.
    pub async fn push(&mut self, mut more: Bytes) -> Result<(), RequestError> {
        while !more.is_empty() {
            // Sent only now: the last piece has to say that it is.
            if self.next.len() >= self.topic.piece {
                self.send(true).await?;
            }
            let part = more.len().min(self.topic.piece - self.next.len());
            self.hold(part).await?;
            // Making room may have sent it.
            self.next.reserve(part);
            self.next.extend_from_slice(&more.split_to(part));
            self.length += part as u64;
        }
        Ok(())
    }

    /// The body is whole: writes the rest, and waits until all of it is acknowledged.
    ///
    /// # Errors
    /// As `push`.
    pub async fn finish(mut self) -> Result<BodyPlace, RequestError> {
        let done = self.complete().await;
        match &done {
            Ok(_) => self.metrics.written(),
            Err(error) => self.metrics.failed(*error),
        }
        done
    }

    async fn complete(&mut self) -> Result<BodyPlace, RequestError> {
        self.send(false).await?;
        while self.unacknowledged > 0 {
            self.await_report().await?;
        }
        let known = |offset: Option<i64>| offset.filter(|offset| *offset >= 0);
        // Where the broker did not tell an offset, nobody could find the body.
        match (known(self.first), known(self.last)) {
            (Some(first), Some(last)) => Ok(BodyPlace {
                partition: self.partition,
                first,
                last,
                length: self.length,
            }),
            _ => Err(RequestError::KafkaUnavailable),
        }
    }

    /// Waits until so many bytes more may be held. Where there is no room for them, what is here goes first.
    async fn hold(&mut self, bytes: usize) -> Result<(), RequestError> {
        let until = Instant::now() + ROOM_WITHIN;
        while !self.held.grow(bytes) {
            if !self.next.is_empty() {
                self.send(true).await?;
            } else if self.unacknowledged > 0 {
                self.await_report().await?;
            } else if Instant::now() >= until {
                return Err(RequestError::Overloaded);
            } else {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Sends the next piece.
    async fn send(&mut self, more: bool) -> Result<(), RequestError> {
        while let Ok(report) = self.reports.try_recv() {
            self.take(report)?;
        }
        let bytes = self.next.len();
        while self.unacknowledged > 0 && self.unacknowledged + bytes > WINDOW {
            self.await_report().await?;
        }
        let piece = BodyPiece {
            correlation_id: self.id.clone(),
            seq: self.seq,
            more,
            body: self.next.split().freeze(),
        };
        let binding = Binding::Body {
            bodies_topic: &self.topic.name,
            correlation_id: &self.id,
            seq: self.seq,
        };
        let record = self.sealing.load().seal(piece.encode(), binding).map_err(|error| {
            tracing::error!(topic = %self.topic.name, %error, "a request is not sent: a piece of its body cannot be sealed");
            RequestError::Overloaded
        })?;
        let ticket = Box::new(Ticket {
            seq: self.seq,
            bytes,
            to: self.to.clone(),
        });
        self.metrics.sent(bytes);
        self.topics
            .producer
            .send(&self.topic.name, Some(self.partition), &record, ticket);
        self.seq += 1;
        self.unacknowledged += bytes;
        Ok(())
    }

    async fn await_report(&mut self) -> Result<(), RequestError> {
        // None: never, this holds a sender itself.
        let report = self.reports.recv().await.ok_or(RequestError::KafkaUnavailable)?;
        self.take(report)
    }

    fn take(&mut self, report: Acknowledged) -> Result<(), RequestError> {
        self.unacknowledged -= report.bytes;
        self.held.shrink(report.bytes);
        let offset = report
            .outcome
            .map_err(|why| self.topics.not_taken(&self.topic.name, why))?;
        if report.seq == 0 {
            self.first = Some(offset);
        }
        if report.seq + 1 == self.seq {
            self.last = Some(offset);
        }
        Ok(())
    }
}
