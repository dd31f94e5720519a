//! The HTTP handler: takes a permit, sends one message to the router, and awaits one oneshot until the deadline. It holds no state.
//!
//! - [`request`]: from HTTP to the wire.
//! - [`body`]: reads the body.
//! - [`receive`]: takes it in, into its record or beside it.
//! - [`forget`]: tells the router that nobody waits any more.
//! - [`response`]: from the wire to HTTP.
//! - [`later`]: accepts a request whose answer is fetched later.
//! - [`seen`]: what is told of the request, to its last byte.

pub mod body;
mod forget;
mod later;
pub mod receive;
pub mod request;
pub mod response;
pub mod seen;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::ConnectionType;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::error::RequestError;
use crate::exchange::{self, Ending, Exchanges, RecordPosition, UnderWay};
use crate::kafka::cluster::health::KafkaHealth;
use crate::process::phase::Phase;
use crate::proxy::admission::in_flight::Admission;
use crate::proxy::auth::Caller;
use crate::proxy::connection::tls::Tls;
use crate::proxy::handler::body::{BodyLimits, declared_length};
use crate::proxy::handler::forget::ForgetOnDrop;
use crate::proxy::handler::receive::{Bodies, Owner};
use crate::proxy::handler::request::{Target, head_size, is_tunnel, many_heads, to_wire};
use crate::proxy::handler::response::{to_http, with_place, with_unread};
use crate::proxy::instance::Instance;
use crate::proxy::metrics::{ProxyMetrics, TopicMetrics};
use crate::proxy::reply_router::control_trouble::MissingControl;
use crate::proxy::reply_router::messages::{Answer, Forward, Reply, ReplyResult};
use crate::proxy::reply_router::slot::RouterHandle;
use crate::proxy::results::store::ResultStore;
use crate::proxy::routing::routes::Route;
use crate::proxy::routing::topics::{KnownTopic, KnownTopics, TopicInUse, TopicUse};
use crate::proxy::rules::Rules;
use crate::proxy::stream::body::{self as stream_body, Source};
use crate::proxy::stream::places::StreamPlaces;
use crate::proxy::trust::Origin;
use crate::wire::native::afterwards;
use crate::wire::{CorrelationId, ReplyError, headers, trace_parent};

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// How long a request waits for a router. A start with existing topics takes less, and so does a router's replacement.
const START_WAIT: Duration = Duration::from_secs(3);

/// What every handler shares.
pub struct Proxy {
    pub instance: Instance,
    pub rules: ArcSwap<Rules>,
    pub topics: Arc<KnownTopics>,
    /// Counts requests that got no topic.
    pub unrouted: TopicMetrics,
    /// Counts requests for results.
    pub of_results: TopicMetrics,
    pub bodies: Bodies,
    pub admission: Admission,
    pub streams: StreamPlaces,
    pub router: watch::Receiver<Option<Arc<RouterHandle>>>,
    /// Control topics that routes require, and that cannot be used.
    pub missing_control: MissingControl,
    pub kafka: KafkaHealth,
    pub phase: Phase,
    /// `None`: the port is plain.
    pub tls: Option<Arc<Tls>>,
    pub metrics: ProxyMetrics,
    /// `None`: no route has answers that are fetched later.
    pub results: Option<ResultStore>,
    /// Told of each request that ends.
    pub exchanges: Exchanges,
}

