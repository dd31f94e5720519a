//! `dlq redrive`: letters back to the topics they came from, each exactly once.
//!
//! A batch of letters and the marks that name them are one Kafka transaction: either all of it is there or nothing, however this process
//! ends. Who starts again reads the marks and goes on behind them; letters that a filter passed over have none, and can be redriven later.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{Producer as _, ThreadedProducer};

use crate::dlq::filter::pass;
use crate::dlq::letter::{Letter, Place};
use crate::dlq::letters::{Letters, Next};
use crate::dlq::printable::line;
use crate::dlq::{DlqError, Redrive};
use crate::kafka::client::properties;
use crate::kafka::producer::outgoing::Outgoing;
use crate::kafka::producer::{Context, Delivered, DeliveryListener};
use crate::kafka::topic_name::{is_internal, is_legal};
use crate::process::exit;
use crate::process::signals::Signals;
use crate::settings::Settings;
use crate::wire::redrive::{Redriven, Stays, mark};

/// Letters in one transaction. While it is open, consumers of its partitions wait, so it is made of what is at hand.
const BATCH: usize = 100;
/// For what Kafka does within a transaction.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one batch.
const TRIES: u32 = 3;
const NOT_REDRIVEN: &str =
    "a batch was not redriven, nothing of it: another redrive has taken over, or run the command again";

pub fn run(settings: &Settings, redrive: &Redrive) -> Result<(), DlqError> {
    let topic = settings.processor.dead_letter_topic.as_deref();
    let mut targets = Targets::new(settings, redrive, topic.unwrap_or_default())?;
    let Some(letters) = Letters::open(settings)? else {
        eprintln!("no dead letters: their topic does not exist yet");
        return Ok(());
    };
    let mut run = Run::start(settings, redrive, letters.topic())?;
    // After the start, which ends what an earlier run left open: nobody else writes marks from here on.
    let survey = letters.survey()?;
    let done = letters
        .each(&survey, |letter| {
            if letter.redriven || !pass(&redrive.filter, &letter) {
                return Ok(Next::GoOn);
            }
            match targets.plan(&letter, &letters)? {
                Ok(planned) => run.take(planned),
                Err(why) => {
                    run.leave(letter.place(), why);
                    Ok(Next::GoOn)
                }
            }
        })
        .and_then(|()| run.flush());
    run.report();
    done
}

/// A letter on its way.
struct Planned {
    place: Place,
    topic: Arc<str>,
    record: Redriven,
}

/// Why a letter stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
enum Left {
    #[error("{0}")]
    Letter(Stays),
    #[error("names no topic it came from (kafka_dlt-original-topic); --to sends it to one")]
    NoTopic,
    #[error(
        "came from topic {0}, which is no request topic of the configuration; --allow {0} permits it, --to sends it elsewhere"
    )]
    NotAllowed(String),
    #[error("came from topic {0}, which does not exist")]
    Missing(String),
    #[error("is not taken by topic {topic}: {code}")]
    Refused { topic: String, code: String },
}

/// Which topics may be written to. A letter's own word is a stranger's: only names that the operator gave count.
struct Targets {
    to: Option<Arc<str>>,
    allowed: HashSet<String>,
    /// Whether topics exist, once asked.
    known: HashMap<String, Option<Arc<str>>>,
}

impl Targets {
    fn new(settings: &Settings, redrive: &Redrive, dead_letter_topic: &str) -> Result<Self, DlqError> {
        for name in redrive.to.iter().chain(&redrive.allow) {
            if !is_legal(name) || is_internal(name) || name == dead_letter_topic {
                let name = line(name);
                return Err(DlqError::Usage(format!(
                    "{name}: letters cannot be sent there; name a request topic"
                )));
            }
        }
        let configured = settings
            .processor
            .topics
            .iter()
            .map(|topic| topic.request_topic.clone());
        Ok(Targets {
            to: redrive.to.as_deref().map(Arc::from),
            allowed: configured
                .chain(redrive.allow.iter().cloned())
                .chain(redrive.to.clone())
                .collect(),
            known: HashMap::new(),
        })
    }

