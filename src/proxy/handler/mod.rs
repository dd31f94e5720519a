//! The HTTP handler: takes a permit, sends one message to the router, and awaits one oneshot until the deadline. It holds no state.
//!
//! - [`carry`]: carries a request whose client waits, from its body to its answer.
//! - [`encode`]: a request as its record.
//! - [`request`]: from HTTP to the wire.
//! - [`body`]: reads the body.
//! - [`receive`]: takes it in, into its record or beside it.
//! - [`forget`]: tells the router that nobody waits any more.
//! - [`response`]: from the wire to HTTP.
//! - [`later`]: accepts a request whose answer is fetched later.
//! - [`seen`]: what is told of the request, to its last byte. [`timing`]: what its client is told.

pub mod body;
mod carry;
mod encode;
mod forget;
mod later;
pub mod receive;
pub mod request;
pub mod response;
pub mod seen;
pub mod timing;

use std::sync::Arc;

use actix_web::http::ConnectionType;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::exchange::{Exchanges, UnderWay};
use crate::kafka::cluster::health::KafkaHealth;
use crate::process::phase::Phase;
use crate::proxy::admission::in_flight::Admission;
use crate::proxy::auth::Caller;
use crate::proxy::connection::tls::Tls;
use crate::proxy::handler::body::BodyLimits;
use crate::proxy::handler::receive::Bodies;
use crate::proxy::handler::request::{Target, head_size, is_tunnel};
use crate::proxy::handler::response::with_unread;
use crate::proxy::instance::Instance;
use crate::proxy::metrics::{ProxyMetrics, TopicMetrics};
use crate::proxy::reply_router::control_trouble::MissingControl;
use crate::proxy::reply_router::slot::RouterHandle;
use crate::proxy::results::store::ResultStore;
use crate::proxy::routing::routes::Route;
use crate::proxy::routing::topics::{KnownTopic, KnownTopics, TopicInUse, TopicUse};
use crate::proxy::rules::Rules;
use crate::proxy::stream::places::StreamPlaces;
use crate::proxy::trust::Origin;
use crate::wire::{CorrelationId, headers};

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

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
    let metrics = destination
        .as_ref()
        .map_or(&proxy.unrouted, |to| &to.request_topic.metrics);
    seen.counts_for(&metrics.seen);
    let answered = match &destination {
        Ok(to) => {
            let (payload, timed) = (&mut payload, (arrived, &mut seen));
            match proxy.accepting(&request, to) {
                Ok(None) => proxy.carry(&request, payload, id, to, timed).await,
                Ok(Some(accepting)) => Box::pin(proxy.accept(&request, payload, id, to, accepting, timed)).await,
                Err(error) => Err(Failure::NotSent(error)),
            }
        }
        Err(error) => Err(Failure::NotSent(*error)),
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
    rules.timing.tell(&mut response, &seen);
    proxy.answer(&request, response, (metrics, arrived), seen)
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

    /// Gives an answer to its connection: what is counted of each, and told once it is written.
    fn answer(
        &self,
        request: &HttpRequest,
        mut response: HttpResponse,
        (metrics, arrived): (&TopicMetrics, Instant),
        seen: UnderWay,
    ) -> HttpResponse {
        if self.phase.is_draining() {
            // Its client must open the next connection elsewhere.
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        let seconds = arrived.elapsed().as_secs_f64();
        metrics.answered(request.method(), response.status().as_u16(), seconds);
        seen::until_written(response, request.method(), seen)
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
}
