//! Writes the bodies of answers that are larger than a record, in pieces, into a topic of their own. What cannot be written is not kept:
//! an answer waits for it no longer than for a topic that is being created.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::codes::CodeClass;
use crate::processor::memory::restore::Restorer;
use crate::processor::memory::shelf::Piece;
use crate::processor::record::logged_once::LoggedOnce;
use crate::processor::record::outbox::{Outbox, TOPIC_PATIENCE};
use crate::processor::record::topic_lookup::Needs;
use crate::wire::body_pieces::BodyPiece;
use crate::wire::sealing::Binding;
use crate::wire::stream::{MAX_PIECE, StreamId};
use crate::wire::{Record, Sealing};

/// Wait before a piece that Kafka did not take is sent again.
const RESEND_AFTER: Duration = Duration::from_millis(500);
/// Where the topic could not be used, it is not tried again for so long: each answer would wait for it.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// Room in a record for what a piece has besides its bytes: a few headers, and a seal.
const OWN: usize = 512;
/// The largest record of an answer.
pub const LARGEST_PIECE: usize = MAX_PIECE + OWN;

/// A body cannot be kept.
#[derive(Debug, PartialEq, Eq)]
pub struct NotKept;

/// The topic of answers of one request topic, as one worker writes to it.
pub struct Answers {
    outbox: Arc<Outbox>,
    kafka: KafkaHealth,
    restorer: Arc<Restorer>,
    pub topic: Arc<str>,
    /// How many partitions it has; 0: that is not known.
    partitions: Cell<i32>,
    /// When it could not be used.
    refused: Cell<Option<Instant>>,
    trouble_logged: LoggedOnce,
}

/// One body that is written.
pub struct Body {
    answers: Rc<Answers>,
    pub id: StreamId,
    /// Of its request.
    of_request: i32,
    /// Where it goes; 0 until its first piece.
    partition: Cell<i32>,
    /// Set where its request was sealed.
    sealing: Option<Arc<Sealing>>,
}

impl Body {
    /// One that is to be written. Where it lies, its pieces have a new id.
    pub fn new(answers: &Rc<Answers>, of_request: i32, sealing: Option<Arc<Sealing>>) -> Self {
        Body {
            answers: answers.clone(),
            id: StreamId::new(),
            of_request,
            partition: Cell::new(0),
            sealing,
        }
    }

    /// Bytes of a body in one piece.
    pub fn piece(&self) -> usize {
        let limit = self.answers.outbox.limits.of(&self.answers.topic);
        limit.saturating_sub(OWN).clamp(1, MAX_PIECE)
    }

    /// Where its pieces lie, once there are any.
    pub fn partition(&self) -> i32 {
        self.partition.get()
    }

    /// Sends a piece until Kafka has it; returns its offset. One after the other: a piece that has to be sent again stays before the next.
    ///
    /// # Errors
    /// Kafka does not take it, whatever is tried.
    pub async fn write(&self, Piece { seq, body, more }: Piece) -> Result<i64, NotKept> {
        let answers = &*self.answers;
        if seq == 0 {
            self.partition.set(answers.partition(self.of_request).await?);
        }
        let id = self.id.to_bytes();
        let piece = BodyPiece {
            correlation_id: id.clone(),
            seq,
            more,
            body,
        };
        let mut record = piece.encode();
        if let Some(sealing) = &self.sealing {
            let binding = Binding::Body {
                bodies_topic: &answers.topic,
                correlation_id: &id,
                seq,
            };
            record = sealing.seal(record, binding).map_err(|error| answers.refuse(error))?;
        }
        answers.send(self.partition.get(), &record).await
    }
}

impl Answers {
    pub fn new(outbox: Arc<Outbox>, kafka: KafkaHealth, restorer: Arc<Restorer>) -> Self {
        Answers {
            outbox,
            kafka,
            topic: restorer.answers.clone(),
            restorer,
            partitions: Cell::new(0),
            refused: Cell::new(None),
            trouble_logged: LoggedOnce::default(),
        }
    }

    /// The partition for the answer to a request of that partition: the same, where the topic has as many. It is created where it is missing.
    async fn partition(&self, of_request: i32) -> Result<i32, NotKept> {
        let began = Instant::now();
        while self.partitions.get() == 0 {
            if self.refused.get().is_some_and(|at| at.elapsed() < REFUSED_FOR) {
                return Err(NotKept);
            }
            if self.look_up().await {
                break;
            }
            if began.elapsed() >= TOPIC_PATIENCE {
                return Err(self.refuse("it is not usable yet"));
            }
            actix::clock::sleep(RESEND_AFTER).await;
        }
        Ok(of_request.rem_euclid(self.partitions.get().max(1)))
    }

    /// Sends a record until Kafka has it; returns its offset. Where only this partition takes nothing, that is not waited for: the answer
    /// would not go on meanwhile.
    async fn send(&self, partition: i32, record: &Record) -> Result<i64, NotKept> {
        let (mut was_too_large, mut began) = (false, Instant::now());
        loop {
            let code = match self.outbox.deliver(&self.topic, partition, record).await {
                Ok(offset) => return Ok(offset),
                Err(code) => code,
            };
            let class = CodeClass::from(code);
            let is_refused = match class {
                // A batch is refused as a whole: this record may only have been in it.
                CodeClass::TooLarge => {
                    self.outbox.limits.ask_again();
                    std::mem::replace(&mut was_too_large, true)
                }
                class => class.is_final() || (began.elapsed() >= TOPIC_PATIENCE && self.kafka.is_up()),
            };
            if is_refused {
                self.partitions.set(0);
                return Err(self.refuse(code));
            }
            if !self.kafka.is_up() {
                began = Instant::now();
            }
            tracing::debug!(topic = %self.topic, %code, "a piece of an answer is not kept yet");
            actix::clock::sleep(RESEND_AFTER).await;
            if class.is_not_found() && !self.look_up().await && self.refused.get().is_some_and(|at| at >= began) {
                return Err(NotKept);
            }
        }
    }

    /// Looks the topic up, and creates it where that is allowed. False: it is not there yet.
    async fn look_up(&self) -> bool {
        self.partitions.set(0);
        let look_up = async || {
            let restorer = self.restorer.clone();
            match tokio::task::spawn_blocking(move || restorer.ensure_answers()).await {
                Ok(Ok(partitions)) => self.partitions.set(partitions.max(1)),
                Ok(Err(error)) if error.passes() => tracing::debug!(%error, "topic of answers not found yet"),
                Ok(Err(error)) => {
                    self.refuse(error);
                }
                // It panicked, and the panic hook has logged it.
                Err(_) => {}
            }
        };
        let needs = Needs::BegunAfter(Instant::now());
        self.outbox.lookup.run(&self.topic, needs, look_up).await;
        self.partitions.get() > 0
    }

    fn refuse(&self, why: impl std::fmt::Display) -> NotKept {
        self.refused.set(Some(Instant::now()));
        if self.trouble_logged.is_first() {
            tracing::error!(topic = %self.topic, %why,
                "large answers are not remembered, and their repeats get 502: check that the topic exists and may be written (said once)");
        }
        NotKept
    }
}
