//! The body of an answer that comes in pieces: what actix-http polls as the client's socket takes it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::Method;
use bytes::Bytes;
use tokio::sync::watch;

use crate::proxy::admission::in_flight::Permit;
use crate::proxy::handler::response::{Content, StreamHeadError, stream_head};
use crate::proxy::reply_router::slot::RouterHandle;
use crate::proxy::routing::topics::{KnownTopic, TopicInUse};
use crate::proxy::stream::Streamed;
use crate::proxy::stream::outcome::Outcome;
use crate::proxy::stream::pipe::{Event, Outlet};
use crate::proxy::stream::places::Offer;
use crate::wire::CorrelationId;

/// Bytes that are handed over at once. actix-http copies them into a buffer beside those that the socket has not taken.
const CHUNK: usize = 64 << 10;

/// What ends a connection whose answer is cut off.
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut off: {}", .0.as_str())]
pub struct CutOff(Outcome);

impl CutOff {
    /// Why, as metrics call it.
    pub fn reason(&self) -> &'static str {
        self.0.as_str()
    }
}

/// The router that an answer comes from.
pub struct Source {
    pub id: CorrelationId,
    pub router: Arc<RouterHandle>,
    /// Shows when there is another one.
    pub published: watch::Receiver<Option<Arc<RouterHandle>>>,
}

/// The answer that a client gets for a stream. `permit` is held until its end, but its request waits no more. So are its topics: one that a
/// client named would be let go, and with it what steers the stream.
///
/// # Errors
/// HTTP cannot carry its head.
pub fn respond(
    streamed: Streamed,
    source: Source,
    method: &Method,
    mut permit: Permit,
    topics: [TopicInUse; 2],
) -> Result<HttpResponse, StreamHeadError> {
    permit.head_came();
    let Streamed {
        head,
        first: _,
        writer: _,
        outlet,
        offer,
        report_every,
        request_topic,
    } = streamed;
    let mut body = StreamBody::new(outlet, source, request_topic, report_every, (offer, permit, topics));
    match stream_head(head, body.source.id, method) {
        Ok((response, Content::Follows(length))) => {
            body.left = length;
            Ok(response.set_body(body).map_into_boxed_body())
        }
        // The answer is whole with its head, and the rest of the stream is of no use.
        Ok((response, Content::Nothing)) => {
            body.ended(Outcome::Complete, true);
            Ok(response)
        }
        Err(error) => {
            body.ended(Outcome::Malformed, true);
            Err(error)
        }
    }
}

/// The body of an answer that comes in pieces.
struct StreamBody {
    outlet: Outlet,
    /// Came out, and not handed over yet.
    chunk: Bytes,
    /// Bytes that are to come; `None`: the answer tells no length.
    left: Option<u64>,
    source: Source,
    /// Ready once another router is published.
    replaced: Pin<Box<dyn Future<Output = ()>>>,
    request_topic: Arc<KnownTopic>,
    report_every: u64,
    /// Bytes taken that the router knows of.
    reported: u64,
    outcome: Option<Outcome>,
    /// What came before a cut is written.
    was_flushed: bool,
    _held: Held,
}

/// What a stream holds to its end.
type Held = (Offer, Permit, [TopicInUse; 2]);

impl StreamBody {
    fn new(outlet: Outlet, source: Source, request_topic: Arc<KnownTopic>, report_every: u64, held: Held) -> Self {
        request_topic.metrics.streams().open.inc();
        let (generation, mut published) = (source.router.generation, source.published.clone());
        let replaced = async move {
            let is_replaced =
                |now: &Option<Arc<RouterHandle>>| now.as_ref().is_none_or(|now| now.generation != generation);
            // Err: the process ends.
            let _ = published.wait_for(is_replaced).await;
        };
        StreamBody {
            outlet,
            chunk: Bytes::new(),
            left: None,
            source,
            replaced: Box::pin(replaced),
            request_topic,
            report_every,
            reported: 0,
            outcome: None,
            was_flushed: false,
            _held: held,
        }
    }

    /// How the answer ended, once it has.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Outcome>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.outlet.poll(cx) {
            Poll::Ready(Event::Bytes(bytes)) => {
                let fits = self.left.is_none_or(|left| bytes.len() as u64 <= left);
                self.chunk = bytes;
                Poll::Ready(fits.then_some(()).ok_or(Outcome::BadLength))
            }
            Poll::Ready(Event::End(Outcome::Complete)) if self.left.is_some_and(|left| left > 0) => {
                Poll::Ready(Err(Outcome::BadLength))
            }
            Poll::Ready(Event::End(outcome)) => Poll::Ready(Err(outcome)),
            Poll::Pending => {
                ready!(self.replaced.as_mut().poll(cx));
                Poll::Ready(Err(Outcome::RepliesLost))
            }
        }
    }

    /// The next part of the chunk.
    fn hand_over(&mut self) -> Bytes {
        let part = self.chunk.split_to(self.chunk.len().min(CHUNK));
        self.left = self.left.map(|left| left - part.len() as u64);
        let taken = self.outlet.took(part.len());
        if self.outlet.makes_room() || taken - self.reported >= self.report_every {
            self.reported = taken;
            self.source.router.progress(self.source.id);
        }
        part
    }

    /// Counts how it ended. `cancel`: whoever answers does not know.
    fn ended(&mut self, outcome: Outcome, cancel: bool) {
        self.outcome = Some(outcome);
        self.request_topic.metrics.stream_ended(outcome);
        if outcome.is_fault() {
            let (topic, reason) = (&self.request_topic.name, outcome.as_str());
            tracing::warn!(%topic, correlation_id = %self.source.id, reason, "a streamed answer broke the rules; its client is cut off");
        }
        if cancel {
            self.source.router.forget(self.source.id);
        }
    }
}

impl MessageBody for StreamBody {
    type Error = CutOff;

    fn size(&self) -> BodySize {
        self.left.map_or(BodySize::Stream, BodySize::Sized)
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        if self.outcome.is_none() {
            match ready!(self.poll_chunk(cx)) {
                Ok(()) => return Poll::Ready(Some(Ok(self.hand_over()))),
                Err(outcome) => self.ended(outcome, outcome == Outcome::BadLength),
            }
        }
        match self.outcome {
            None | Some(Outcome::Complete) => Poll::Ready(None),
            Some(_) if !self.was_flushed => {
                // actix-http drops what it has not written at an error, and writes while it waits.
                self.was_flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(outcome) => Poll::Ready(Some(Err(CutOff(outcome)))),
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.request_topic.metrics.streams().open.dec();
        if self.outcome.is_none() {
            // A parser that knows the length does not wait for the end.
            match self.left == Some(0) && self.chunk.is_empty() {
                true => self.ended(Outcome::Complete, false),
                false => self.ended(Outcome::ClientLeft, true),
            }
        }
    }
}
