//! What came of a run.

use std::collections::HashSet;
use std::time::Duration;

use actix_khp::wire::CorrelationId;
use hdrhistogram::Histogram;

use super::script::Scenario;

/// Rows of the table follow.
pub const HEAD: &str = "\
| What happens | Requests | Answered | No answer in time | Refused | Cut | Executed twice | p50 | p99 | Slowest | Settled after | Skew |\n\
|---|---|---|---|---|---|---|---|---|---|---|---|";

/// Seconds of the beginning by which later ones are judged.
const BASELINE: usize = 20;
/// A second is settled that has no worse a p99 than this many times the one before anything happened.
const SETTLED: f64 = 2.0;

/// Counts, and what each second looked like.
pub struct Tally {
    pub requests: u64,
    pub answered: u64,
    pub in_vain: u64,
    pub refused: u64,
    /// Their proxy ended, or took no connection.
    pub cut: u64,
    /// Replies of each reply partition.
    pub replies: Vec<u64>,
    times: Histogram<u64>,
    seconds: Vec<Second>,
    /// When the last thing began that was to happen.
    pub last_event: Duration,
    /// Calls of requests that had been called before.
    pub twice: u64,
    begun: HashSet<u64>,
}

struct Second {
    times: Histogram<u64>,
    is_bad: bool,
}

impl Tally {
    pub fn new(reply_partitions: usize) -> Result<Self, hdrhistogram::CreationError> {
        Ok(Tally {
            requests: 0,
            answered: 0,
            in_vain: 0,
            refused: 0,
            cut: 0,
            replies: vec![0; reply_partitions],
            // Up to an hour: what is beyond the bounds would be recorded as the highest.
            times: Histogram::new_with_bounds(1, 3_600_000, 3)?,
            seconds: Vec::new(),
            last_event: Duration::ZERO,
            twice: 0,
            begun: HashSet::new(),
        })
    }

    pub fn answered(&mut self, now: Duration, took: Duration) {
        self.answered += 1;
        let took = took.as_millis().max(1) as u64;
        self.times.saturating_record(took);
        self.second(now).times.saturating_record(took);
    }

    /// A request is executed.
    pub fn called(&mut self, id: CorrelationId) {
        self.twice += u64::from(!self.begun.insert(id.low64()));
    }

    /// Something went wrong now.
    pub fn bad(&mut self, now: Duration) {
        self.second(now).is_bad = true;
    }

    fn second(&mut self, now: Duration) -> &mut Second {
        let number = now.as_secs() as usize;
        while self.seconds.len() <= number {
            let mut times = self.times.clone();
            times.reset();
            self.seconds.push(Second { times, is_bad: false });
        }
        &mut self.seconds[number]
    }

    /// From the last event to the end of the last second that was not as those before anything happened.
    fn settled_after(&self) -> Option<Duration> {
        let before: u64 = self
            .seconds
            .iter()
            .take(BASELINE)
            .map(|second| second.times.value_at_quantile(0.99))
            .max()?;
        let is_settled =
            |second: &Second| !second.is_bad && second.times.value_at_quantile(0.99) as f64 <= SETTLED * before as f64;
        let last = self.seconds.iter().rposition(|second| !is_settled(second));
        let end = last.map_or(Duration::ZERO, |last| Duration::from_secs(last as u64 + 1));
        Some(end.saturating_sub(self.last_event))
    }

    /// The most replies of one partition, over the average of those that are read.
    fn skew(&self) -> f64 {
        let used: Vec<u64> = self.replies.iter().copied().filter(|replies| *replies > 0).collect();
        let most = used.iter().max().copied().unwrap_or(0) as f64;
        most * used.len() as f64 / used.iter().sum::<u64>().max(1) as f64
    }

    /// A row of the table.
    pub fn row(&self, scenario: Scenario) -> String {
        let seconds = |quantile| self.times.value_at_quantile(quantile) as f64 / 1000.0;
        let settled = self.settled_after().map_or(0.0, |after| after.as_secs_f64());
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.3} s | {:.3} s | {:.1} s | {:.0} s | {:.2} |",
            scenario.name(),
            self.requests,
            self.answered,
            self.in_vain,
            self.refused,
            self.cut,
            self.twice,
            seconds(0.5),
            seconds(0.99),
            self.times.max() as f64 / 1000.0,
            settled,
            self.skew(),
        )
    }
}