    /// What becomes of a letter; the inner error says why it stays.
    fn plan(&mut self, letter: &Letter, letters: &Letters) -> Result<Result<Planned, Left>, DlqError> {
        let record = match Redriven::new(&letter.record) {
            Ok(record) => record,
            Err(why) => return Ok(Err(Left::Letter(why))),
        };
        let named = match (&self.to, letter.original_topic()) {
            (Some(to), _) => to.to_string(),
            (None, Some(named)) if self.allowed.contains(&*named) => named.into_owned(),
            (None, Some(named)) => return Ok(Err(Left::NotAllowed(line(&named)))),
            (None, None) => return Ok(Err(Left::NoTopic)),
        };
        if !self.known.contains_key(&named) {
            let exists = letters.knows(&named)?;
            self.known
                .insert(named.clone(), exists.then(|| Arc::from(named.as_str())));
        }
        let place = letter.place();
        Ok(match self.known.get(&named).cloned().flatten() {
            Some(topic) => Ok(Planned { place, topic, record }),
            None => Err(Left::Missing(named)),
        })
    }
}

/// One run of the command.
struct Run<'a> {
    /// `None`: a dry run.
    transactions: Option<Transactions<'a>>,
    limit: Option<DefaultDirectRateLimiter>,
    batch: Vec<Planned>,
    batch_size: usize,
    max: usize,
    taken: usize,
    redriven: usize,
    left: BTreeMap<Left, Vec<Place>>,
    stop: Arc<AtomicBool>,
}

impl<'a> Run<'a> {
    fn start(settings: &Settings, redrive: &Redrive, dead_letter_topic: &'a str) -> Result<Self, DlqError> {
        let transactions = match redrive.dry_run {
            true => None,
            false => Some(Transactions::start(settings, dead_letter_topic)?),
        };
        let quota = |rate| Quota::with_period(Duration::from_secs_f64(1.0 / rate));
        Ok(Run {
            transactions,
            limit: redrive
                .rate
                .and_then(quota)
                .map(|quota| RateLimiter::direct(quota.allow_burst(NonZeroU32::MIN))),
            batch: Vec::new(),
            // Ten transactions a second: a slow rate does not make a letter wait for a hundred others.
            batch_size: redrive
                .rate
                .map_or(BATCH, |rate| ((rate / 10.0) as usize).clamp(1, BATCH)),
            max: redrive.max.unwrap_or(usize::MAX),
            taken: 0,
            redriven: 0,
            left: BTreeMap::new(),
            stop: stop_on_signal()?,
        })
    }

    fn take(&mut self, planned: Planned) -> Result<Next, DlqError> {
        if self.taken == self.max {
            return Ok(Next::Enough);
        }
        if let (Some(limit), Some(_)) = (&self.limit, &self.transactions) {
            futures_executor::block_on(limit.until_ready());
        }
        self.taken += 1;
        self.batch.push(planned);
        if self.batch.len() >= self.batch_size {
            self.flush()?;
        }
        match (self.stop.load(Ordering::Relaxed), self.taken == self.max) {
            (true, _) => self.flush().and(Err(DlqError::Interrupted)),
            (false, true) => Ok(Next::Enough),
            (false, false) => Ok(Next::GoOn),
        }
    }

    fn flush(&mut self) -> Result<(), DlqError> {
        let batch = std::mem::take(&mut self.batch);
        self.send(&batch)
    }

