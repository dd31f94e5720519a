//! Which records of a control topic are taken: those that are understood, and believed.

use std::ops::Range;
use std::sync::Arc;

use prometheus::IntCounter;
use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::config::Purpose;
use crate::kafka::record::Fetched;
use crate::kafka::reply_stream::Selection;
use crate::wire::SharedSealing;
use crate::wire::control::Control;
use crate::wire::sealing::{Binding, SealError};

/// Records of the control topic are small. A larger one is no such.
const LARGEST: usize = 4096;

/// A record of a control topic.
pub struct Heard {
    pub topic: Arc<str>,
    pub control: Control,
}

/// Takes what is a record of a control topic, and is believed: a cancel of who has no key would end requests of others.
pub struct Controls {
    /// The last record's topic, so that its name is not allocated for each.
    topic: Arc<str>,
    sealing: SharedSealing,
    unbelieved: IntCounter,
    /// That one was not believed was logged.
    is_logged: bool,
}

impl Controls {
    pub fn new(sealing: SharedSealing, unbelieved: IntCounter) -> Self {
        Controls {
            topic: Arc::from(""),
            sealing,
            unbelieved,
            is_logged: false,
        }
    }

    fn not_believed(&mut self, partition: i32, offset: i64, error: &SealError) {
        self.unbelieved.inc();
        if !std::mem::replace(&mut self.is_logged, true) {
            tracing::warn!(topic = %self.topic, partition, offset, %error, "a record of a control topic is not believed (said once)");
        }
    }
}

impl Selection for Controls {
    type Item = Heard;
    const PURPOSE: Purpose = Purpose::Control;
    const THREAD: &'static str = "khp-control";

    fn take(&mut self, message: Fetched<'_>) -> Option<Heard> {
        if message.exceeds(LARGEST) {
            return None;
        }
        if &*self.topic != message.topic() {
            self.topic = Arc::from(message.topic());
        }
        let topic = self.topic.clone();
        let record = message.copy(&topic, LARGEST).record;
        let opened = self.sealing.load().open(&record, Binding::Control { topic: &topic });
        let opened = opened.inspect_err(|error| self.not_believed(record.partition, record.offset, error));
        let opened = opened.ok()?;
        let control = Control::decode(&opened).inspect_err(|error| {
            tracing::debug!(%topic, error, "a record of a control topic is not understood");
        });
        control.ok().map(|control| Heard { topic, control })
    }

    fn beyond_repair(&self, code: RDKafkaErrorCode, reason: &str) {
        tracing::error!(%code, reason, "the control consumer is beyond repair: its reader is replaced, and its client with it");
    }

    fn passed_over(&self, topic: &str, partition: i32, batch: &Range<i64>) {
        tracing::error!(
            topic,
            partition,
            first = batch.start,
            last = batch.end - 1,
            "a batch of a control topic cannot be unpacked and is passed over: streams that wait for it end"
        );
    }
}
