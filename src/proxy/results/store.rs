//! Accepts requests, and finds their results: what the handler asks of this folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::kafka::config::Purpose;
use crate::kafka::range_reader::Range;
use crate::proxy::admission::bytes::ByteBudget;
use crate::proxy::auth::Auth;
use crate::proxy::handler::response::{Content, holding, stream_head, to_http};
use crate::proxy::results::body::body;
use crate::proxy::results::fetcher::{FetchError, Fetched, Fetcher, Wanted};
use crate::proxy::results::index::{self, Found};
use crate::proxy::results::location::{Locations, ResultId};
use crate::proxy::results::metrics::{Outcome, ResultsMetrics};
use crate::proxy::results::pending::pending;
use crate::proxy::results::places::{Place, Places};
use crate::proxy::results::prefer::Preferences;
use crate::proxy::results::sender::{NotTaken, Sender};
use crate::proxy::results::view::{Accepted, Find, IndexView};
use crate::proxy::routing::topics::{KnownTopic, KnownTopics};
use crate::wire::{Record, SharedSealing, headers, now_ms};

/// What may be done with a result.
pub const METHODS: &str = "GET, HEAD, DELETE";
/// How often whoever waits looks whether the index is complete.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the reader has to say what it knows.
const ANSWER_IN: Duration = Duration::from_secs(5);

/// Everything that answers that are fetched later need.
pub struct ResultStore {
    /// Before an id.
    pub path: String,
    /// Those of now.
    pub topics: Arc<KnownTopics>,
    pub places: Places,
    pub locations: Locations,
    pub sender: Sender,
    pub fetcher: Fetcher,
    pub sealing: SharedSealing,
    pub view: Arc<IndexView>,
    /// Requests that are being accepted, and how many may be.
    pub accepting: AtomicUsize,
    pub max_accepting: usize,
    /// The longest that whoever asks for a result waits.
    pub max_wait: Duration,
    pub bytes: ByteBudget,
    pub metrics: ResultsMetrics,
}

/// A request that is to be accepted.
pub struct Request<'a> {
    pub result: ResultId,
    pub place: &'a Place,
    pub principal: Option<&'a str>,
}

/// A place among the requests that are being accepted.
pub struct AcceptPlace<'a>(&'a AtomicUsize);

