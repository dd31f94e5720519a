//! What is counted of large bodies.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::error::RequestError;
use crate::metrics::register;

/// The client left, or its body broke off.
const CLIENT_LEFT: &str = "client-left";
/// All of it is in Kafka.
const WRITTEN: &str = "written";

/// The metrics of all uploads.
#[derive(Clone)]
pub struct UploadMetrics {
    open: IntGauge,
    bytes: IntCounter,
    outcomes: IntCounterVec,
    pub unacknowledged: IntGauge,
}

impl UploadMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(UploadMetrics {
            open: register(
                registry,
                IntGauge::new("proxy_uploads_open", "Bodies on their way to a topic of bodies")?,
            )?,
            bytes: register(
                registry,
                IntCounter::new("proxy_upload_bytes_total", "Bytes written to topics of bodies")?,
            )?,
            outcomes: register(
                registry,
                IntCounterVec::new(
                    Opts::new("proxy_uploads_total", "Bodies that were begun, by what became of them"),
                    &["topic", "outcome"],
                )?,
            )?,
            unacknowledged: register(
                registry,
                IntGauge::new(
                    "proxy_upload_unacknowledged_bytes",
                    "Bytes of bodies that Kafka has not acknowledged yet",
                )?,
            )?,
        })
    }

    /// Counts a body that begins; `topic` is the label of its request topic.
    pub fn begin(&self, topic: &str) -> OpenUpload {
        self.open.inc();
        OpenUpload {
            topic: topic.to_owned(),
            outcome: CLIENT_LEFT,
            all: self.clone(),
        }
    }
}

/// A body on its way. One that is dropped without an outcome was its client's to end.
pub struct OpenUpload {
    topic: String,
    outcome: &'static str,
    all: UploadMetrics,
}

impl OpenUpload {
    pub fn sent(&self, bytes: usize) {
        self.all.bytes.inc_by(bytes as u64);
        self.all.unacknowledged.add(bytes as i64);
    }

    pub fn written(&mut self) {
        self.outcome = WRITTEN;
    }

    pub fn failed(&mut self, error: RequestError) {
        self.outcome = match error {
            RequestError::BadRequest => CLIENT_LEFT,
            error => error.code(),
        };
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        self.all.open.dec();
        let labels = [self.topic.as_str(), self.outcome];
        self.all.outcomes.with_label_values(&labels).inc();
    }
}
