//! Requests whose answers are fetched later: they are accepted once Kafka has them, and nobody waits for them here. And who fetches
//! such an answer.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use tokio::time::Instant;

use super::body::declared_length;
use super::encode::{Encoded, Terms};
use super::request::many_heads;
use super::response::with_unread;
use super::{Destination, Failure, Proxy, seen};
use crate::error::RequestError;
use crate::exchange::{Ending, Phase, RecordPosition, UnderWay};
use crate::proxy::results::location::ResultId;
use crate::proxy::results::places::{Later, Place};
use crate::proxy::results::prefer::Preferences;
use crate::proxy::results::sender::NotTaken;
use crate::proxy::results::store::{METHODS, Request, ResultStore};
use crate::proxy::rules::Rules;
use crate::proxy::trust::Origin;
use crate::wire::beside::StreamOffer;
use crate::wire::sealing::Binding;
use crate::wire::{self, CorrelationId, now_ms};

/// How a request is accepted.
pub struct Accepting<'a> {
    store: &'a ResultStore,
    place: &'a Place,
    later: Later,
    preferences: Preferences,
}

impl Proxy {
    /// Whether a request is to be accepted, its answer fetched later. A client that names topics waits: a result has its route's.
    ///
    /// # Errors
    /// `TopicNotAllowed`: its route takes no request in another way, and it names topics.
    pub(super) fn accepting<'a>(
        &'a self,
        request: &HttpRequest,
        destination: &Destination<'_>,
    ) -> Result<Option<Accepting<'a>>, RequestError> {
        let (Some(store), Some(later)) = (&self.results, destination.route.later) else {
            return Ok(None);
        };
        let preferences = Preferences::of(request.headers());
        if !later.is_required && !preferences.respond_async {
            return Ok(None);
        }
        let place = store.places.get(later.place);
        let is_routes = |place: &&Place| place.request_topic == destination.request_topic.name;
        match place.filter(is_routes) {
            Some(place) => Ok(Some(Accepting {
                store,
                place,
                later,
                preferences,
            })),
            None if later.is_required => Err(RequestError::TopicNotAllowed),
            None => Ok(None),
        }
    }

    /// Accepts a request. It waits in its topic whether or not anybody takes it now.
    pub(super) async fn accept(
        &self,
        request: &HttpRequest,
        payload: &mut web::Payload,
        id: CorrelationId,
        to: &Destination<'_>,
        accepting: Accepting<'_>,
        (arrived, seen): (Instant, &mut UnderWay),
    ) -> Result<HttpResponse, Failure> {
        let Accepting {
            store,
            place,
            later,
            preferences,
        } = accepting;
        let topic = &to.request_topic;
        let principal = to.caller.principal.as_deref();
        seen.asked_by(principal);
        seen.request = Some(RecordPosition::of(&topic.name));
        let not_sent = Failure::NotSent;
        let keyed = to.route.idempotency.keyed(request, principal).map_err(not_sent)?;
        let once_by = keyed.as_ref().map(|keyed| keyed.record_key.clone());
        if self.kafka.is_down() {
            return Err(not_sent(RequestError::KafkaUnavailable));
        }
        let overloaded = || not_sent(RequestError::Overloaded);
        // As where a client waits: a body that comes slowly takes no place until it is there.
        let admit = || store.accept_place().ok_or_else(overloaded);
        let admitted = admit()?;
        let admitted = declared_length(request).is_none().then_some(admitted);
        let mut held = self.bodies.bytes.begin(0).ok_or_else(overloaded)?;
        if !held.grow(many_heads(request)) {
            return Err(overloaded());
        }
        let terms = Terms {
            id,
            reply_topic: &place.results_topic,
            arrived,
            timeout: later.timeout,
            keyed,
        };
        let mut deadline_ms = 0;
        let complete = |content: &mut wire::Request| {
            preferences.leave_out(&mut content.headers);
            content.accepts_stream = Some(StreamOffer::STORED);
            content
                .key
                .get_or_insert_with(|| Bytes::copy_from_slice(&id.to_bytes()));
            deadline_ms = content.deadline_ms.unwrap_or_default();
        };
        let encoded = self.encode((request, payload), to, terms, (&mut held, seen), complete);
        let Encoded { record, is_elsewhere } = encoded.await.map_err(not_sent)?;
        let _admitted = admitted.map_or_else(admit, Ok)?;
        if is_elsewhere {
            deadline_ms = now_ms() + later.timeout.as_millis() as i64;
        }
        let request_topic = &topic.name;
        let sealed = self
            .bodies
            .uploads
            .sealing()
            .seal(record, Binding::Request { request_topic });
        let record = sealed.map_err(|error| {
            tracing::error!(topic = %request_topic, %error, "a request is not sent");
            overloaded()
        })?;
        if record.encoded_size() > self.bodies.records.of(request_topic) {
            return Err(not_sent(RequestError::BodyTooLarge));
        }
        let accepted = Request {
            result: ResultId {
                id,
                place: later.place,
                deadline_ms,
                timeout: later.timeout,
            },
            place,
            principal,
        };
        seen.ends(Phase::Admission);
        let sent = store.accept(&accepted, topic, (record, once_by.as_deref()), to.route.timeout);
        let location = sent.await.map_err(|why| match why {
            NotTaken::Never(error) => not_sent(error),
            NotTaken::Unknown => Failure::Sent(RequestError::ReplyLost),
        })?;
        seen.ends(Phase::Produce);
        // Kafka has it, and nothing of it is here while its client waits.
        drop(held);
        let wait = preferences.wait.map(|wait| wait.min(to.route.timeout));
        let response = store
            .answer_or_accepted(&accepted, &location, wait, request.method())
            .await;
        seen.ending = Ending::answered(response.status().as_u16());
        Ok(response)
    }

    /// Answers who asks for a result, or deletes it.
    pub(super) async fn serve_result(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        (results, rules): (&ResultStore, &Rules),
        (text, origin): (&str, Origin),
        (id, arrived, mut seen): (CorrelationId, Instant, UnderWay),
    ) -> HttpResponse {
        seen.counts_for(&self.of_results.seen);
        let limited = rules.client_limit.as_ref().map(|limit| limit.check(request, &origin));
        let served = match limited.unwrap_or(Ok(())) {
            Ok(()) => results.serve(request, text, &rules.auth).await,
            Err(error) => Err(error),
        };
        seen.ends(Phase::Reply);
        let response = match served {
            Ok(response) => {
                seen.ending = Ending::answered(response.status().as_u16());
                response
            }
            Err(error) => {
                seen::refused(&mut seen, error);
                let mut response = error.response(Some(id));
                results.challenge(text, error, &mut response);
                if error == RequestError::MethodNotAllowed {
                    let methods = HeaderValue::from_static(METHODS);
                    response.headers_mut().insert(header::ALLOW, methods);
                }
                response
            }
        };
        self.answer(
            request,
            with_unread(response, payload),
            (&self.of_results, arrived),
            seen,
        )
    }
}
