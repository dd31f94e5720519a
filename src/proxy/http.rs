//! The HTTP handler: permit → one message to the `ReplyRouter` → one oneshot awaited under the deadline. Holds no state.

use std::sync::Arc;

use actix_web::http::ConnectionType;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::error::RequestError;
use crate::kafka::health::KafkaHealth;
use crate::proxy::in_flight::Admission;
use crate::proxy::instance::Instance;
use crate::proxy::metrics::{ProxyMetrics, TopicMetrics};
use crate::proxy::reply_router::{Forget, Forward, RouterHandle};
use crate::proxy::request::{head_size, is_upgrade, read_body, to_http, to_wire};
use crate::proxy::routes::{Route, Routes};
use crate::proxy::topics::{Topic, Topics};
use crate::shutdown::Phase;
use crate::wire::{CorrelationId, Format, headers};

/// Bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;

/// What every handler shares.
pub struct Proxy {
    pub instance: Instance,
    pub topics: Topics,
    pub routes: Routes,
    /// Counts requests that got no topic.
    pub unrouted: TopicMetrics,
    pub topic_headers: bool,
    pub wire_format: Format,
    pub max_body: usize,
    /// Bytes of an encoded record.
    pub max_record: usize,
    pub admission: Admission,
    pub router: watch::Receiver<Option<RouterHandle>>,
    pub kafka: KafkaHealth,
    pub phase: Phase,
    pub metrics: ProxyMetrics,
}

/// Carries one request through Kafka.
pub async fn forward(request: HttpRequest, payload: web::Payload, proxy: web::Data<Proxy>) -> HttpResponse {
    let arrived = Instant::now();
    let id = CorrelationId::new(proxy.instance.tag);
    let way = proxy.way_of(&request);
    let metrics = way
        .as_ref()
        .map_or(&proxy.unrouted, |way| &way.request_topic.metrics)
        .clone();
    let answered = match way {
        Ok(way) => proxy.carry(&request, payload, id, way, arrived).await,
        Err(error) => Err(Failure::NotSent(error)),
    };
    let mut response = answered.unwrap_or_else(|failure| {
        if let Failure::NotSent(error) = failure {
            proxy.metrics.rejected(error);
        }
        let mut response = failure.error().response(Some(id));
        if failure.error() == RequestError::MethodNotAllowed
            && let Ok(methods) = HeaderValue::from_str(&proxy.routes.allow(request.uri().path()))
        {
            response.headers_mut().insert(header::ALLOW, methods);
        }
        response
    });
    if proxy.phase.is_draining() {
        // Whatever is in front must open its next connection elsewhere.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    metrics.answered(
        request.method(),
        response.status().as_u16(),
        arrived.elapsed().as_secs_f64(),
    );
    response
}

/// Where a request goes.
struct Way<'a> {
    route: &'a Route,
    /// The route's, or those that the client names.
    request_topic: Arc<Topic>,
    reply_topic: Arc<Topic>,
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
        self.router.borrow().as_ref().is_some_and(RouterHandle::is_positioned)
    }

    /// Where a request goes, told from its head alone.
    fn way_of(&self, request: &HttpRequest) -> Result<Way<'_>, RequestError> {
        if is_upgrade(request) {
            return Err(RequestError::UpgradeUnsupported);
        }
        if head_size(request) > MAX_HEAD {
            return Err(RequestError::HeadTooLarge);
        }
        let route = self.routes.find(request.method(), request.uri().path())?;
        let named = |name: &str, default: &Arc<Topic>| match request.headers().get(name) {
            Some(value) if self.topic_headers => self
                .topics
                .named_by_client(value.to_str().map_err(|_| RequestError::BadTopic)?),
            _ => Ok(default.clone()),
        };
        Ok(Way {
            route,
            request_topic: named(headers::X_KAFKA_TOPIC, &route.request_topic)?,
            reply_topic: named(headers::X_KAFKA_REPLY_TOPIC, &route.reply_topic)?,
        })
    }

    async fn carry(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        id: CorrelationId,
        way: Way<'_>,
        arrived: Instant,
    ) -> Result<HttpResponse, Failure> {
        let Way {
            route,
            request_topic,
            reply_topic,
        } = way;
        if self.kafka.is_down() {
            return Err(Failure::NotSent(RequestError::KafkaUnavailable));
        }
        let permit = self
            .admission
            .admit(&request_topic.load)
            .ok_or(Failure::NotSent(RequestError::Overloaded))?;
        let deadline = arrived + route.timeout;
        let body = read_body(request, payload, self.max_body, deadline)
            .await
            .map_err(Failure::NotSent)?;
        let remaining = deadline.saturating_duration_since(Instant::now());
        let record = self
            .wire_format
            .encode_request(to_wire(request, route, body, id, &reply_topic.name, remaining));
        if record.encoded_size() > self.max_record {
            return Err(Failure::NotSent(RequestError::BodyTooLarge));
        }
        let router = self
            .router
            .borrow()
            .clone()
            .filter(|router| router.addr.connected())
            .ok_or(Failure::NotSent(RequestError::Starting))?;
        let (reply_tx, reply_rx) = oneshot::channel();
        let sent = Instant::now();
        let forget = ForgetOnDrop {
            router: &router,
            id,
            proxy: self,
            armed: true,
        };
        let metrics = request_topic.metrics.clone();
        router.addr.do_send(Forward {
            id,
            request_topic,
            reply_topic,
            record,
            deadline: deadline.into_std(),
            reply_tx,
        });
        let reply = tokio::time::timeout_at(deadline, self.reply(reply_rx, &router)).await;
        let result = match reply {
            Err(_elapsed) => {
                metrics.timeouts.inc();
                forget.forget();
                return Err(Failure::Sent(RequestError::ReplyTimeout));
            }
            Ok(result) => result,
        };
        forget.disarm();
        drop(permit);
        let record = result.map_err(|error| match error {
            RequestError::ReplyLost => Failure::Sent(error),
            error => Failure::NotSent(error),
        })?;
        metrics.kafka_latency.observe(sent.elapsed().as_secs_f64());
        to_http(&record, id, request.method()).map_err(|error| {
            self.metrics.malformed_replies.inc();
            tracing::warn!(topic = %record.topic, partition = record.partition, offset = record.offset, %error, "reply passed over; its client gets 502");
            Failure::Sent(RequestError::ReplyLost)
        })
    }

    /// The router's answer. A router that died drops its senders; one that froze keeps them, but is no longer the published one.
    async fn reply(
        &self,
        reply_rx: oneshot::Receiver<crate::proxy::reply_router::ReplyResult>,
        router: &RouterHandle,
    ) -> crate::proxy::reply_router::ReplyResult {
        let mut published = self.router.clone();
        let replaced = |now: &Option<RouterHandle>| now.as_ref().is_none_or(|now| now.generation != router.generation);
        tokio::select! {
            biased;
            reply = reply_rx => reply.unwrap_or(Err(RequestError::ReplyLost)),
            _ = published.wait_for(replaced) => Err(RequestError::ReplyLost),
        }
    }
}

/// Tells the router that nobody waits any more: at the deadline, or when actix-web drops the handler because the client left.
struct ForgetOnDrop<'a> {
    router: &'a RouterHandle,
    id: CorrelationId,
    proxy: &'a Proxy,
    armed: bool,
}

impl ForgetOnDrop<'_> {
    fn forget(mut self) {
        self.armed = false;
        self.router.addr.do_send(Forget(self.id));
    }

    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.proxy.metrics.disconnects.inc();
            self.router.addr.do_send(Forget(self.id));
        }
    }
}
