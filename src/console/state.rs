//! How the process is, in words: one sentence, and everything that somebody woken at night should know.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::console::bounds::Bound;
use crate::console::history::Point;
use crate::console::sample::Reading;
use crate::management::board::{Board, ByTopic, by_topic, oldest};
use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::State as BreakerState;
use crate::processor::worker::view::WorkerView;
use crate::settings::Settings;

/// The share of a bound from which on it is told.
const NEAR: f64 = 0.8;
/// The share of failed requests from which on it is told.
const MANY_FAIL: f64 = 0.01;
/// Ms of the slowest hundredth from which on it is told.
const SLOW_MS: f64 = 1000.0;
/// What was longer ago is not told any more.
const RECENT: Duration = Duration::from_secs(60);
/// How long the oldest record of a topic may be under way before that is told.
const OLD: Duration = Duration::from_secs(30);

/// How the process is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    pub level: Level,
    /// One sentence.
    pub sentence: String,
    /// All that is not as it should be, the worst first.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It takes no traffic.
    Bad,
    /// It works, and somebody should look at it.
    Warn,
    Ok,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reason {
    pub level: Level,
    pub text: String,
}

/// What a state is judged by.
pub struct Evidence<'a> {
    pub board: &'a Board,
    pub settings: &'a Settings,
    pub reading: &'a Reading,
    /// The last minute, as one.
    pub minute: &'a Point,
    pub bounds: &'a [Bound],
}

impl State {
    /// Judges.
    pub fn of(evidence: &Evidence<'_>) -> Self {
        let mut reasons = Vec::new();
        let workers = evidence.board.workers();
        let topics = by_topic(&workers);
        let not_ready = evidence.board.not_ready();
        reasons.extend(not_ready.into_iter().map(|text| Reason {
            level: Level::Bad,
            text,
        }));
        let warnings = refusals(&topics)
            .into_iter()
            .chain(breakers(&topics))
            .chain(backends(&topics))
            .chain(clocks(evidence))
            .chain(failures(evidence.minute))
            .chain(slowness(evidence.minute))
            .chain(waiting(evidence.reading))
            .chain(evidence.bounds.iter().filter_map(near))
            .chain(old_records(&topics));
        reasons.extend(warnings.map(|text| Reason {
            level: Level::Warn,
            text,
        }));
        let level = reasons.first().map_or(Level::Ok, |reason| reason.level);
        State {
            level,
            sentence: sentence(level, &reasons, evidence.minute),
            reasons,
        }
    }
}

fn sentence(level: Level, reasons: &[Reason], minute: &Point) -> String {
    let first = reasons.first().map(|reason| &*reason.text).unwrap_or_default();
    let more = match reasons.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    match level {
        Level::Bad => format!("Not ready: {first}{more}."),
        Level::Warn => format!("Ready, but {first}{more}."),
        Level::Ok => match minute.p99_ms {
            Some(p99) => format!(
                "Ready and well: {} requests a second, 99 % of them within {}.",
                rounded(minute.rate),
                time(p99)
            ),
            None => "Ready and well. No request came in the last minute.".to_owned(),
        },
    }
}

/// Requests that were executed, and whose answers reach nobody.
fn refusals(topics: &ByTopic<'_>) -> Vec<String> {
    let last = |workers: &Vec<&WorkerView>| workers.iter().find_map(|worker| worker.refusals.within(RECENT));
    let text = |(name, workers): (&&str, &Vec<&WorkerView>)| {
        let refusal = last(workers)?;
        Some(format!(
            "Kafka does not take the replies of {name} into {}: {}",
            refusal.topic, refusal.code
        ))
    };
    topics.iter().filter_map(text).collect()
}

fn breakers(topics: &ByTopic<'_>) -> Vec<String> {
    let now = monotonic_ms();
    let of_topic = |(name, workers): (&&str, &Vec<&WorkerView>)| {
        let worker = workers.first()?;
        if worker.is_paused() {
            return Some(format!("topic {name} is paused by an operator"));
        }
        let (since, left) = worker.breaker.as_ref()?.opened(now)?;
        Some(match worker.breaker_state() {
            BreakerState::Open if left >= Duration::from_secs(1) => format!(
                "the breaker of {name} opened {} ago: its backend is left alone for {} more",
                seconds(since),
                seconds(left)
            ),
            _ => format!(
                "the breaker of {name} opened {} ago, and the next request probes its backend",
                seconds(since)
            ),
        })
    };
    topics.iter().filter_map(of_topic).collect()
}

fn backends(topics: &ByTopic<'_>) -> Vec<String> {
    let down = topics
        .iter()
        .filter(|(_, workers)| workers[0].backend.as_str() == "down");
    down.map(|(name, _)| format!("the backend of {name} fails its health check"))
        .collect()
}

fn clocks(evidence: &Evidence<'_>) -> Vec<String> {
    let tolerated = evidence.settings.processor.clock_tolerance.as_secs_f64();
    let skews = evidence.reading.skews.iter();
    let wrong = skews.filter(|(_, skew)| skew.abs() > tolerated);
    let text = |(topic, skew): (&String, &f64)| {
        let (by, how) = (rounded(skew.abs()), if *skew > 0.0 { "ahead of" } else { "behind" });
        format!("this clock is {by} s {how} the clock of a proxy that writes to {topic}")
    };
    wrong.map(text).collect()
}

