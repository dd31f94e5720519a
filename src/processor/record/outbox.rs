//! From an answer to Kafka's acknowledgement of it: an offset waits for that, and what Kafka did not take is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc;

use crate::error::PROBLEM_JSON;
use crate::kafka::group_pump::intake::{Completion, Intake, Outcome};
use crate::kafka::producer::{Delivered, DeliveryListener};
use crate::processor::record::trouble::Trouble;
use crate::processor::worker::shared::Worker;
use crate::settings::Delivery;
use crate::wire::correlation::id_text;
use crate::wire::dead_letter::DeadLetter;
use crate::wire::{Fields, Record, ReplyError, Response, headers};

/// Wait before a record that Kafka did not take is sent again.
const RESEND_AFTER: Duration = Duration::from_millis(500);

/// A topic that was just created is known to every client well within this.
const TOPIC_PATIENCE: Duration = Duration::from_secs(15);

/// One consumed record until nothing is left to do for it. Its offset may be committed once every record it caused is acknowledged.
pub struct Settlement {
    pub worker: Arc<Worker>,
    partition: i32,
    epoch: u32,
    offset: i64,
    began: Instant,
    acks_left: AtomicU32,
}

impl Settlement {
    pub fn new(worker: &Arc<Worker>, intake: &Intake) -> Arc<Self> {
        worker.metrics.in_flight.inc();
        Arc::new(Settlement {
            worker: worker.clone(),
            partition: intake.record.partition,
            epoch: intake.epoch,
            offset: intake.record.offset,
            began: Instant::now(),
            acks_left: AtomicU32::new(0),
        })
    }

    /// Nothing more is to be acknowledged.
    pub fn done(&self) {
        self.end(Outcome::Done);
    }

    /// Unanswered: whoever owns the partition next runs it; but nobody does where it is committed already.
    pub fn release(&self) {
        let worker = &self.worker;
        if worker.topic.delivery == Delivery::AtMostOnce {
            worker.metrics.lost.inc();
            tracing::warn!(topic = %worker.topic.request_topic, partition = self.partition, offset = self.offset,
                "record lost: its partition or its process went before it was answered, and it is committed (delivery: at-most-once)");
        }
        self.end(Outcome::Released);
    }

    fn acknowledged(&self) {
        if self.acks_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.worker.metrics.latency.observe(self.began.elapsed().as_secs_f64());
            self.done();
        }
    }

    fn end(&self, outcome: Outcome) {
        self.worker.pump.complete(Completion {
            partition: self.partition,
            epoch: self.epoch,
            offset: self.offset,
            outcome,
        });
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.worker.metrics.in_flight.dec();
    }
}

/// A record on its way into Kafka, kept whole until it is there.
pub struct Ticket {
    settlement: Arc<Settlement>,
    topic: Arc<str>,
    partition: Option<i32>,
    parcel: Parcel,
    since: Instant,
    /// Kafka was asked for its topic's limit after it had been found too large.
    measured: bool,
    /// Kafka was asked for its topic's partitions after its own had not been found.
    counted: bool,
    /// Held while the dead letter topic does not take this.
    trouble: Option<Trouble>,
}

/// What is being delivered.
pub enum Parcel {
    /// An answer, which nobody waits for after `until`.
    Reply { record: Record, until: Option<Instant> },
    /// A record given up; it is tried until Kafka takes it, since it would be lost otherwise.
    DeadLetter(DeadLetter),
}

impl Parcel {
    fn encoded_size(&self) -> usize {
        match self {
            Parcel::Reply { record, .. } => record.encoded_size(),
            Parcel::DeadLetter(letter) => letter.encoded_size(),
        }
    }
}

/// Sends a record's consequences, all of them known now: its offset waits for every one.
pub fn dispatch(settlement: &Arc<Settlement>, parcels: Vec<(Arc<str>, Option<i32>, Parcel)>) {
    if parcels.is_empty() {
        return settlement.done();
    }
    settlement.acks_left.store(parcels.len() as u32, Ordering::Release);
    for (topic, partition, parcel) in parcels {
        send(Box::new(Ticket {
            settlement: settlement.clone(),
            topic,
            partition,
            parcel,
            since: Instant::now(),
            measured: false,
            counted: false,
            trouble: None,
        }));
    }
}

fn send(ticket: Box<Ticket>) {
    let producer = ticket.settlement.worker.producer.clone();
    let (topic, partition) = (ticket.topic.clone(), ticket.partition);
    // The parcel is read by the producer and kept by the ticket, which it takes: a clone shares the bytes.
    match &ticket.parcel {
        Parcel::Reply { record, .. } => {
            let record = record.clone();
            producer.send(&topic, partition, &record, ticket);
        }
        Parcel::DeadLetter(letter) => {
            let letter = letter.clone();
            producer.send_dead_letter(&topic, &letter, ticket);
        }
    }
}

fn undelivered(ticket: Box<Ticket>, code: RDKafkaErrorCode) {
    let returns = ticket.settlement.worker.undelivered.clone();
    // Err: the worker is gone, and its records are redelivered.
    let _ = returns.send(Undelivered { ticket, code });
}

/// Hears of every record the processor produced.
pub struct Deliveries;

impl DeliveryListener for Deliveries {
    type Ticket = Box<Ticket>;

    fn delivered(&self, ticket: Box<Ticket>, outcome: Delivered) {
        match outcome {
            Ok(()) => {
                if let Parcel::DeadLetter(_) = ticket.parcel {
                    ticket.settlement.worker.metrics.dead_letters.inc();
                }
                ticket.settlement.acknowledged();
            }
            Err(why) => undelivered(ticket, why.code),
        }
    }
}

