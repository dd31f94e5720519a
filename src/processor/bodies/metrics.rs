//! What is counted of large bodies.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::metrics::register;

/// The metrics of all bodies that are read.
#[derive(Clone)]
pub struct BodyMetrics {
    /// Readers at work.
    pub reading: IntGauge,
    /// Bytes that backends were given.
    pub bytes: IntCounter,
    /// Records that wait for a reader.
    pub waiting: IntGauge,
    outcomes: IntCounterVec,
}

/// What became of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingEnd {
    Whole,
    Gone,
    Unread,
    /// The call ended before all of the body was taken.
    CallEnded,
}

impl BodyMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(BodyMetrics {
            reading: register(
                registry,
                IntGauge::new("processor_body_readers_busy", "Readers of large bodies at work")?,
            )?,
            bytes: register(
                registry,
                IntCounter::new("processor_body_bytes_total", "Bytes of large bodies read for backends")?,
            )?,
            waiting: register(
                registry,
                IntGauge::new(
                    "processor_waiting_for_body_reader",
                    "Records that wait for a reader of large bodies",
                )?,
            )?,
            outcomes: register(
                registry,
                IntCounterVec::new(
                    Opts::new("processor_bodies_total", "Readings of large bodies, by how they ended"),
                    &["topic", "outcome"],
                )?,
            )?,
        })
    }

    /// Counts a reading that has ended; `topic` is the topic of bodies.
    pub fn ended(&self, topic: &str, end: ReadingEnd) {
        let outcome = match end {
            ReadingEnd::Whole => "whole",
            ReadingEnd::Gone => "gone",
            ReadingEnd::Unread => "unread",
            ReadingEnd::CallEnded => "call-ended",
        };
        self.outcomes.with_label_values(&[topic, outcome]).inc();
    }
}
