//! What the attempts to call one topic's backend share: the limits on calls, and what is known of the backend's state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::{Breaker, ProbeSlot, State};
use crate::processor::backend::call_pool::CallPlaces;
use crate::processor::backend::client::Backend;
use crate::processor::backend::open_body::{ReadError, WholeAnswers};
use crate::processor::backend::outcome::{Answer, BackendError};
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::bodies::BodyError;
use crate::processor::bodies::assembly::Wanted;
use crate::processor::bodies::readers::{BodyReaders, ReaderPlace};
use crate::processor::metrics::TopicMetrics;
use crate::processor::record::rate_limit::RateLimit;
use crate::settings::{BreakerMode, Topic};
use crate::wire::Request;
use crate::wire::correlation::id_text;
use crate::wire::trace_parent::TraceParent;

/// One worker's way to its backend. Made on the Arbiter that the calls run on: the connections live there.
pub struct Caller {
    pub topic: Topic,
    pub backend: Backend,
    /// Its places among the calls of the process.
    pub places: CallPlaces,
    /// How often a record may begin; shared by the topic's workers. `None`: records begin as they come.
    pub rate_limit: Option<Arc<RateLimit>>,
    /// Shared by the topic's workers.
    pub retry_budget: Arc<RetryBudget>,
    /// Shared by all topics with the same backend. `None`: switched off.
    pub breaker: Option<Arc<Breaker>>,
    /// Held by the one attempt of this worker that probes a half-open breaker.
    pub probe: ProbeSlot,
    /// Of the whole process.
    pub body_readers: BodyReaders,
    /// Where large bodies lie.
    pub bodies_topic: Arc<str>,
    /// Health checks are switched on, so the backend's health page may be asked for.
    pub asks_health: bool,
    pub metrics: TopicMetrics,
}

impl Caller {
    /// Calls the backend once, within `timeout`. `reader`: for a body that lies elsewhere; `span`: what the backend is told that it is called
    /// by. `whole`: which answers are read to their end;
    /// `None`: all.
    ///
    /// # Errors
    /// There is no answer that could be passed on.
    pub async fn call(
        &self,
        request: &Request,
        (reader, span): (Option<ReaderPlace>, Option<TraceParent>),
        timeout: Duration,
        whole: Option<&WholeAnswers<'_>>,
    ) -> Result<Answer, BackendError> {
        let began = Instant::now();
        let outcome = match (request.body_elsewhere, reader) {
            (Some(place), Some(reader)) => {
                let wanted = Wanted {
                    topic: self.bodies_topic.clone(),
                    correlation_id: request.correlation_id.clone(),
                    place,
                };
                self.call_with_body((request, span), (reader, wanted), timeout, whole)
                    .await
            }
            _ => self.backend.call((request, span), None, timeout, whole).await,
        };
        self.metrics.backend_latency.observe(began.elapsed().as_secs_f64());
        if let Err(error) = &outcome {
            if !matches!(error, BackendError::BadMessage(_) | BackendError::Body { .. }) {
                self.metrics.backend_errors.inc();
            }
            tracing::debug!(topic = %self.topic.request_topic, backend = %self.topic.backend_url,
                correlation_id = id_text(&request.correlation_id), %error, "backend call failed");
        }
        outcome
    }

    /// The backend is called once the body's first piece is there: one that is gone costs no call.
    async fn call_with_body(
        &self,
        request: (&Request, Option<TraceParent>),
        (reader, wanted): (ReaderPlace, Wanted),
        timeout: Duration,
        whole: Option<&WholeAnswers<'_>>,
    ) -> Result<Answer, BackendError> {
        let began = Instant::now();
        let opened = tokio::time::timeout(timeout, reader.open(wanted)).await;
        let late = |_| BodyError::Unread("Kafka gave none of it in time".into());
        let failed = |begun| move |error| BackendError::Body { error, begun };
        let (body, reading) = opened.map_err(late).flatten().map_err(failed(false))?;
        let left = timeout.saturating_sub(began.elapsed());
        let outcome = self.backend.call(request, Some(body), left, whole).await;
        match (outcome, reading.failure()) {
            (Err(_), Some(failure)) => Err(failed(true)(failure)),
            (Err(error), None) => Err(error),
            (Ok(mut answer), _) => {
                // A backend may still take the body while it answers.
                if let Some(rest) = &mut answer.rest {
                    rest.reading = Some(reading);
                }
                Ok(answer)
            }
        }
    }

    /// The backend broke off an answer that streams. The breaker counted a success at its head, and counts a failure now.
    pub fn broke_off(&self, correlation_id: &[u8], error: &ReadError) {
        let topic = &self.topic;
        tracing::warn!(topic = %topic.request_topic, backend = %topic.backend_url, correlation_id = id_text(correlation_id), %error, "the backend broke off an answer that streams");
        self.metrics.backend_errors.inc();
        if let Some(breaker) = &self.breaker {
            breaker.record(true, None, monotonic_ms());
        }
    }

    /// Records wait while the breaker is open, instead of being answered 503.
    pub fn pauses(&self) -> bool {
        self.topic.breaker.mode == BreakerMode::Pause
    }

    /// The state of the breaker now; closed where it is switched off.
    pub fn breaker_state(&self) -> State {
        let state = |breaker: &Arc<Breaker>| breaker.state(monotonic_ms());
        self.breaker.as_ref().map_or(State::Closed, state)
    }

    /// Comes with the next change of the breaker, counted from the call of this function and not from its first poll.
    pub fn breaker_changed(&self) -> impl Future<Output = ()> + use<> {
        let changes = self.breaker.as_ref().map(|breaker| breaker.changes());
        async {
            match changes {
                Some(mut changes) => drop(changes.changed().await),
                None => std::future::pending().await,
            }
        }
    }
}
