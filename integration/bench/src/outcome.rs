//! What a load saw: every request of the measured interval, in a histogram.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A load prints this when its measured interval begins; then, when it has ended, `END` and an `Outcome` in JSON. It lives until it is
/// killed.
pub const BEGIN: &str = "begin";
/// See `BEGIN`.
pub const END: &str = "end";

/// The figures of one interval; latencies in µs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    pub seconds: f64,
    pub requests: u64,
    /// Requests that got no answer, or one that is not 200.
    pub errors: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Collects the requests that end while it is open.
pub struct Recorder {
    /// Microseconds.
    latencies: Histogram<u64>,
    errors: u64,
    began: Option<Instant>,
}

impl Recorder {
    pub fn new() -> crate::Result<Self> {
        // Three significant digits: well below 1 % off.
        Ok(Recorder {
            latencies: Histogram::new(3)?,
            errors: 0,
            began: None,
        })
    }

    /// Opens the interval, and says so to whoever measures.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
        println!("{BEGIN}");
    }

    pub fn answered(&mut self, latency: Duration) {
        if self.began.is_some() {
            self.latencies += latency.as_micros() as u64;
        }
    }

    pub fn failed(&mut self) {
        if self.began.is_some() {
            self.errors += 1;
        }
    }

    /// Closes the interval, says what it saw, and waits to be killed: until then whoever measures can ask about this process.
    pub fn end(&mut self) -> crate::Result<()> {
        let seconds = self.began.take().map_or(0.0, |began| began.elapsed().as_secs_f64());
        println!("{END}");
        let at = |quantile| self.latencies.value_at_quantile(quantile) as f64;
        let outcome = Outcome {
            seconds,
            requests: self.latencies.len(),
            errors: self.errors,
            mean: self.latencies.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.latencies.max() as f64,
        };
        println!("{}", serde_json::to_string(&outcome)?);
        loop {
            std::thread::park();
        }
    }
}
