//! What a run of streams finds, as `streams.json` holds it.

use serde::Serialize;

use crate::figures::{Machine, Point, Row};
use crate::options::{Options, Scenario, System};

/// Events a second of the only stream of an idle system.
pub const IDLE_RATE: u64 = 10;
/// Tokens a second of each of many streams.
pub const TOKEN_RATE: u64 = 20;
/// The small requests beside a download: connections, and requests a second of them all.
pub const BESIDE: (usize, f64) = (16, 200.0);

/// Everything that a run of streams finds.
#[derive(Debug, Serialize)]
pub struct StreamRun {
    pub machine: Machine,
    pub options: Options,
    /// The replication factor of every topic. It is 1: a run has one broker.
    pub replication_factor: u32,
    pub bounds: Vec<Bound>,
    /// The medians of the repeats.
    pub rows: Vec<StreamRow>,
    pub points: Vec<StreamPoint>,
}

/// One measured interval.
#[derive(Debug, Serialize)]
pub struct StreamPoint {
    pub scenario: Scenario,
    /// Empty where there is only one.
    pub case: String,
    /// Bytes of a large body.
    pub size: u64,
    pub point: Point,
}

/// The medians of all points with the same load.
#[derive(Debug, Serialize)]
pub struct StreamRow {
    pub scenario: Scenario,
    pub case: String,
    pub size: u64,
    pub row: Row,
}

impl StreamRow {
    pub fn is_of(&self, scenario: Scenario, case: &str, system: System) -> bool {
        (self.scenario, &*self.case, self.row.system) == (scenario, case, system)
    }

    /// Of a large body, from the median of the times that it took.
    pub fn mib_per_second(&self) -> Option<f64> {
        let is_large = matches!(self.scenario, Scenario::Down | Scenario::Up) && self.row.p50 > 0.0;
        is_large.then(|| self.size as f64 / f64::from(1 << 20) / (self.row.p50 / 1e6))
    }
}

/// A figure that is to be reached.
#[derive(Debug, Serialize)]
pub struct Bound {
    pub what: String,
    pub found: f64,
    /// The most, or the least, that `found` may be.
    pub bound: f64,
    pub is_kept: bool,
}
