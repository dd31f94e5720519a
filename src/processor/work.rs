//! One record's way through the processor: is it well formed, does anybody wait for it, what does the backend say, where does the
//! answer go. Runs as a task of its own on the worker's Arbiter; what becomes of each kind of record is the table in the README.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use globset::GlobSet;
use governor::DefaultDirectRateLimiter;
use rdkafka::producer::Producer as _;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use crate::kafka::admin::TopicAdmin;
use crate::kafka::health::KafkaHealth;
use crate::kafka::intake::{Intake, Lease, PumpHandle};
use crate::kafka::producer::Producer;
use crate::kafka::topic_name::{is_internal, is_legal};
use crate::processor::backend::{Answer, Backend, BackendError};
use crate::processor::delivery::{Deliveries, Parcel, Settlement, Undelivered, dispatch, error_response};
use crate::processor::metrics::TopicMetrics;
use crate::processor::retry;
use crate::processor::trouble::{DeadLetterTrouble, Once};
use crate::settings::Topic;
use crate::supervision::spawn_watched::panic_message;
use crate::wire::dead_letter::{Cause, DeadLetter};
use crate::wire::{self, Format, RawRecord, ReplyError, Request, Response, WireError};

/// What all records of one worker share.
pub struct Worker {
    pub topic: Topic,
    pub response_topic: Arc<str>,
    pub allowed_reply_topics: GlobSet,
    /// Request and dead letter topics: a reply there would come round again.
    pub forbidden_reply_topics: Arc<HashSet<String>>,
    pub dead_letter_topic: Option<Arc<str>>,
    pub producer: Arc<Producer<Deliveries>>,
    pub pump: PumpHandle,
    /// This worker's backend calls.
    pub concurrency: Semaphore,
    /// The whole process's.
    pub all_calls: Arc<Semaphore>,
    pub rate_limit: Option<Arc<DefaultDirectRateLimiter>>,
    pub clock_tolerance: Duration,
    pub max_record: usize,
    pub kafka: KafkaHealth,
    pub metrics: TopicMetrics,
    pub undelivered: mpsc::UnboundedSender<Undelivered>,
    pub dead_letter_trouble: DeadLetterTrouble,
    pub admin: TopicAdmin,
    pub once: Once,
}

/// Where a reply goes.
type Destination = (Arc<str>, Option<i32>);

/// Works on one record from intake to the sending of its reply. A panic on the way ends in a 500 and a dead letter: one record must
/// neither restart a worker for ever nor hold up its partition.
pub async fn run(worker: Arc<Worker>, backend: Rc<Backend>, intake: Intake) {
    let settlement = Settlement::new(&worker, &intake);
    if let Err(panic) = AssertUnwindSafe(work(&settlement, &backend, &intake))
        .catch_unwind()
        .await
    {
        let cause = panic_message(&*panic);
        give_up(
            &settlement,
            &intake.record,
            &cause,
            ReplyError::ProcessorFailed,
            wire::reply_address(&intake.record),
        );
    }
}

async fn work(settlement: &Arc<Settlement>, backend: &Backend, intake: &Intake) {
    let worker = &settlement.worker;
    let Intake {
        record,
        lease,
        no_backlog,
        ..
    } = intake;
    let request = match wire::decode_request(record) {
        Ok(request) => request,
        Err(error) => {
            let cause = error.to_string();
            return give_up(settlement, record, &cause, ReplyError::BadMessage, error);
        }
    };
    let Some(deadline) = Deadline::of(&request, *no_backlog && !worker.kafka.is_down(), worker) else {
        return expired(settlement);
    };
    let destination = worker.destination(request.reply_topic.as_deref(), request.reply_partition);
    let mut attempts = 0;
    let outcome = loop {
        let permits = tokio::select! {
            biased;
            () = lease.cancelled(), if attempts == 0 => return settlement.release(),
            () = deadline.passed() => None,
            permits = worker.permits(attempts == 0) => permits,
        };
        if permits.is_none() || deadline.remaining().is_zero() {
            if attempts == 0 {
                return expired(settlement);
            }
            break Err(BackendError::Timeout(worker.topic.timeout));
        }
        attempts += 1;
        let outcome = worker.attempt(backend, &request, &deadline).await;
        drop(permits);
        if attempts > worker.topic.max_retries || !retry::is_worth_another(&request, &outcome) {
            break outcome;
        }
        let wait = retry::wait_before(attempts);
        if wait >= deadline.remaining() {
            break outcome;
        }
        if !pause(wait, lease).await {
            return settlement.release();
        }
        worker.metrics.retries.inc();
        tracing::debug!(topic = %worker.topic.request_topic, attempts, "backend attempt repeated");
    };
    answer(
        settlement,
        record,
        request,
        outcome,
        attempts,
        destination,
        deadline.until,
    );
}

