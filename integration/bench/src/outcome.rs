//! Every request of a load's measured interval, in a histogram.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::protocol::{BEGIN, END};

/// The figures of one interval; latencies in µs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    pub seconds: f64,
    pub requests: u64,
    /// Requests without an answer, or with one that is not 200.
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

/// Collects the requests that end between `begin` and `end`.
pub struct Recorder {
    /// Microseconds.
    latencies: Histogram<u64>,
    errors: u64,
    began: Option<Instant>,
}

impl Recorder {
    pub fn new() -> Result<Self> {
        // Three significant digits: the error is well below 1 %.
        Ok(Recorder {
            latencies: Histogram::new(3)?,
            errors: 0,
            began: None,
        })
    }

    /// Opens the interval, and prints `BEGIN`.
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

    /// Closes the interval, prints its outcome and waits to be killed. Until then the process that measures can read this one's use.
    pub fn end(&mut self) -> Result<()> {
        let outcome = self.outcome();
        println!("{END}");
        println!("{}", serde_json::to_string(&outcome)?);
        loop {
            std::thread::park();
        }
    }

    /// Closes the interval.
    pub fn outcome(&mut self) -> Outcome {
        let seconds = self.began.take().map_or(0.0, |began| began.elapsed().as_secs_f64());
        let at = |quantile| self.latencies.value_at_quantile(quantile) as f64;
        Outcome {
            seconds,
            requests: self.latencies.len(),
            errors: self.errors,
            mean: self.latencies.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.latencies.max() as f64,
        }
    }
}
