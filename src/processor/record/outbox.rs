//! From a reply to Kafka's acknowledgement of it. What Kafka did not take is sent again: the same bytes, never a second backend call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;
use tokio::sync::{mpsc, oneshot};

use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::cluster::record_limits::RecordLimits;
use crate::kafka::codes::CodeClass;
use crate::kafka::config::Purpose;
use crate::kafka::producer::{Delivered, DeliveryListener, Producer};
use crate::processor::metrics::TopicMetrics;
use crate::processor::record::dead_letter_trouble::{DeadLetterTrouble, Trouble};
use crate::processor::record::logged_once::LoggedOnce;
use crate::processor::record::refusals::LastRefusal;
use crate::processor::record::reply_seal::ReplySeal;
use crate::processor::record::reply_topics::Destination;
use crate::processor::record::settlement::Settlement;
use crate::processor::record::topic_lookup::{Needs, TopicLookup};
use crate::processor::stream::acks::Acks;
use crate::wire::Record;
use crate::wire::dead_letter::DeadLetter;

/// Wait before a record that Kafka did not take is sent again.
const RESEND_AFTER: Duration = Duration::from_millis(500);

/// A topic that was just created is known to every client well within this.
pub const TOPIC_PATIENCE: Duration = Duration::from_secs(15);

/// What one worker needs to deliver its records.
pub struct Outbox {
    /// Of the whole process.
    pub producer: Arc<Producer<Deliveries>>,
    /// How large a record may be, by topic.
    pub limits: RecordLimits,
    /// The way back of what Kafka did not take: from the producer's polling thread to the worker. Holds at most one entry for each ticket;
    /// the partition windows bound those.
    pub undelivered: mpsc::UnboundedSender<Undelivered>,
    /// The response topic and the dead letter topic: created where that is allowed.
    pub own_topics: Vec<(Arc<str>, Purpose)>,
    pub admin: TopicAdmin,
    pub lookup: TopicLookup,
    pub seal: ReplySeal,
    /// Of the whole process; readiness asks it.
    pub dead_letter_trouble: DeadLetterTrouble,
    pub metrics: TopicMetrics,
    pub refusals: LastRefusal,
    /// Replies that cannot be delivered were logged.
    pub undeliverable_logged: LoggedOnce,
}

/// A record to be delivered.
pub struct Parcel {
    pub destination: Destination,
    pub content: Content,
}

/// What is delivered.
pub enum Content {
    /// A reply, which nobody waits for after `until`.
    Reply { record: Record, until: Option<Instant> },
    /// A record given up; it is tried until Kafka takes it, since it would be lost otherwise.
    DeadLetter(DeadLetter),
}

impl Content {
    fn encoded_size(&self) -> usize {
        match self {
            Content::Reply { record, .. } => record.encoded_size(),
            Content::DeadLetter(letter) => letter.encoded_size(),
        }
    }
}

/// What comes back with a record's delivery report.
pub enum Ticket {
    /// An answer, or a dead letter.
    Record(RecordTicket),
    /// A further piece of a streamed answer. It is not sent again: nothing may follow it then but the last word.
    Piece(Arc<Acks>),
    /// What is remembered of a request, or a piece of its answer. It is sent again by who waits for this.
    Memory(oneshot::Sender<Delivered>),
    /// Nobody asks what became of it.
    Unheeded,
}

/// A record on its way into Kafka, kept whole until it is there.
pub struct RecordTicket {
    outbox: Arc<Outbox>,
    /// `None`: the last word of a stream, whose record was settled with its first piece.
    settlement: Option<Arc<Settlement>>,
    parcel: Parcel,
    /// When it was first sent.
    since: Instant,
    /// Set when it had been found too large: Kafka was asked for its topic's limit since.
    measured: bool,
    /// Set when its partition had not been found: Kafka was asked for its topic's partitions since.
    counted: bool,
    /// Held while the dead letter topic does not take this.
    trouble: Option<Trouble>,
    /// Set for the first piece of a streamed answer, whose others wait for it.
    stream: Option<Arc<Acks>>,
}

impl RecordTicket {
    /// Kafka has it, or it was given up.
    fn settled(&self) {
        self.settlement.as_ref().inspect(|settlement| settlement.acknowledged());
    }

    /// Kafka has the reply, at this offset.
    fn replied(&self, offset: i64) {
        self.settlement
            .as_ref()
            .inspect(|settlement| settlement.replied(offset));
    }

    fn is_piece(&self) -> bool {
        self.stream.is_some() || self.settlement.is_none()
    }
}

/// A record that Kafka did not take, on its way back to the worker.
pub struct Undelivered {
    ticket: RecordTicket,
    code: RDKafkaErrorCode,
}

/// The worker's end of the way back.
pub type UndeliveredReceiver = mpsc::UnboundedReceiver<Undelivered>;

/// Hears of every record that the processor produced, on the producer's polling thread.
pub struct Deliveries {
    in_flight: IntGauge,
    lingering: IntGauge,
}

