//! The last 15 minutes, kept in the process: the last two by the second, the rest by ten seconds.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::console::sample::Counts;

/// Seconds that are kept one by one.
const SECONDS: usize = 120;
/// How many of them become one step.
pub const STEP: usize = 10;
/// Steps that are kept, beside the seconds: 13 minutes.
const STEPS: usize = 78;

/// What happened in a second, or in a step of several.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// How long it was, in seconds.
    pub seconds: u32,
    pub counts: Counts,
    /// Failed requests, by the code of their error.
    pub codes: BTreeMap<String, u64>,
    /// The most that were in flight.
    pub in_flight: u64,
}

/// A span as the API tells it. What a process of another version does not tell counts as nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// How long it was, in seconds.
    pub seconds: u32,
    /// Requests per second.
    pub rate: f64,
    /// Failed ones per second.
    pub error_rate: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub in_flight: u64,
    /// Failed requests, by code.
    pub codes: BTreeMap<String, u64>,
    /// Milliseconds of one request, by phase.
    pub phases_ms: BTreeMap<String, f64>,
}

/// The spans.
#[derive(Debug, Default)]
pub struct History {
    seconds: VecDeque<Span>,
    steps: VecDeque<Span>,
}

impl History {
    /// Takes in a second.
    pub fn push(&mut self, span: Span) {
        self.seconds.push_back(span);
        if self.seconds.len() >= SECONDS + STEP {
            let mut step = Span::default();
            self.seconds.drain(..STEP).for_each(|second| step.add(&second));
            self.steps.push_back(step);
            let passed = self.steps.len().saturating_sub(STEPS);
            self.steps.drain(..passed);
        }
    }

    /// All of it, the oldest first.
    pub fn points(&self) -> Vec<Point> {
        self.steps.iter().chain(&self.seconds).map(Span::point).collect()
    }

    /// The last so many seconds, as one.
    pub fn last(&self, seconds: usize) -> Span {
        let skipped = self.seconds.len().saturating_sub(seconds);
        let mut last = Span::default();
        self.seconds.iter().skip(skipped).for_each(|second| last.add(second));
        last
    }
}

impl Span {
    fn add(&mut self, later: &Span) {
        self.at = later.at;
        self.seconds += later.seconds;
        self.counts.add(&later.counts);
        self.in_flight = self.in_flight.max(later.in_flight);
        for (code, count) in &later.codes {
            *self.codes.entry(code.clone()).or_default() += count;
        }
    }

    pub fn point(&self) -> Point {
        let per_second = |count: u64| count as f64 / f64::from(self.seconds.max(1));
        Point {
            at: self.at,
            seconds: self.seconds,
            rate: per_second(self.counts.requests),
            error_rate: per_second(self.counts.errors),
            p50_ms: self.counts.quantile(0.5),
            p99_ms: self.counts.quantile(0.99),
            in_flight: self.in_flight,
            codes: self.codes.clone(),
            phases_ms: self.counts.mean_phases(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: u64, requests: u64) -> Span {
        Span {
            at,
            seconds: 1,
            counts: Counts {
                requests,
                ..Counts::default()
            },
            codes: BTreeMap::from([("overloaded".to_owned(), 1)]),
            in_flight: at % 7,
        }
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept_and_nothing_is_lost_of_it() {
        let mut history = History::default();
        for at in 0..10_000 {
            history.push(second(at, 3));
        }
        let points = history.points();
        let seconds: u32 = points.iter().map(|point| point.seconds).sum();
        assert!((895..=910).contains(&seconds), "{seconds}");
        assert!(points.len() < 220, "{}", points.len());
        assert!(points.iter().all(|point| point.rate == 3.0));
        assert_eq!(points.last().map(|point| point.at), Some(9_999));
        let coarse = &points[0];
        assert_eq!((coarse.seconds, coarse.in_flight), (10, 6));
        assert_eq!(coarse.codes["overloaded"], 10);
        assert!(
            points
                .windows(2)
                .all(|pair| pair[0].at + u64::from(pair[1].seconds) == pair[1].at)
        );
    }

    #[test]
    fn the_last_seconds_are_one_span() {
        let mut history = History::default();
        assert_eq!(history.last(60).counts.requests, 0);
        for at in 0..90 {
            history.push(second(at, at));
        }
        let last = history.last(60);
        assert_eq!((last.seconds, last.at), (60, 89));
        assert_eq!(last.counts.requests, (30..90).sum::<u64>());
    }
}
