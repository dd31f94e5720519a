//! A redrive that runs in this process: one at a time, on a thread of its own. Whoever asks sees how far it is.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::{Deserialize, Serialize};

use crate::console::live::Live;
use crate::dlq::error::DlqError;
use crate::dlq::letter::Place;
use crate::dlq::options::Redrive;
use crate::dlq::redrive::{Onlooker, Report, send_back};
use crate::process::phase::Phase;
use crate::settings::{Settings, rate};
use crate::wire::now_ms;

/// Letters of a dry run that are shown.
const PLANNED: usize = 200;
/// Places that are shown of each reason to stay.
const PLACES: usize = 20;

/// What is to be redriven.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// `FIELD=VALUE` or `FIELD~GLOB`; all must hold.
    #[serde(default)]
    pub filter: Vec<String>,
    /// Letters at most.
    pub max: Option<usize>,
    /// Letters per second at most.
    pub rate: Option<f64>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Order {
    /// As the command line has it.
    ///
    /// # Errors
    /// A filter or the rate is wrong; the text says how.
    pub fn parse(&self) -> Result<Redrive, String> {
        let filters = self.filter.iter().filter(|filter| !filter.trim().is_empty());
        let filters = filters.map(|filter| filter.trim().parse());
        let limit = self.rate.map(|per_second| rate(&per_second.to_string()));
        Ok(Redrive {
            filter: filters.collect::<Result<_, _>>()?,
            max: self.max,
            rate: limit.transpose().map_err(|problem| format!("rate: {problem}"))?,
            dry_run: self.dry_run,
            to: None,
            allow: Vec::new(),
        })
    }
}

/// How a redrive stands.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Progress {
    /// Counts from 1 in each process.
    pub number: u64,
    pub running: bool,
    pub dry_run: bool,
    /// The filters it was given.
    pub filter: Vec<String>,
    /// In ms since 1970.
    pub began: i64,
    pub ended: Option<i64>,
    /// Letters that went back; of a dry run, those that would.
    pub redriven: usize,
    /// The first letters of a dry run, and where each would go.
    pub planned: Vec<Plan>,
    pub left: Vec<Stay>,
    /// Why it ended early.
    pub error: Option<String>,
}

/// Where a letter would go.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    place: String,
    topic: String,
}

/// Letters that stay.
#[derive(Debug, Clone, Serialize)]
pub struct Stay {
    why: String,
    count: usize,
    /// The first of them.
    places: Vec<String>,
}

/// The redrives of this process. Clones share them.
#[derive(Clone)]
pub struct Redrives(Arc<Shared>);

struct Shared {
    live: Live,
    /// A process that drains redrives no more.
    phase: Phase,
    count: AtomicU64,
    running: AtomicBool,
    /// Of the one that runs: set when it is to end.
    stop: ArcSwap<AtomicBool>,
    last: ArcSwapOption<Progress>,
}

/// Why none was begun.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    #[error("a redrive runs already; stop it, or wait for its end")]
    Busy,
    #[error("there is no thread left for it: {0}")]
    NoThread(#[from] std::io::Error),
}

impl Redrives {
    pub fn new(live: Live, phase: Phase) -> Self {
        Redrives(Arc::new(Shared {
            live,
            phase,
            count: AtomicU64::new(0),
            running: AtomicBool::new(false),
            stop: ArcSwap::default(),
            last: ArcSwapOption::empty(),
        }))
    }

    /// The one that runs, or ran last.
    pub fn last(&self) -> Option<Arc<Progress>> {
        self.0.last.load_full()
    }

    /// Ends the one that runs, after the batch at hand.
    pub fn stop(&self) {
        self.0.stop.load().store(true, Ordering::Relaxed);
    }

    /// Begins one.
    ///
    /// # Errors
    /// Another one runs, or there is no thread left.
    pub fn begin(&self, settings: Arc<Settings>, order: Order, redrive: Redrive) -> Result<Arc<Progress>, NotBegun> {
        if self.0.running.swap(true, Ordering::AcqRel) {
            return Err(NotBegun::Busy);
        }
        let progress = Progress {
            number: self.0.count.fetch_add(1, Ordering::Relaxed) + 1,
            running: true,
            dry_run: order.dry_run,
            filter: order.filter,
            began: now_ms(),
            ..Progress::default()
        };
        let stop = Arc::new(AtomicBool::new(false));
        self.0.stop.store(stop.clone());
        let begun = self.tell(progress.clone());
        let follower = Follower {
            redrives: self.clone(),
            progress: RefCell::new(progress),
            stop,
        };
        let work = move || {
            // Whatever becomes of it, its end is told, and another one may begin.
            let done = catch_unwind(AssertUnwindSafe(|| send_back(&settings, &redrive, &follower)));
            let (report, done) = done.unwrap_or((None, Err(DlqError::Panicked)));
            follower.ended(report, done);
        };
        let spawned = std::thread::Builder::new().name("khp-redrive".into()).spawn(work);
        if let Err(error) = spawned {
            self.0.running.store(false, Ordering::Release);
            return Err(error.into());
        }
        Ok(begun)
    }

    fn tell(&self, progress: Progress) -> Arc<Progress> {
        self.0.live.tell("redrive", &progress);
        let progress = Arc::new(progress);
        // The next one may have begun before the end of this one is told.
        self.0.last.rcu(|last| match last {
            Some(last) if last.number > progress.number => last.clone(),
            _ => progress.clone(),
        });
        progress
    }
}