impl Deliveries {
    /// `in_flight` is the gauge of records that are at work, `lingering` that of clients whose batches linger.
    pub fn new(in_flight: &IntGauge, lingering: &IntGauge) -> Self {
        Deliveries {
            in_flight: in_flight.clone(),
            lingering: lingering.clone(),
        }
    }
}

impl DeliveryListener for Deliveries {
    type Ticket = Box<Ticket>;

    fn in_flight(&self) -> usize {
        self.in_flight.get().max(0) as usize
    }

    fn lingers(&self, lingers: bool) {
        self.lingering.add(if lingers { 1 } else { -1 });
    }

    fn delivered(&self, ticket: Box<Ticket>, outcome: Delivered) {
        let ticket = match *ticket {
            Ticket::Record(ticket) => ticket,
            Ticket::Piece(acks) => return acks.delivered(outcome),
            Ticket::Memory(waits) => {
                // Err: the worker is gone, and its record is redelivered.
                let _ = waits.send(outcome);
                return;
            }
            Ticket::Unheeded => return,
        };
        match outcome {
            Ok(offset) => {
                match ticket.parcel.content {
                    Content::DeadLetter(_) => ticket.outbox.metrics.dead_letters.inc(),
                    Content::Reply { .. } => ticket.replied(offset),
                }
                ticket.settled();
                if let Some(acks) = ticket.stream {
                    acks.delivered(outcome);
                }
            }
            Err(why) => {
                let returns = ticket.outbox.undelivered.clone();
                // Err: the worker is gone, and its records are redelivered.
                let _ = returns.send(Undelivered { ticket, code: why.code });
            }
        }
    }
}

impl Outbox {
    /// Sends all that a record caused: its offset waits for every one.
    pub fn dispatch(self: &Arc<Self>, settlement: &Arc<Settlement>, parcels: Vec<Parcel>) {
        settlement.await_acks(parcels.len());
        for parcel in parcels {
            send(self.ticket(Some(settlement), parcel, None));
        }
    }

    /// Sends the first piece of a streamed answer: with its acknowledgement the record is done.
    pub fn begin_stream(self: &Arc<Self>, settlement: &Arc<Settlement>, parcel: Parcel, acks: &Arc<Acks>) {
        settlement.await_acks(1);
        send(self.ticket(Some(settlement), parcel, Some(acks.clone())));
    }

    /// Sends what ends a stream whose end nothing else tells, until Kafka takes it: its client would wait for as long as it may idle.
    pub fn send_last_word(self: &Arc<Self>, destination: Destination, record: Record) {
        let content = Content::Reply { record, until: None };
        send(self.ticket(None, Parcel { destination, content }, None));
    }

    /// Sends a further piece. What becomes of it, `acks` hears.
    pub fn send_piece(&self, destination: &Destination, piece: &Record, acks: &Arc<Acks>) {
        let ticket = Box::new(Ticket::Piece(acks.clone()));
        self.producer
            .send(&destination.topic, destination.partition, piece, ticket);
    }