    /// Sends a batch; one that Kafka refuses letter by letter, since the others in it are innocent.
    fn send(&mut self, batch: &[Planned]) -> Result<(), DlqError> {
        let Some(transactions) = &self.transactions else {
            for Planned { place, topic, .. } in batch {
                println!("{place} → {topic}");
            }
            self.redriven += batch.len();
            return Ok(());
        };
        match (transactions.send(batch)?, batch) {
            (Ok(()), _) => self.redriven += batch.len(),
            (Err(code), [one]) => {
                let (topic, code) = (one.topic.to_string(), code.to_string());
                self.leave(one.place, Left::Refused { topic, code });
            }
            (Err(_), several) => {
                for one in several {
                    self.send(std::slice::from_ref(one))?;
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, place: Place, why: Left) {
        self.left.entry(why).or_default().push(place);
    }

    fn report(&self) {
        let what = match self.transactions {
            Some(_) => "redriven",
            None => "to be redriven",
        };
        println!("{what}: {}", self.redriven);
        for (why, places) in &self.left {
            let some: Vec<String> = places.iter().take(5).map(Place::to_string).collect();
            let more = if places.len() > some.len() { ", …" } else { "" };
            println!("left: {} ({}{more}): {why}", places.len(), some.join(", "));
        }
    }
}

/// A producer whose batches are there whole or not at all.
struct Transactions<'a> {
    producer: ThreadedProducer<Context<Refusals>>,
    refused: Receiver<RDKafkaErrorCode>,
    dead_letter_topic: &'a str,
}

/// Keeps the reasons why Kafka did not take records.
struct Refusals(Sender<RDKafkaErrorCode>);

impl DeliveryListener for Refusals {
    type Ticket = ();

    fn delivered(&self, (): (), outcome: Delivered) {
        if let Err(why) = outcome {
            // Err: the run is over.
            let _ = self.0.send(why.code);
        }
    }
}

impl<'a> Transactions<'a> {
    /// Shuts out any other run on the same topic, and ends what it left open.
    fn start(settings: &Settings, dead_letter_topic: &'a str) -> Result<Self, DlqError> {
        let config = properties::redrive_producer(&settings.kafka, dead_letter_topic);
        // Bounded by the batch: one report a record.
        let (refusals, refused) = crossbeam_channel::unbounded();
        let context = Context(Arc::new(Refusals(refusals)));
        let producer =
            ThreadedProducer::from_config_and_context(&config, context).map_err(DlqError::kafka("Kafka client"))?;
        producer.init_transactions(TIMEOUT).map_err(DlqError::kafka(
            "starting transactions (the user needs WRITE on the transactional id actix-khp-redrive-*)",
        ))?;
        Ok(Transactions {
            producer,
            refused,
            dead_letter_topic,
        })
    }

    /// One transaction: the records, and a mark for each partition they came from. The inner error: Kafka will never take one of them,
    /// and nothing of the batch is there.
    fn send(&self, batch: &[Planned]) -> Result<Result<(), RDKafkaErrorCode>, DlqError> {
        if batch.is_empty() {
            return Ok(Ok(()));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(error) = self.attempt(batch) else {
                return Ok(Ok(()));
            };
            let aborted = self.producer.abort_transaction(TIMEOUT);
            let codes = error.rdkafka_error_code().into_iter().chain(self.refused.try_iter());
            match (codes.filter(|code| is_for_good(*code)).last(), aborted) {
                (Some(code), Ok(())) => return Ok(Err(code)),
                // Sequence numbers of a refused batch are lost to the next one, whose failure makes librdkafka begin new ones.
                (None, Ok(())) if tries < TRIES => {}
                _ => return Err(DlqError::kafka(NOT_REDRIVEN)(error)),
            }
        }
    }

    /// Leaves the transaction open where it fails.
    fn attempt(&self, batch: &[Planned]) -> KafkaResult<()> {
        self.producer.begin_transaction()?;
        self.write(batch).map_err(KafkaError::MessageProduction)?;
        self.producer.commit_transaction(TIMEOUT)
    }

    fn write(&self, batch: &[Planned]) -> Result<(), RDKafkaErrorCode> {
        let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for Planned { place, topic, record } in batch {
            let parts = (record.key.clone(), record.value.clone());
            self.produce(Outgoing::raw(topic, None, parts, &record.headers, ()))?;
            offsets.entry(place.partition).or_default().push(place.offset);
        }
        for (partition, offsets) in offsets {
            let (marked, empty) = (mark(&offsets), Some(Bytes::new()));
            self.produce(Outgoing::raw(
                self.dead_letter_topic,
                Some(partition),
                (None, empty),
                &marked,
                (),
            ))?;
        }
        Ok(())
    }

    fn produce(&self, record: Result<Outgoing<()>, ()>) -> Result<(), RDKafkaErrorCode> {
        let record = record.map_err(|()| RDKafkaErrorCode::UnknownTopic)?;
        record.produce(self.producer.client()).map_err(|(code, ())| code)
    }
}

/// Another try would end the same way.
fn is_for_good(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::TopicAuthorizationFailed
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
    )
}

/// True once a signal came: the batch at hand is finished first, so that no open transaction holds up a request topic. A second signal
/// ends the process at once.
fn stop_on_signal() -> Result<Arc<AtomicBool>, DlqError> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let failed = |error: std::io::Error| DlqError::Usage(format!("signals cannot be taken: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let mut signals = runtime.block_on(async { Signals::install() }).map_err(failed)?;
    let listen = move || {
        runtime.block_on(async {
            signals.next().await;
            told.store(true, Ordering::Relaxed);
            signals.next().await;
            std::process::exit(exit::CUT_OFF.into());
        })
    };
    std::thread::Builder::new()
        .name("khp-signals".into())
        .spawn(listen)
        .map_err(failed)?;
    Ok(stop)
}
