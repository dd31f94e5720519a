//! The dead letter topic, read from its beginning to its end.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::dlq::error::DlqError;
use crate::dlq::letter::{Letter, Place};
use crate::kafka::client::complaints::Complaints;
use crate::kafka::client::context::is_denied;
use crate::kafka::client::oauth;
use crate::kafka::client::properties;
use crate::kafka::cluster::admin::{TopicError, describe};
use crate::kafka::codes::is_of_group;
use crate::kafka::record::raw_record;
use crate::settings::Settings;
use crate::wire::sealing::is_sealed;
use crate::wire::{RawRecord, Sealing, redrive};

/// When nothing comes for this long, not even a partition's end, Kafka is gone.
const SILENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);

/// The configured keys.
///
/// # Errors
/// OpenSSL failed.
pub fn derive(settings: &Settings) -> Result<Sealing, DlqError> {
    let failed = |error| DlqError::Usage(format!("sealing keys: {error}"));
    settings.sealing.derive().map_err(failed)
}

/// Whether to read on.
pub enum Next {
    GoOn,
    Enough,
}

/// The topic.
pub struct Letters {
    consumer: BaseConsumer<Complaints>,
    topic: Arc<str>,
    partitions: i32,
    sealing: Sealing,
}

/// What was found in the topic at one time.
pub struct Survey {
    /// Letters that went back.
    redriven: HashSet<(i32, i64)>,
    /// By partition: what comes later is not looked at, or a redrive that fails would be its own work.
    ends: HashMap<i32, i64>,
}

impl Letters {
    /// Finds the topic; `None`: it does not exist, so nothing was ever given up.
    ///
    /// # Errors
    /// It is not configured, or Kafka does not answer.
    pub fn open(settings: &Settings) -> Result<Option<Self>, DlqError> {
        let topic = settings.processor.dead_letter_topic.as_deref();
        let topic = topic.ok_or(DlqError::NotConfigured)?;
        let sealing = derive(settings)?;
        let config = properties::dead_letter_reader(&settings.kafka);
        let consumer = BaseConsumer::from_config_and_context(&config, Complaints::default());
        let consumer = consumer.map_err(DlqError::kafka("Kafka client"))?;
        oauth::sign_in(consumer.client());
        let found = describe(consumer.client(), topic).map_err(|error| DlqError::Topic {
            reason: Complaints::of_consumer(&consumer),
            error: error.into(),
        })?;
        Ok(found.map(|found| Letters {
            consumer,
            topic: topic.into(),
            partitions: found.partitions,
            sealing,
        }))
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Complaints> {
        &self.consumer
    }

    /// Does Kafka have this topic?
    ///
    /// # Errors
    /// Kafka does not answer, or refuses.
    pub fn knows(&self, topic: &str) -> Result<bool, TopicError> {
        Ok(describe(self.consumer.client(), topic)?.is_some())
    }

    /// Reads every mark. A mark comes after the letters it speaks of, so this comes before `each`.
    ///
    /// # Errors
    /// Kafka does not answer, or refuses.
    pub fn survey(&self) -> Result<Survey, DlqError> {
        let mut survey = Survey {
            redriven: HashSet::new(),
            ends: HashMap::new(),
        };
        for partition in 0..self.partitions {
            self.read(partition, Offset::Beginning, |record| {
                let marked = redrive::marked(&record).into_iter().flatten();
                survey.redriven.extend(marked.map(|offset| (partition, offset)));
                survey.ends.insert(partition, record.offset + 1);
                Ok(Next::GoOn)
            })?;
        }
        Ok(survey)
    }

    /// Shows each letter of the survey, partition after partition.
    ///
    /// # Errors
    /// As `survey`, and `look`'s own.
    pub fn each(
        &self,
        survey: &Survey,
        mut look: impl FnMut(Letter) -> Result<Next, DlqError>,
    ) -> Result<(), DlqError> {
        let mut enough = false;
        for partition in 0..self.partitions {
            let end = survey.ends.get(&partition).copied().unwrap_or(0);
            self.read(partition, Offset::Beginning, |record| {
                if record.offset >= end {
                    return Ok(Next::Enough);
                }
                if redrive::marked(&record).is_some() {
                    return Ok(Next::GoOn);
                }
                let redriven = survey.redriven.contains(&(partition, record.offset));
                let opened = self.opened(&record);
                let next = look(Letter {
                    record,
                    opened,
                    redriven,
                })?;
                enough = matches!(next, Next::Enough);
                Ok(next)
            })?;
            if enough {
                break;
            }
        }
        Ok(())
    }

    /// A letter with its seal taken off, where it has one that opens.
    pub fn opened(&self, record: &RawRecord) -> Option<RawRecord> {
        let opened = self.sealing.open_letter(record);
        opened.ok().filter(|_| is_sealed(record)).map(Cow::into_owned)
    }

    /// The letter at one place, where there is one.
    ///
    /// # Errors
    /// As `survey`.
    pub fn at(&self, place: Place) -> Result<Option<RawRecord>, DlqError> {
        let mut found = None;
        if place.partition < self.partitions {
            self.read(place.partition, Offset::Offset(place.offset), |record| {
                let is_it = record.offset == place.offset && redrive::marked(&record).is_none();
                found = is_it.then_some(record);
                Ok(Next::Enough)
            })?;
        }
        Ok(found)
    }

    /// Reads one partition to its end, or until it is enough.
    fn read(
        &self,
        partition: i32,
        from: Offset,
        mut take: impl FnMut(RawRecord) -> Result<Next, DlqError>,
    ) -> Result<(), DlqError> {
        let what = || format!("dead letter topic {}", self.topic);
        let mut list = TopicPartitionList::new();
        let listed = list.add_partition_offset(&self.topic, partition, from);
        listed
            .and_then(|()| self.consumer.assign(&list))
            .map_err(DlqError::kafka(what()))?;
        let mut heard = Instant::now();
        let mut trouble = "no answer".to_owned();
        while heard.elapsed() < SILENCE {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) if message.partition() == partition => {
                    if let Next::Enough = take(raw_record(&message, &self.topic))? {
                        return Ok(());
                    }
                    heard = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => return Ok(()),
                Some(Err(error)) if is_of_group(&error) => {}
                Some(Err(error)) if is_denied(&error) => return Err(DlqError::kafka(what())(error)),
                Some(Err(error)) => trouble = error.to_string(),
                // Of the partition before, still under way when this one was assigned.
                Some(Ok(_)) | None => {}
            }
        }
        Err(DlqError::Silent(trouble))
    }
}
