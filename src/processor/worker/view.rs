//! A worker as the management API, the metrics and readiness see it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::kafka::group_pump::backlog::Backlog;
use crate::kafka::group_pump::handle::{Paused, PumpHandle};
use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::{Breaker, State};
use crate::processor::backend::health::BackendState;
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::metrics::TopicMetrics;
use crate::processor::record::refusals::LastRefusal;
use crate::settings::{BreakerMode, Topic};

/// The workers of the process. Clones share them.
#[derive(Clone, Default)]
pub struct Workers(Arc<ArcSwap<Vec<Arc<WorkerView>>>>);

impl Workers {
    /// Those of now.
    pub fn all(&self) -> Arc<Vec<Arc<WorkerView>>> {
        self.0.load_full()
    }

    /// From now on these are all.
    pub fn replace(&self, workers: Vec<Arc<WorkerView>>) {
        self.0.store(Arc::new(workers));
    }
}

/// One worker, seen from outside. It outlives the worker's generations.
pub struct WorkerView {
    pub topic: Topic,
    /// Its number among the topic's workers, from 0.
    pub index: usize,
    /// What the last health check of the backend found.
    pub backend: BackendState,
    /// `None`: switched off.
    pub breaker: Option<Arc<Breaker>>,
    /// Shared by the topic's workers.
    pub retry_budget: Arc<RetryBudget>,
    pub metrics: TopicMetrics,
    /// The last reply that Kafka did not take.
    pub refusals: LastRefusal,
    /// Set and cleared by the management API; read by the pump at each turn.
    paused: Arc<AtomicBool>,
    /// The present generation's; set by the factory, and emptied as the generation ends.
    pump: ArcSwapOption<PumpHandle>,
    /// The ends of partitions that stand still, as the broker reported them; set by the thread that watches them.
    ends: ArcSwap<HashMap<i32, i64>>,
}

impl WorkerView {
    pub fn new(
        topic: Topic,
        index: usize,
        backend: BackendState,
        breaker: Option<Arc<Breaker>>,
        retry_budget: Arc<RetryBudget>,
        metrics: TopicMetrics,
    ) -> Self {
        WorkerView {
            topic,
            index,
            backend,
            breaker,
            retry_budget,
            metrics,
            refusals: LastRefusal::default(),
            paused: Arc::default(),
            pump: ArcSwapOption::empty(),
            ends: ArcSwap::default(),
        }
    }

    /// A generation began (`Some`) or ended.
    pub fn set_pump(&self, pump: Option<PumpHandle>) {
        self.pump.store(pump.map(Arc::new));
    }

    /// The present generation has its share of partitions.
    pub fn is_assigned(&self) -> bool {
        self.pump
            .load()
            .as_ref()
            .is_some_and(|pump| pump.status().is_assigned())
    }

    /// Stops or starts the intake of records; what is under way finishes, and partitions stay assigned.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        if let Some(pump) = &*self.pump.load() {
            pump.wake();
        }
    }

    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// A breaker that is switched off never opens.
    pub fn breaker_state(&self) -> State {
        let state = |breaker: &Arc<Breaker>| breaker.state(monotonic_ms());
        self.breaker.as_ref().map_or(State::Closed, state)
    }

    /// Tells whether intake stands still: an operator stopped it, or the breaker does while the backend is left alone.
    pub fn pause(&self) -> Paused {
        let operator = self.paused.clone();
        let breaker = self
            .breaker
            .clone()
            .filter(|_| self.topic.breaker.mode == BreakerMode::Pause);
        Arc::new(move || {
            let open = |breaker: &Arc<Breaker>| breaker.state(monotonic_ms()) == State::Open;
            operator.load(Ordering::Acquire) || breaker.as_ref().is_some_and(open)
        })
    }

    pub fn partitions(&self) -> usize {
        self.pump.load().as_ref().map_or(0, |pump| pump.status().partitions())
    }

    /// What lies before the worker, by assigned partition; at most a second old.
    pub fn backlogs(&self) -> Vec<Backlog> {
        let pump = self.pump.load();
        pump.as_ref()
            .map_or_else(Vec::new, |pump| pump.status().backlogs().to_vec())
    }

    /// Records that are not finished, by partition; partitions of which that is not known yet are left out.
    pub fn lags(&self) -> Vec<(i32, i64)> {
        let ends = self.ends.load();
        let lag = |backlog: Backlog| Some((backlog.partition, backlog.lag(ends.get(&backlog.partition).copied())?));
        self.backlogs().into_iter().filter_map(lag).collect()
    }

    pub fn set_ends(&self, ends: HashMap<i32, i64>) {
        self.ends.store(Arc::new(ends));
    }
}