/// False: the partition was revoked meanwhile; the next owner may repeat it, as it was worth that.
async fn pause(wait: Duration, lease: &Lease) -> bool {
    tokio::select! {
        () = lease.cancelled() => false,
        () = actix::clock::sleep(wait) => true,
    }
}

impl Worker {
    /// The right to call the backend: a place in the rate limit (once a record), in this worker and in the process. `None` never
    /// comes: the semaphores are not closed.
    async fn permits(&self, first: bool) -> Option<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        if let (Some(limit), true) = (&self.rate_limit, first) {
            limit.until_ready().await;
        }
        let own = self.concurrency.acquire().await.ok()?;
        Some((own, self.all_calls.acquire().await.ok()?))
    }

    async fn attempt(&self, backend: &Backend, request: &Request, deadline: &Deadline) -> Result<Answer, BackendError> {
        let began = Instant::now();
        let outcome = backend
            .call(request, self.topic.timeout.min(deadline.remaining()))
            .await;
        self.metrics.backend_latency.observe(began.elapsed().as_secs_f64());
        if let Err(error) = &outcome {
            self.metrics.backend_errors.inc();
            tracing::debug!(topic = %self.topic.request_topic, backend = %self.topic.backend_url, %error, "backend call failed");
        }
        outcome
    }

    /// Looks for a topic that Kafka did not know, creating it where it is one of ours.
    pub async fn ensure_topic(&self, topic: &Arc<str>) {
        let ours = *topic == self.response_topic || Some(topic) == self.dead_letter_topic.as_ref();
        let (admin, producer, topic) = (self.admin.clone(), self.producer.clone(), topic.clone());
        let ensure = move || admin.ensure(producer.client().client(), &topic, ours);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(ensure).await {
            tracing::debug!(%error, "topic not found");
        }
    }

    /// Where a request's reply may go: the topic it names where that is allowed, else the configured one.
    fn destination(&self, named: Option<&str>, partition: Option<i32>) -> Destination {
        match named {
            None => (self.response_topic.clone(), None),
            Some(named) if named == &*self.response_topic => (self.response_topic.clone(), partition),
            Some(named) if self.may_reply_to(named) => (Arc::from(named), partition),
            Some(named) => {
                self.metrics.refused_reply_topics.inc();
                self.once.refused_reply_topic(named, &self.response_topic);
                (self.response_topic.clone(), None)
            }
        }
    }

    fn may_reply_to(&self, topic: &str) -> bool {
        is_legal(topic)
            && !is_internal(topic)
            && !self.forbidden_reply_topics.contains(topic)
            && self.allowed_reply_topics.is_match(topic)
    }

    fn dead_letter(
        &self,
        record: &RawRecord,
        exception: &str,
        error: ReplyError,
        attempts: u32,
    ) -> Option<(Arc<str>, Option<i32>, Parcel)> {
        let topic = self.dead_letter_topic.clone()?;
        let cause = Cause {
            group: &self.topic.consumer_group,
            exception,
            error,
            attempts,
        };
        let mut letter = DeadLetter::new(record, &cause);
        letter.fit(self.max_record);
        Some((topic, None, Parcel::DeadLetter(letter)))
    }
}

/// How long somebody waits for the answer, by this machine's clock.
struct Deadline {
    /// `None`: the request says nothing; the backend's own timeouts bound it.
    until: Option<Instant>,
}