/// Follows one redrive, on its thread.
struct Follower {
    redrives: Redrives,
    progress: RefCell<Progress>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    fn ended(self, report: Option<Report>, done: Result<(), DlqError>) {
        let mut progress = self.progress.into_inner();
        progress.running = false;
        progress.ended = Some(now_ms());
        if let Some(report) = report {
            progress.note(&report);
        }
        progress.error = done.err().map(|error| match error {
            DlqError::Interrupted => "stopped; a new redrive goes on with the rest".to_owned(),
            error => error.to_string(),
        });
        if !progress.dry_run {
            let (redriven, left) = (
                progress.redriven,
                progress.left.iter().map(|stay| stay.count).sum::<usize>(),
            );
            tracing::info!(event = "redrive", redriven, left, error = ?progress.error, "dead letters redriven by an operator");
        }
        self.redrives.0.running.store(false, Ordering::Release);
        self.redrives.tell(progress);
    }
}

impl Onlooker for Follower {
    fn planned(&self, place: Place, topic: &str) -> Result<(), DlqError> {
        let planned = &mut self.progress.borrow_mut().planned;
        if planned.len() < PLANNED {
            let (place, topic) = (place.to_string(), topic.to_owned());
            planned.push(Plan { place, topic });
        }
        Ok(())
    }

    fn progress(&self, report: &Report) {
        let mut progress = self.progress.borrow_mut();
        progress.note(report);
        self.redrives.tell(progress.clone());
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.redrives.0.phase.is_draining()
    }
}

impl Progress {
    fn note(&mut self, report: &Report) {
        self.redriven = report.redriven;
        let left = report.left.iter().map(|(why, places)| Stay {
            why: why.to_string(),
            count: places.len(),
            places: places.iter().take(PLACES).map(Place::to_string).collect(),
        });
        self.left = left.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;

    fn order(json: &str) -> Result<Redrive, String> {
        let order: Order = serde_json::from_str(json).map_err(|error| error.to_string())?;
        order.parse()
    }

    #[test]
    fn an_order_is_what_the_command_line_takes() {
        let redrive = order(r#"{"filter":["error=backend-timeout",""],"max":5,"rate":0.5,"dry_run":true}"#).unwrap();
        assert_eq!(
            (redrive.filter.len(), redrive.max, redrive.rate),
            (1, Some(5), Some(0.5))
        );
        assert!(redrive.dry_run && redrive.to.is_none() && redrive.allow.is_empty());
        for wrong in [
            r#"{"filter":["colour=red"]}"#,
            r#"{"rate":0}"#,
            r#"{"rate":-1}"#,
            r#"{"to":"elsewhere"}"#,
            r#"{"max":-1}"#,
        ] {
            assert!(order(wrong).is_err(), "{wrong}");
        }
    }

    fn redrives() -> Redrives {
        Redrives::new(Live::new(&Registry::new()).unwrap(), Phase::default())
    }

    fn follower(redrives: &Redrives, number: u64) -> Follower {
        let progress = Progress {
            number,
            running: true,
            ..Progress::default()
        };
        Follower {
            redrives: redrives.clone(),
            progress: RefCell::new(progress),
            stop: Arc::default(),
        }
    }

    #[test]
    fn one_ends_when_it_is_stopped_or_its_process_drains() {
        let redrives = redrives();
        let stopped = follower(&redrives, 1);
        redrives.0.stop.store(stopped.stop.clone());
        redrives.stop();
        assert!(stopped.is_stopped());
        let other = follower(&redrives, 2);
        assert!(!other.is_stopped());
        redrives.0.phase.drain();
        assert!(other.is_stopped());
    }

    #[test]
    fn the_end_of_one_does_not_hide_the_next() {
        let redrives = redrives();
        let (one, next) = (follower(&redrives, 1), follower(&redrives, 2));
        next.progress(&Report::default());
        one.ended(None, Err(DlqError::Panicked));
        let last = redrives.last().unwrap();
        assert!(last.number == 2 && last.running, "{last:?}");
        next.ended(None, Ok(()));
        assert!(redrives.last().is_some_and(|last| last.number == 2 && !last.running));
    }

    #[test]
    fn one_runs_at_a_time_and_one_that_cannot_begin_says_why() {
        let redrives = redrives();
        redrives.0.running.store(true, Ordering::Relaxed);
        let loaded = crate::settings::load(crate::settings::Mode::Processor, &[], &Default::default());
        // Without a dead letter topic; the reference has none.
        let settings = match loaded {
            Ok(loaded) => Arc::new(loaded.settings),
            Err(_) => {
                let env = [("KAFKA_TOPICS", "a:a-requests,a-responses,http://127.0.0.1:9")];
                let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let mode = crate::settings::Mode::Processor;
                Arc::new(crate::settings::load(mode, &[], &env.into()).unwrap().settings)
            }
        };
        let begin = || {
            let order: Order = serde_json::from_str("{}").unwrap();
            let redrive = order.parse().unwrap();
            redrives.begin(settings.clone(), order, redrive)
        };
        assert!(matches!(begin(), Err(NotBegun::Busy)));
        redrives.0.running.store(false, Ordering::Relaxed);
        let begun = begin().unwrap();
        assert!(begun.running && begun.number == 1);
        let ended = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            redrives.last().filter(|last| !last.running)
        });
        let error = ended.unwrap().error.clone().unwrap();
        assert!(error.contains("dead_letter_topic"), "{error}");
    }
}