impl Drop for AcceptPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ResultStore {
    /// The id that a request asks for the result of; `None`: it asks for none.
    pub fn asked<'a>(&self, request: &'a HttpRequest) -> Option<&'a str> {
        request.uri().path().strip_prefix(&*self.path)
    }

    /// For `GET /status`.
    pub fn status(&self) -> Value {
        json!({
            "indexed": self.metrics.indexed.get(),
            "pending": self.metrics.pending.get(),
            "waiting": self.metrics.waiting.get(),
            "topics": self.view.status(),
        })
    }

    /// `None`: as many are being accepted as may be.
    pub fn accept_place(&self) -> Option<AcceptPlace<'_>> {
        let one_more = |taken| (taken < self.max_accepting).then_some(taken + 1);
        self.accepting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| AcceptPlace(&self.accepting))
    }

    /// Writes the record of a request to its topic, and comes back with its Location once Kafka has it. The record is sealed, and no
    /// larger than its topic takes; beside it, the key by which it runs once.
    ///
    /// # Errors
    /// Kafka does not have it, or that is not known.
    pub async fn accept(
        &self,
        request: &Request<'_>,
        topic: &KnownTopic,
        (record, once_by): (Record, Option<&[u8]>),
        limit: Duration,
    ) -> Result<String, NotTaken> {
        let Request { result, place, .. } = request;
        let opened = self.sender.open(&topic.name, Purpose::Requests).await;
        opened.map_err(NotTaken::Never)?;
        let results = Purpose::Results { kept: place.kept };
        let opened = self.sender.open(&place.results_topic, results).await;
        opened.map_err(NotTaken::Never)?;
        self.sender.send_by(once_by, &topic.name, record, limit).await?;
        self.metrics.accepted(topic.metrics.label());
        let reader = self.view.reader.borrow().clone();
        if let Some(reader) = reader {
            let accepted = Accepted {
                id: result.id,
                deadline: (result.deadline_ms / 1000).clamp(0, u32::MAX.into()) as u32,
            };
            // Err: its mailbox is full, or it has ended. Only a gauge lacks this one.
            let _ = reader.accepted.try_send(accepted);
        }
        let id = self.locations.write(result, request.principal);
        Ok(format!("{}{id}", self.path))
    }

    /// What a client gets for a request that was accepted: its answer if that comes within `wait`, else 202.
    pub async fn answer_or_accepted(
        &self,
        request: &Request<'_>,
        location: &str,
        wait: Option<Duration>,
        method: &Method,
    ) -> HttpResponse {
        if let Some(wait) = wait
            && let Ok(Some(found)) = self.find(&request.result, request.place, Some(wait)).await
            && let Ok(mut response) = self.fetch(&request.result, request.place, found, method).await
        {
            applied(&mut response, (false, Some(wait)));
            return response;
        }
        pending(&request.result, location, (true, wait))
    }

    /// The answer to a request for a result.
    ///
    /// # Errors
    /// There is none for this client.
    pub async fn serve(&self, request: &HttpRequest, id: &str, auth: &Auth) -> Result<HttpResponse, RequestError> {
        let served = self.served(request, id, auth).await;
        self.metrics.answered(match &served {
            Ok((_, outcome)) => *outcome,
            Err(RequestError::ReplyTimeout) => Outcome::TimedOut,
            Err(RequestError::ResultGone) => Outcome::Gone,
            Err(RequestError::Starting) => Outcome::Starting,
            Err(RequestError::KafkaUnavailable | RequestError::Overloaded | RequestError::ReplyLost) => Outcome::Unread,
            Err(_) => Outcome::Unknown,
        });
        served.map(|(response, _)| response)
    }

    async fn served(
        &self,
        request: &HttpRequest,
        id: &str,
        auth: &Auth,
    ) -> Result<(HttpResponse, Outcome), RequestError> {
        let asks = matches!(*request.method(), Method::GET | Method::HEAD);
        if !asks && *request.method() != Method::DELETE {
            return Err(RequestError::MethodNotAllowed);
        }
        let (result, place) = self.result_of(request, id, auth).await?;
        if !asks {
            self.cancel(&result, place).await?;
            return Ok((HttpResponse::NoContent().finish(), Outcome::Cancelled));
        }
        let wait = Preferences::of(request.headers()).wait;
        let wait = wait.map(|wait| wait.min(self.max_wait));
        match self.find(&result, place, wait).await? {
            Some(found) => {
                let mut response = self.fetch(&result, place, found, request.method()).await?;
                applied(&mut response, (false, wait));
                Ok((response, Outcome::Found))
            }
            None => {
                let response = pending(&result, request.uri().path(), (false, wait));
                Ok((response, Outcome::Pending))
            }
        }
    }

    /// Says in an answer what would prove who asks.
    pub fn challenge(&self, id: &str, error: RequestError, response: &mut HttpResponse) {
        let place = Locations::read(id).and_then(|id| self.places.get(id.result.place));
        if let Some(demands) = place.and_then(|place| place.demands.first()) {
            demands.challenge(error, response);
        }
    }

    /// What an id says, where this client may use it. A client may be of any of the routes that lead to its place.
    async fn result_of(
        &self,
        request: &HttpRequest,
        id: &str,
        auth: &Auth,
    ) -> Result<(ResultId, &Place), RequestError> {
        let unchecked = Locations::read(id).ok_or(RequestError::NoResult)?;
        let place = self.places.get(unchecked.result.place).ok_or(RequestError::NoResult)?;
        let mut refused = None;
        for demands in &place.demands {
            match auth.check(request, demands).await {
                Ok(caller) if self.locations.is_of(&unchecked, caller.principal.as_deref()) => {
                    return Ok((unchecked.result, place));
                }
                Ok(_) => refused = Some(RequestError::NoResult),
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        Err(refused.unwrap_or(RequestError::NoResult))
    }

    /// Where a result is; `None`: there is none yet, and none came within `wait`.
    ///
    /// # Errors
    /// There will be none, or it is not known yet.
    async fn find(
        &self,
        result: &ResultId,
        place: &Place,
        wait: Option<Duration>,
    ) -> Result<Option<index::Place>, RequestError> {
        let until = Instant::now() + wait.unwrap_or_default();
        loop {
            let (waiter, waits) = oneshot::channel();
            let waiter = (Instant::now() < until).then_some(waiter);
            let (found, is_whole) = self.known(result, place, waiter).await?;
            let now = now_ms();
            match found {
                Found::Result(found) => return Ok(Some(found)),
                Found::Gone => return Err(RequestError::ResultGone),
                // What is found meanwhile is the result all the same.
                Found::Nothing if !is_whole && Instant::now() >= until => return Err(RequestError::Starting),
                Found::Nothing if !is_whole => {}
                Found::Nothing if now >= result.deadline_ms => {
                    let over = result.since_ms().saturating_add(place.kept.as_millis() as i64);
                    return Err(match now >= over {
                        true => RequestError::ResultGone,
                        false => RequestError::ReplyTimeout,
                    });
                }
                Found::Nothing if Instant::now() >= until => return Ok(None),
                Found::Nothing => {}
            }
            // After the deadline there is nothing to wait for, once that is known.
            let look_again = match is_whole {
                true => Duration::from_millis((result.deadline_ms - now).max(0) as u64),
                false => LOOK_AGAIN,
            };
            let until = until.min(Instant::now() + look_again);
            match tokio::time::timeout_at(until, waits).await {
                Ok(Ok(())) | Err(_) => {}
                // Too many wait, or there is another reader.
                Ok(Err(_)) => return Ok(None),
            }
        }
    }

    /// What the index knows, and whether that is all.
    async fn known(
        &self,
        result: &ResultId,
        place: &Place,
        waiter: Option<oneshot::Sender<()>>,
    ) -> Result<(Found, bool), RequestError> {
        let reader = self.view.reader.borrow().clone().ok_or(RequestError::Starting)?;
        // Asked before: what is indexed meanwhile is found.
        let is_whole = self.view.is_whole(place.topic);
        let find = reader.find.send(Find { id: result.id, waiter });
        match tokio::time::timeout(ANSWER_IN, find).await {
            Ok(Ok(found)) => Ok((found, is_whole)),
            _ => Err(RequestError::Starting),
        }
    }

    async fn fetch(
        &self,
        result: &ResultId,
        place: &Place,
        found: index::Place,
        method: &Method,
    ) -> Result<HttpResponse, RequestError> {
        let wanted = Wanted {
            id: result.id,
            request_topic: place.request_topic.clone(),
            range: Range {
                topic: place.results_topic.clone(),
                partition: found.partition,
                first: found.first,
                last: found.last,
            },
        };
        let fetched = self.fetcher.fetch(wanted).await.map_err(|error| match error {
            FetchError::Gone(_) => RequestError::ResultGone,
            FetchError::Unread(_) => RequestError::KafkaUnavailable,
            FetchError::Busy => RequestError::Overloaded,
        })?;
        let not_http = |error: String| {
            tracing::warn!(topic = %place.results_topic, correlation_id = %result.id, error, "a result is not HTTP; its client gets 502");
            RequestError::ReplyLost
        };
        match fetched {
            Fetched::Whole(record) => {
                let length = record.value.as_ref().map_or(0, Bytes::len);
                let held = self.bytes.take(length).ok_or(RequestError::Overloaded)?;
                let response = to_http(&record, result.id, method);
                let (response, _) = response.map_err(|error| not_http(error.to_string()))?;
                Ok(holding(response, held))
            }
            Fetched::Pieces(mut first, pieces) => {
                let head = first
                    .head
                    .take()
                    .ok_or_else(|| not_http("its first piece is missing".into()))?;
                let (response, content) =
                    stream_head(head, result.id, method).map_err(|error| not_http(error.to_string()))?;
                let body = body(first, pieces);
                Ok(match content {
                    Content::Nothing => response,
                    Content::Follows(Some(length)) => response
                        .set_body(actix_web::body::SizedStream::new(length, Box::pin(body)))
                        .map_into_boxed_body(),
                    Content::Follows(None) => response
                        .set_body(actix_web::body::BodyStream::new(Box::pin(body)))
                        .map_into_boxed_body(),
                })
            }
        }
    }
}

fn applied(response: &mut HttpResponse, which: (bool, Option<Duration>)) {
    let applied = Preferences::applied(which.0, which.1);
    if let Some(value) = applied.and_then(|applied| header::HeaderValue::from_str(&applied).ok()) {
        let name = header::HeaderName::from_static(headers::PREFERENCE_APPLIED);
        response.headers_mut().insert(name, value);
    }
}