impl Deadline {
    /// `None`: it has passed, beyond the tolerance for clocks that differ, so nobody waits. Not so where there was no backlog: the
    /// record cannot have waited here, so a clock is wrong; it is executed within the span the request names.
    fn of(request: &Request, no_backlog: bool, worker: &Worker) -> Option<Self> {
        let Some(deadline_ms) = request.deadline_ms else {
            return Some(Deadline { until: None });
        };
        let now_ms = wire::now_ms();
        let span = request
            .timeout_ms
            .map_or(worker.topic.timeout, |ms| Duration::from_millis(ms.max(0) as u64));
        if no_backlog {
            worker
                .metrics
                .clock_skew
                .set((now_ms - (deadline_ms - span.as_millis() as i64)) as f64 / 1000.0);
        }
        let left = deadline_ms
            .saturating_add(worker.clock_tolerance.as_millis() as i64)
            .saturating_sub(now_ms);
        let left = match u64::try_from(left) {
            // A clock that is behind must not stretch the span; without one, the deadline alone counts.
            Ok(left) if left > 0 && request.timeout_ms.is_some() => Duration::from_millis(left).min(span),
            Ok(left) if left > 0 => Duration::from_millis(left),
            _ if no_backlog => {
                worker.once.clock(Duration::from_millis(left.unsigned_abs()));
                span
            }
            _ => return None,
        };
        Some(Deadline {
            until: Some(Instant::now() + left),
        })
    }

    fn remaining(&self) -> Duration {
        self.until
            .map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }

    async fn passed(&self) {
        match self.until {
            Some(until) => actix::clock::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// Nobody waits for it: it is not sent, and committed at once.
fn expired(settlement: &Arc<Settlement>) {
    settlement.worker.metrics.expired.inc();
    settlement.worker.metrics.finished("expired");
    settlement.done();
}

/// Ends a record that cannot be worked on: the waiting client, where it can be known, gets 500 at once; the record is dead-lettered.
fn give_up(settlement: &Arc<Settlement>, record: &RawRecord, cause: &str, code: ReplyError, reply_to: WireError) {
    let worker = &settlement.worker;
    tracing::warn!(topic = %record.topic, partition = record.partition, offset = record.offset, cause, "record passed over");
    worker.metrics.finished(code.as_str());
    let mut parcels: Vec<_> = worker.dead_letter(record, cause, code, 0).into_iter().collect();
    let format = Format::of(record);
    let named = reply_to.reply_topic.as_deref();
    if let (Some(id), true) = (reply_to.correlation_id, named.is_some() || format == Format::Json) {
        let (topic, partition) = worker.destination(named, reply_to.reply_partition);
        let reply = format.encode_response(error_response(id, code));
        let until = Some(Instant::now() + worker.topic.timeout);
        parcels.push((topic, partition, Parcel::Reply { record: reply, until }));
    }
    dispatch(settlement, parcels);
}

/// Sends the reply and, where the backend gave none, the dead letter.
fn answer(
    settlement: &Arc<Settlement>,
    record: &RawRecord,
    request: Request,
    outcome: Result<Answer, BackendError>,
    attempts: u32,
    (topic, partition): Destination,
    until: Option<Instant>,
) {
    let worker = &settlement.worker;
    let mut parcels = Vec::with_capacity(2);
    let correlation_id = request.correlation_id;
    let response = match outcome {
        Ok(answer) => Response {
            correlation_id: correlation_id.clone(),
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
            error: None,
        },
        Err(error) => {
            tracing::warn!(topic = %worker.topic.request_topic, backend = %worker.topic.backend_url, partition = record.partition,
                offset = record.offset, attempts, %error, "no answer from the backend");
            let code = error.reply_error();
            if matches!(
                error,
                BackendError::Unreachable(_) | BackendError::Timeout(_) | BackendError::Reset(_)
            ) {
                parcels.extend(worker.dead_letter(record, &error.to_string(), code, attempts));
            }
            error_response(correlation_id.clone(), code)
        }
    };
    let mut status = response.status;
    let format = Format::of(record);
    let mut reply = format.encode_response(response);
    if reply.encoded_size() > worker.max_record {
        let too_large = error_response(correlation_id, ReplyError::ResponseTooLarge);
        status = too_large.status;
        reply = format.encode_response(too_large);
    }
    worker.metrics.finished(&status.to_string());
    parcels.push((topic, partition, Parcel::Reply { record: reply, until }));
    dispatch(settlement, parcels);
}