fn failures(minute: &Point) -> Option<String> {
    let failed = minute.error_rate * f64::from(minute.seconds);
    let share = minute.error_rate / minute.rate.max(f64::MIN_POSITIVE);
    if failed < 1.0 || share < MANY_FAIL {
        return None;
    }
    let most = minute.codes.iter().max_by_key(|(_, count)| **count);
    let mostly = most.map(|(code, _)| format!(", most with {code}")).unwrap_or_default();
    let percent = rounded(share * 100.0);
    Some(format!("{percent} % of the requests of the last minute failed{mostly}"))
}

fn slowness(minute: &Point) -> Option<String> {
    let p99 = minute.p99_ms.filter(|p99| *p99 >= SLOW_MS)?;
    // The wait for a reply holds all that a processor does: where that is known, too, it says more.
    let all: f64 = minute.phases_ms.values().sum();
    let longest = minute.phases_ms.iter().max_by(|one, other| one.1.total_cmp(other.1));
    let where_it_is = longest
        .filter(|(_, ms)| **ms > all / 3.0)
        .map(|(phase, ms)| format!(": most of the time is {phase} ({} of each request)", time(*ms)));
    Some(format!(
        "requests are slow, one in a hundred takes {} or more{}",
        time(p99),
        where_it_is.unwrap_or_default()
    ))
}

fn waiting(reading: &Reading) -> Vec<String> {
    let waiting = reading.waiting.iter().filter(|(_, count)| **count >= 1.0);
    let text = |((topic, what), count): (&(String, String), &f64)| match &**what {
        "call" => format!("{count} records of {topic} wait for a place for their backend call"),
        _ => format!("{count} records of {topic} wait for their place in the rate limit"),
    };
    waiting.map(text).collect()
}

fn near(bound: &Bound) -> Option<String> {
    let is_near = bound.of > 0.0 && bound.used >= bound.of * NEAR;
    is_near.then(|| format!("{} are near their bound: {} of {}", bound.what, bound.used, bound.of))
}

fn old_records(topics: &ByTopic<'_>) -> Vec<String> {
    let text = |(name, workers): (&&str, &Vec<&WorkerView>)| {
        let oldest = oldest(workers)?.elapsed();
        (oldest > OLD).then(|| format!("the oldest record of {name} has been under way for {}", seconds(oldest)))
    };
    topics.iter().filter_map(text).collect()
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

fn time(ms: f64) -> String {
    match ms >= 1000.0 {
        true => format!("{} s", rounded(ms / 1000.0)),
        false => format!("{} ms", rounded(ms)),
    }
}

/// Whole numbers from 10 on, one decimal below.
fn rounded(number: f64) -> f64 {
    match number >= 10.0 {
        true => number.round(),
        false => (number * 10.0).round() / 10.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::history::Span;
    use crate::console::sample::Counts;

    fn minute(requests: u64, errors: u64, bucket: usize, codes: &[(&str, u64)]) -> Point {
        let mut counts = Counts {
            requests,
            errors,
            ..Counts::default()
        };
        counts.buckets[bucket] = requests;
        counts.phases.insert("backend".into(), requests as f64 * 1.5);
        counts.phases.insert("reply".into(), requests as f64 * 0.1);
        Span {
            at: 0,
            seconds: 60,
            counts,
            codes: codes.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
            in_flight: 0,
        }
        .point()
    }

    #[test]
    fn what_fails_and_what_is_slow_is_told_with_its_cause() {
        let failing = minute(600, 30, 4, &[("overloaded", 5), ("backend-timeout", 25)]);
        let text = failures(&failing).unwrap();
        assert_eq!(
            text,
            "5 % of the requests of the last minute failed, most with backend-timeout"
        );
        assert_eq!(failures(&minute(60_000, 5, 4, &[])), None, "few");
        assert_eq!(slowness(&failing), None);
        let slow = slowness(&minute(600, 0, 11, &[])).unwrap();
        assert!(
            slow.contains("most of the time is backend (1.5 s of each request)"),
            "{slow}"
        );
    }

    #[test]
    fn a_bound_is_told_when_it_is_near() {
        let bound = |used, of| Bound {
            name: "x".into(),
            what: "requests in flight".into(),
            used,
            of,
        };
        assert_eq!(near(&bound(79.0, 100.0)), None);
        assert_eq!(near(&bound(0.0, 0.0)), None);
        assert_eq!(
            near(&bound(80.0, 100.0)).unwrap(),
            "requests in flight are near their bound: 80 of 100"
        );
    }

    #[test]
    fn the_sentence_says_the_worst_first() {
        let reason = |level, text: &str| Reason {
            level,
            text: text.into(),
        };
        let quiet = Span::default().point();
        let reasons = [reason(Level::Bad, "Kafka does not answer"), reason(Level::Warn, "a")];
        assert_eq!(
            sentence(Level::Bad, &reasons, &quiet),
            "Not ready: Kafka does not answer (and 1 more)."
        );
        assert_eq!(sentence(Level::Warn, &reasons[1..], &quiet), "Ready, but a.");
        let busy = sentence(Level::Ok, &[], &minute(600, 0, 3, &[]));
        assert_eq!(busy, "Ready and well: 10 requests a second, 99 % of them within 10 ms.");
    }
}