/// Carries one request through Kafka.
pub async fn forward(request: HttpRequest, mut payload: web::Payload, proxy: web::Data<Proxy>) -> HttpResponse {
    let arrived = Instant::now();
    let id = CorrelationId::new(proxy.instance.tag);
    let rules = proxy.rules.load_full();
    let origin = rules.trusted.origin(&request);
    let mut seen = seen::begin(&proxy.exchanges, &request, id, &origin);
    if let Some(results) = &proxy.results
        && let Some(text) = results.asked(&request)
    {
        let (results, asked, told) = ((results, &*rules), (text, origin), (id, arrived, seen));
        // In boxes of their own, this and the one below: all other requests that wait would carry their room.
        return Box::pin(proxy.serve_result(&request, payload, results, asked, told)).await;
    }
    let destination = proxy.destination(&request, &rules, origin).await;
    let topic = destination.as_ref().ok().map(|to| Arc::clone(&to.request_topic));
    let metrics = topic.as_ref().map_or(&proxy.unrouted, |topic| &topic.metrics);
    seen.counts_for(&metrics.seen);
    let answered = match destination {
        Ok(destination) => {
            let timed = (arrived, &mut seen);
            let (payload, to) = (&mut payload, destination);
            match proxy.accepting(&request, &to) {
                Ok(None) => proxy.carry(&request, payload, id, to, timed).await,
                Ok(Some(accepting)) => Box::pin(proxy.accept(&request, payload, id, to, accepting, timed)).await,
                Err(error) => Err(Failure::NotSent(error)),
            }
        }
        Err(error) => Err(Failure::NotSent(error)),
    };
    let mut response = answered.unwrap_or_else(|failure| {
        if let Failure::NotSent(error) = failure {
            proxy.metrics.rejected(error);
        }
        seen::refused(&mut seen, failure.error());
        let mut response = failure.error().response(Some(id));
        if failure.error() == RequestError::MethodNotAllowed
            && let Ok(methods) = HeaderValue::from_str(&rules.routes.allow(request.uri().path()))
        {
            response.headers_mut().insert(header::ALLOW, methods);
        }
        if let Ok(route) = rules.routes.find(request.method(), request.uri().path()) {
            route.demands.challenge(failure.error(), &mut response);
        }
        if failure.error() == RequestError::BadRequest {
            // Where a body is malformed, the parser finds no next request.
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        with_unread(response, payload)
    });
    if proxy.phase.is_draining() {
        // Its client must open the next connection elsewhere.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    metrics.answered(
        request.method(),
        response.status().as_u16(),
        arrived.elapsed().as_secs_f64(),
    );
    seen::until_written(response, request.method(), seen)
}

/// Where a request goes.
struct Destination<'a> {
    route: &'a Route,
    target: Target<'a>,
    caller: Caller,
    /// What its body may be.
    limits: &'a BodyLimits,
    /// The route's topics, or those that the client names.
    request_topic: TopicInUse,
    reply_topic: TopicInUse,
}

/// Why there is no reply to pass on.
enum Failure {
    /// Kafka never saw the request.
    NotSent(RequestError),
    /// It may have been executed.
    Sent(RequestError),
}

impl Failure {
    fn error(&self) -> RequestError {
        let (Failure::NotSent(error) | Failure::Sent(error)) = self;
        *error
    }
}

impl Proxy {
    /// There is a router, and it reads every warm-up topic.
    pub fn is_positioned(&self) -> bool {
        self.router
            .borrow()
            .as_ref()
            .is_some_and(|router| router.is_positioned())
    }