/// A record that Kafka did not take, on its way back to the worker. As many as there are tickets: the windows bound them.
pub struct Undelivered {
    ticket: Box<Ticket>,
    code: RDKafkaErrorCode,
}

/// The worker's end of the way back.
pub type UndeliveredReceiver = mpsc::UnboundedReceiver<Undelivered>;

/// Decides what becomes of a record that Kafka did not take: the same bytes again, never a second backend call.
pub async fn redeliver(Undelivered { mut ticket, code }: Undelivered) {
    let worker = ticket.settlement.worker.clone();
    let verdict = classify(code);
    if matches!(verdict, Verdict::NoSuchTopic) {
        // Ours are created again where that is allowed; a proxy may just have created its own, which our client has not heard of yet.
        worker.ensure_topic(&ticket.topic).await;
    }
    if matches!(verdict, Verdict::NoSuchPartition) && ticket.partition.is_some() {
        // The topic may have grown since our client last looked; a reply elsewhere would not be read.
        match std::mem::replace(&mut ticket.counted, true) {
            false => worker.ensure_topic(&ticket.topic).await,
            true => ticket.partition = None,
        }
        return send(ticket);
    }
    if matches!(verdict, Verdict::TooLarge) && may_fit(&mut ticket) {
        worker.limits.look_again();
        actix::clock::sleep(RESEND_AFTER).await;
        if worker.limits.known(&ticket.topic) >= Some(ticket.parcel.encoded_size()) {
            return send(ticket);
        }
    }
    let young = ticket.since.elapsed() < TOPIC_PATIENCE;
    match (&mut ticket.parcel, verdict) {
        (Parcel::Reply { record, .. }, Verdict::TooLarge) => match too_large(record) {
            Some(smaller) => *record = smaller,
            None => return give_up(&ticket, code),
        },
        (Parcel::DeadLetter(letter), verdict) => {
            if !(matches!(verdict, Verdict::TooLarge) && shrink(letter, worker.limits.of(&ticket.topic))) {
                let begin = || worker.dead_letter_trouble.begin(&ticket.topic, code);
                ticket.trouble.get_or_insert_with(begin);
                actix::clock::sleep(RESEND_AFTER).await;
            }
        }
        (Parcel::Reply { .. }, Verdict::ForGood) => return give_up(&ticket, code),
        (Parcel::Reply { .. }, Verdict::NoSuchTopic | Verdict::NoSuchPartition) if !young => {
            return give_up(&ticket, code);
        }
        (Parcel::Reply { until, .. }, _) => {
            if !is_in_time(*until) {
                return give_up(&ticket, code);
            }
            actix::clock::sleep(RESEND_AFTER).await;
        }
    }
    send(ticket);
}

/// Whether a record that the broker found too large may be none. A batch is refused as a whole, and this record may only have happened to
/// be in it; or the limit of its topic was not known yet, or has been lowered.
fn may_fit(ticket: &mut Ticket) -> bool {
    let limit = ticket.settlement.worker.limits.known(&ticket.topic);
    let small_enough = limit.map_or(!ticket.measured, |limit| ticket.parcel.encoded_size() <= limit);
    ticket.measured = true;
    small_enough
        && match &ticket.parcel {
            Parcel::Reply { until, .. } => is_in_time(*until),
            Parcel::DeadLetter(_) => true,
        }
}

/// Somebody still waits when it is sent again.
fn is_in_time(until: Option<Instant>) -> bool {
    until.is_none_or(|until| Instant::now() + RESEND_AFTER < until)
}

/// Makes a dead letter smaller; false when there is nothing left to cut.
fn shrink(letter: &mut DeadLetter, limit: usize) -> bool {
    let before = letter.encoded_size();
    letter.fit(if before > limit { limit } else { before / 2 });
    letter.encoded_size() < before
}

/// The reply is not to be had into Kafka: its client gets 504 in the end, and the group goes on.
fn give_up(ticket: &Ticket, code: RDKafkaErrorCode) {
    let worker = &ticket.settlement.worker;
    worker.metrics.undeliverable.inc();
    worker.once.undeliverable(&ticket.topic, code);
    ticket.settlement.acknowledged();
}

enum Verdict {
    ForNow,
    NoSuchTopic,
    ForGood,
    TooLarge,
    NoSuchPartition,
}

fn classify(code: RDKafkaErrorCode) -> Verdict {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => Verdict::TooLarge,
        Code::UnknownPartition => Verdict::NoSuchPartition,
        Code::UnknownTopic | Code::UnknownTopicOrPartition => Verdict::NoSuchTopic,
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::InvalidTopic
        | Code::InvalidRecord
        | Code::PolicyViolation => Verdict::ForGood,
        _ => Verdict::ForNow,
    }
}

/// The small answer instead of one that no record can hold; `None` where it is that already.
fn too_large(record: &Record) -> Option<Record> {
    let (format, id) = record.format_and_id()?;
    let smaller = format.encode_response(error_response(id.clone(), ReplyError::ResponseTooLarge));
    (smaller.encoded_size() < record.encoded_size()).then_some(smaller)
}

/// The answer a processor makes itself.
pub fn error_response(correlation_id: bytes::Bytes, error: ReplyError) -> Response {
    let request_error = crate::error::RequestError::from(error);
    let body = request_error.problem(Some(&id_text(&correlation_id)));
    let mut fields: Fields = vec![(headers::CONTENT_TYPE.into(), PROBLEM_JSON.into())];
    let retry_after = request_error.retry_after();
    fields.extend(retry_after.map(|seconds| (headers::RETRY_AFTER.into(), seconds.to_string().into())));
    Response {
        correlation_id,
        status: request_error.status().as_u16(),
        headers: fields,
        body: body.into(),
        error: Some(error),
    }
}