    /// Sends a record, and returns its offset: sending one again that Kafka did not take is up to who waits. One that is there, and of which
    /// the broker does not say where, is sent once more: who reads it passes a repeat over. Never returns once the producer is gone, as the
    /// process soon is.
    ///
    /// # Errors
    /// Kafka did not take it.
    pub async fn deliver(&self, topic: &str, partition: i32, record: &Record) -> Result<i64, RDKafkaErrorCode> {
        loop {
            let (delivered, outcome) = oneshot::channel();
            let ticket = Box::new(Ticket::Memory(delivered));
            self.producer.send(topic, Some(partition), record, ticket);
            match outcome.await {
                Ok(Ok(offset)) if offset < 0 => {}
                Ok(delivered) => return delivered.map_err(|why| why.code),
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Kafka takes nothing now.
    pub fn is_stuck(&self) -> bool {
        self.producer.is_stuck()
    }

    /// Sends a record that is sent again in any case, and that may be lost.
    pub fn send_unheeded(&self, destination: &Destination, record: &Record) {
        let ticket = Box::new(Ticket::Unheeded);
        self.producer
            .send(&destination.topic, destination.partition, record, ticket);
    }

    fn ticket(
        self: &Arc<Self>,
        settlement: Option<&Arc<Settlement>>,
        parcel: Parcel,
        stream: Option<Arc<Acks>>,
    ) -> RecordTicket {
        RecordTicket {
            outbox: self.clone(),
            settlement: settlement.cloned(),
            parcel,
            since: Instant::now(),
            measured: false,
            counted: false,
            trouble: None,
            stream,
        }
    }

    /// Looks up a topic that Kafka did not know, and creates it where it is one of ours.
    async fn look_up(&self, topic: &Arc<str>, needs: Needs) {
        let ours = self.own_topics.iter().find(|(own, _)| own == topic);
        let (is_ours, purpose) = (ours.is_some(), ours.map_or(Purpose::Replies, |(_, purpose)| *purpose));
        let look_up = async || {
            let (admin, producer, topic) = (self.admin.clone(), self.producer.clone(), topic.clone());
            let ensure = move || admin.ensure(producer.client().client(), &topic, purpose, is_ours);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(ensure).await {
                tracing::debug!(%error, "topic not found");
            }
        };
        self.lookup.run(topic, needs, look_up).await;
    }
}

fn send(ticket: RecordTicket) {
    let producer = ticket.outbox.producer.clone();
    let Destination { topic, partition, .. } = ticket.parcel.destination.clone();
    // The content is read by the producer and kept by the ticket, which it takes: a clone shares the bytes.
    match &ticket.parcel.content {
        Content::Reply { record, .. } => {
            let record = record.clone();
            producer.send(&topic, partition, &record, Box::new(Ticket::Record(ticket)));
        }
        Content::DeadLetter(letter) => {
            let letter = letter.clone();
            producer.send_dead_letter(&topic, &letter, Box::new(Ticket::Record(ticket)));
        }
    }
}

/// Decides what becomes of a record that Kafka did not take.
pub async fn redeliver(Undelivered { mut ticket, code }: Undelivered) {
    let outbox = ticket.outbox.clone();
    let topic = ticket.parcel.destination.topic.clone();
    let (class, failed) = (CodeClass::from(code), tokio::time::Instant::now());
    if class == CodeClass::NoSuchTopic {
        // Ours are created again where that is allowed; a proxy may just have created its own, which our client has not heard of yet.
        outbox.look_up(&topic, Needs::Recent).await;
    }
    if class == CodeClass::NoSuchPartition && ticket.parcel.destination.partition.is_some() {
        // The topic may have grown since our client last looked; a reply elsewhere would not be read.
        match std::mem::replace(&mut ticket.counted, true) {
            false => outbox.look_up(&topic, Needs::BegunAfter(failed)).await,
            // The other pieces would not follow it there.
            true if ticket.is_piece() => return give_up(&ticket, code),
            true => ticket.parcel.destination.partition = None,
        }
        return send(ticket);
    }
    if class == CodeClass::TooLarge && may_fit(&mut ticket) {
        outbox.limits.ask_again();
        actix::clock::sleep(RESEND_AFTER).await;
        if outbox.limits.known(&topic) >= Some(ticket.parcel.content.encoded_size()) {
            return send(ticket);
        }
    }
    let young = ticket.since.elapsed() < TOPIC_PATIENCE;
    match (&mut ticket.parcel.content, class) {
        (Content::Reply { record, .. }, CodeClass::TooLarge) => match outbox.seal.too_large(record, &topic) {
            Some(smaller) => {
                *record = smaller;
                // The client gets an error in the place of the answer.
                ticket.stream.take().inspect(|acks| acks.fail());
            }
            None => return give_up(&ticket, code),
        },
        (Content::DeadLetter(letter), class) => {
            if !(class == CodeClass::TooLarge && shrink(letter, outbox.limits.of(&topic))) {
                let begin = || outbox.dead_letter_trouble.begin(&topic, code);
                ticket.trouble.get_or_insert_with(begin);
                actix::clock::sleep(RESEND_AFTER).await;
            }
        }
        (Content::Reply { .. }, class) if class.is_final() => return give_up(&ticket, code),
        (Content::Reply { .. }, class) if class.is_not_found() && !young => return give_up(&ticket, code),
        (Content::Reply { until, .. }, _) => {
            if !is_in_time(*until) {
                return give_up(&ticket, code);
            }
            actix::clock::sleep(RESEND_AFTER).await;
        }
    }
    send(ticket);
}

/// Whether a record that the broker found too large may fit all the same. A batch is refused as a whole, and this record may only have
/// happened to be in it; or the limit of its topic was not known yet, or has been lowered.
fn may_fit(ticket: &mut RecordTicket) -> bool {
    let limit = ticket.outbox.limits.known(&ticket.parcel.destination.topic);
    let small_enough = limit.map_or(!ticket.measured, |limit| ticket.parcel.content.encoded_size() <= limit);
    ticket.measured = true;
    small_enough
        && match &ticket.parcel.content {
            Content::Reply { until, .. } => is_in_time(*until),
            Content::DeadLetter(_) => true,
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

/// Ends a reply that Kafka will not take: its client gets 504 in the end, and the group goes on.
fn give_up(ticket: &RecordTicket, code: RDKafkaErrorCode) {
    let outbox = &ticket.outbox;
    ticket.stream.as_ref().inspect(|acks| acks.fail());
    outbox.metrics.undeliverable.inc();
    outbox.refusals.note(&ticket.parcel.destination.topic, code);
    if outbox.undeliverable_logged.is_first() {
        tracing::error!(topic = %ticket.parcel.destination.topic, %code,
            "replies cannot be delivered; their clients get 504: check that the topic exists and may be written (said once)");
    }
    ticket.settlement.as_ref().inspect(|settlement| settlement.unreplied());
    ticket.settled();
}