    /// Where a request goes, and who sends it. Its head alone decides that.
    async fn destination<'a>(
        &'a self,
        request: &'a HttpRequest,
        rules: &'a Rules,
        origin: Origin,
    ) -> Result<Destination<'a>, RequestError> {
        if is_tunnel(request) {
            return Err(RequestError::UpgradeUnsupported);
        }
        if head_size(request) > MAX_HEAD {
            return Err(RequestError::HeadTooLarge);
        }
        let target = Target::of(request, origin)?;
        let route = rules.routes.find(request.method(), request.uri().path())?;
        // Before topics are named, or a token is verified: both cost something.
        if let Some(limit) = &rules.client_limit {
            limit.check(request, &origin)?;
        }
        let caller = rules.auth.check(request, &route.demands).await?;
        let counts = rules.topic_headers && origin.is_trusted;
        let named = |name: &str, wanted: TopicUse, default: &Arc<KnownTopic>| match request.headers().get(name) {
            Some(value) if counts => {
                let topic = value.to_str().map_err(|_| RequestError::BadTopic)?;
                self.topics.named_by_client(topic, wanted)
            }
            _ => Ok(TopicInUse::new(default.clone())),
        };
        Ok(Destination {
            route,
            target,
            caller,
            limits: &rules.body,
            request_topic: named(headers::X_KAFKA_TOPIC, TopicUse::Requests, &route.request_topic)?,
            reply_topic: named(headers::X_KAFKA_REPLY_TOPIC, TopicUse::Replies, &route.reply_topic)?,
        })
    }

    async fn carry(
        &self,
        request: &HttpRequest,
        payload: &mut web::Payload,
        id: CorrelationId,
        destination: Destination<'_>,
        (arrived, seen): (Instant, &mut UnderWay),
    ) -> Result<HttpResponse, Failure> {
        let Destination {
            route,
            target,
            caller,
            limits,
            request_topic,
            reply_topic,
        } = destination;
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
        let owner = Owner {
            id,
            topic: &request_topic,
            format: route.wire_format,
            runs_once: keyed.is_some(),
            limits,
        };
        // A body that would be refused is not read. One that comes slowly takes no place until it is there.
        let permit = admit()?;
        let permit = declared_length(request).is_none().then_some(permit);
        let received = self.bodies.receive(request, payload, owner, deadline, &mut held).await;
        let body = received.map_err(Failure::NotSent)?;
        seen.request_bytes = body.length();
        let remaining = deadline.saturating_duration_since(Instant::now());
        let digest = keyed.is_some().then(|| body.digest());
        let (inline, later) = body.split(route.wire_format);
        let mut content = to_wire(request, &target, route, inline, id, &reply_topic.name, remaining);
        caller.mark(&mut content);
        let is_keyed = keyed.is_some();
        if let (Some(keyed), Some(digest)) = (keyed, digest) {
            keyed.mark(&mut content, digest);
        }
        seen::sends(seen, &mut content);
        let mut record = route.wire_format.encode_request(content);
        let is_elsewhere = self.bodies.put_into(&mut record, later, owner).await;
        if is_elsewhere.map_err(Failure::NotSent)? {
            // A large body may take as long as it comes. From here on its client waits for an answer, and nothing of it is held.
            deadline = Instant::now() + route.timeout;
            afterwards::set_deadline(&mut record, route.timeout);
            held.replace(many_heads(request));
        }
        let permit = permit.map_or_else(admit, Ok)?;
        let router = self
            .positioned_router(deadline)
            .await
            .ok_or(Failure::NotSent(RequestError::Starting))?;
        seen.ends(exchange::Phase::Admission);
        let (reply_tx, reply_rx) = oneshot::channel();
        let sent = Instant::now();
        let forget = ForgetOnDrop::new(&router, id, &self.metrics.disconnects);
        let topic = &*request_topic;
        router.forward(Forward {
            id,
            request_topic: topic.clone(),
            reply_topic: Arc::clone(&reply_topic),
            record,
            is_keyed,
            deadline: deadline.into_std(),
            queue: permit.queue(),
            // What runs once runs to its end, also when its client leaves, and its answer has to fit into a record to be remembered.
            offer: if is_keyed {
                None
            } else {
                self.streams.offer(request, &route.streams)
            },
            reply_tx,
        });
        let reply = tokio::time::timeout_at(deadline, self.reply(reply_rx, &router)).await;
        let result = match reply {
            Err(_elapsed) => {
                seen.ends(exchange::Phase::Reply);
                topic.metrics.timeouts.inc();
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
        topic.metrics.kafka_latency.observe(sent.elapsed().as_secs_f64());
        seen.ends_at(exchange::Phase::Produce, produced);
        seen.ends(exchange::Phase::Reply);
        let record = match answer {
            Answer::Whole(record) => record,
            Answer::Stream(streamed) => {
                let published = self.router.clone();
                let source = Source { id, router, published };
                let name = reply_topic.name.clone();
                let topics = [request_topic, reply_topic];
                seen.reply = Some(streamed.first.clone());
                seen::replied(seen, streamed.writer);
                seen.ending = Ending::answered(streamed.head.status);
                return stream_body::respond(*streamed, source, request.method(), permit, topics).map_err(|error| {
                    self.metrics.malformed_replies.inc();
                    tracing::warn!(topic = %name, correlation_id = %id, %error, "a streamed answer is not HTTP; its client gets 502");
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
