//! Carries a request whose client waits: from its body to its answer, through the router.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::body::declared_length;
use super::encode::{Encoded, Terms};
use super::forget::ForgetOnDrop;
use super::request::many_heads;
use super::response::{to_http, with_place};
use super::{Destination, Failure, Proxy, seen};
use crate::error::RequestError;
use crate::exchange::{ByKey, Ending, Phase, RecordPosition, UnderWay};
use crate::proxy::reply_router::messages::{Answer, Forward, Reply, ReplyResult};
use crate::proxy::reply_router::slot::RouterHandle;
use crate::proxy::routing::topics::TopicInUse;
use crate::proxy::stream::body::{self as stream_body, Source};
use crate::wire::idempotency::memory::is_replayed;
use crate::wire::{CorrelationId, ReplyError, trace_parent};

/// How long a request waits for a router. A start with existing topics takes less, and so does a router's replacement.
const START_WAIT: Duration = Duration::from_secs(3);

impl Proxy {
    /// Carries a request, and waits for its answer.
    pub(super) async fn carry(
        &self,
        request: &HttpRequest,
        payload: &mut web::Payload,
        id: CorrelationId,
        to: &Destination<'_>,
        (arrived, seen): (Instant, &mut UnderWay),
    ) -> Result<HttpResponse, Failure> {
        let Destination {
            route,
            caller,
            request_topic,
            reply_topic,
            ..
        } = to;
        seen.asked_by(caller.principal.as_deref());
        seen.request = Some(RecordPosition::of(&request_topic.name));
        let keyed = route.idempotency.keyed(request, caller.principal.as_deref());
        let keyed = keyed.map_err(Failure::NotSent)?;
        if self.kafka.is_down() {
            return Err(Failure::NotSent(RequestError::KafkaUnavailable));
        }
        if request_topic.consumers.as_ref().is_some_and(|group| group.are_absent()) {
            return Err(Failure::NotSent(RequestError::NoConsumers));
        }
        const OVERLOADED: Failure = Failure::NotSent(RequestError::Overloaded);
        let admit = || {
            self.admission
                .admit(&request_topic.load, route.timeout)
                .ok_or(OVERLOADED)
        };
        let mut deadline = arrived + route.timeout;
        let mut held = self.bodies.bytes.begin(0).ok_or(OVERLOADED)?;
        if !held.grow(many_heads(request)) {
            return Err(OVERLOADED);
        }
        // A body that would be refused is not read. One that comes slowly takes no place until it is there.
        let permit = admit()?;
        let permit = declared_length(request).is_none().then_some(permit);
        let is_keyed = keyed.is_some();
        let terms = Terms {
            id,
            reply_topic: &reply_topic.name,
            arrived,
            timeout: route.timeout,
            keyed,
        };
        let encoded = self.encode((request, payload), to, terms, (&mut held, seen), |_| {});
        let Encoded { record, is_elsewhere } = encoded.await.map_err(Failure::NotSent)?;
        if is_elsewhere {
            // From here on its client waits for an answer, and nothing of its body is held.
            deadline = Instant::now() + route.timeout;
            held.replace(many_heads(request));
        }
        let permit = permit.map_or_else(admit, Ok)?;
        let router = self
            .positioned_router(deadline)
            .await
            .ok_or(Failure::NotSent(RequestError::Starting))?;
        seen.ends(Phase::Admission);
        let (reply_tx, reply_rx) = oneshot::channel();
        let sent = Instant::now();
        let forget = ForgetOnDrop::new(&router, id, &self.metrics.disconnects);
        router.forward(Forward {
            id,
            request_topic: Arc::clone(request_topic),
            reply_topic: Arc::clone(reply_topic),
            record,
            is_keyed,
            deadline: deadline.into_std(),
            queue: permit.queue(),
            offer: self.streams.offer(request, &route.streams),
            reply_tx,
        });
        let reply = tokio::time::timeout_at(deadline, self.reply(reply_rx, &router)).await;
        let result = match reply {
            Err(_elapsed) => {
                seen.ends(Phase::Reply);
                request_topic.metrics.timeouts.inc();
                forget.forget();
                return Err(Failure::Sent(RequestError::ReplyTimeout));
            }
            Ok(result) => result,
        };
        forget.disarm();
        let Reply { sent: produced, answer } = result.map_err(|error| match error {
            RequestError::ReplyLost => Failure::Sent(error),
            error => Failure::NotSent(error),
        })?;
        request_topic
            .metrics
            .kafka_latency
            .observe(sent.elapsed().as_secs_f64());
        seen.ends_at(Phase::Produce, produced);
        seen.ends(Phase::Reply);
        let record = match answer {
            Answer::Whole(record) => record,
            Answer::Stream(streamed) => {
                let published = self.router.clone();
                let source = Source { id, router, published };
                let topics = [request_topic, reply_topic].map(|topic| TopicInUse::new(Arc::clone(topic)));
                seen.reply = Some(streamed.first.clone());
                seen::replied(seen, streamed.writer);
                seen.ending = Ending::answered(streamed.head.status);
                seen.by_key = (is_keyed && is_replayed(&streamed.head.headers)).then_some(ByKey::Replayed);
                return stream_body::respond(*streamed, source, request.method(), permit, topics).map_err(|error| {
                    self.metrics.malformed_replies.inc();
                    tracing::warn!(topic = %reply_topic.name, correlation_id = %id, %error, "a streamed answer is not HTTP; its client gets 502");
                    Failure::Sent(RequestError::ReplyLost)
                });
            }
        };
        held.replace(record.value.as_ref().map_or(0, |body| body.len()));
        seen.reply = Some(RecordPosition::of_record(&record));
        seen::replied(seen, trace_parent::of_reply(&record));
        let (response, error) = to_http(&record, id, request.method()).map_err(|error| {
            self.metrics.malformed_replies.inc();
            tracing::warn!(topic = %record.topic, partition = record.partition, offset = record.offset, correlation_id = %id, %error, "reply passed over; its client gets 502");
            Failure::Sent(RequestError::ReplyLost)
        })?;
        seen.ending = Ending {
            status: Some(response.status().as_u16()),
            code: error.map(ReplyError::as_str),
        };
        seen.by_key = is_keyed.then(|| seen::by_key(&response, error)).flatten();
        Ok(with_place(response, request.version(), (permit, held)))
    }

    /// The router, once there is one. A request that comes before the first router is positioned waits a moment for it: a load balancer
    /// that knows no readiness sends requests as soon as the port is open. `None`: there is still none.
    async fn positioned_router(&self, deadline: Instant) -> Option<Arc<RouterHandle>> {
        let is_there = |router: &Option<Arc<RouterHandle>>| router.as_ref().is_some_and(|router| router.is_alive());
        let mut published = self.router.clone();
        let until = deadline.min(Instant::now() + START_WAIT);
        let router = tokio::time::timeout_at(until, published.wait_for(is_there)).await;
        router.ok()?.ok()?.clone()
    }

    /// The router's answer. A router that died has dropped its senders. One that froze keeps them, but another one is published.
    async fn reply(&self, reply_rx: oneshot::Receiver<ReplyResult>, router: &RouterHandle) -> ReplyResult {
        let mut published = self.router.clone();
        let replaced =
            |now: &Option<Arc<RouterHandle>>| now.as_ref().is_none_or(|now| now.generation != router.generation);
        tokio::select! {
            biased;
            reply = reply_rx => reply.unwrap_or(Err(RequestError::ReplyLost)),
            _ = published.wait_for(replaced) => Err(RequestError::ReplyLost),
        }
    }
}
