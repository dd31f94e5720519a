//! The processor's parts, put together: what belongs to the process, and how each worker is made.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::ArbiterHandle;
use arc_swap::{ArcSwap, ArcSwapOption};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use prometheus::Registry;
use rdkafka::producer::Producer as _;
use tokio::sync::{Semaphore, mpsc};

use crate::kafka::client::properties;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::cluster::describe;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::RecordLimits;
use crate::kafka::group_pump::backlog::Backlog;
use crate::kafka::group_pump::handle::{Paused, PumpHandle};
use crate::kafka::group_pump::identity::{self, TopicIds};
use crate::kafka::group_pump::{self, PumpPlan};
use crate::kafka::producer::Producer;
use crate::kafka::topic_name::globs;
use crate::process::assemble_error::AssembleError;
use crate::process::progress::{Progress, monotonic_ms};
use crate::processor::backend::breaker::{self, Breaker, ProbeSlot};
use crate::processor::backend::client::Backend;
use crate::processor::backend::health::{BackendCheck, BackendState};
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::lag::ConsumerLag;
use crate::processor::metrics::{ProcessorMetrics, TopicMetrics};
use crate::processor::record::outbox::Deliveries;
use crate::processor::record::topic_lookup::Ensured;
use crate::processor::record::trouble::{DeadLetterTrouble, Once};
use crate::processor::worker::actor::{Inputs, TopicWorker};
use crate::processor::worker::ahead_limits::ahead_limits;
use crate::processor::worker::shared::Worker;
use crate::settings::{self, BreakerMode, Delivery, Ordering as RecordOrdering, Settings, Topic};
use crate::supervision::health_supervisor::{ExitNotice, Life, Pump, Supervised};
use crate::supervision::spawn_watched::spawn_watched;

/// Records on their way from a pump to its worker.
const HAND_OVER: usize = 256;
/// Room for our own headers beside a backend's answer.
const HEADROOM: usize = 64 << 10;

/// The processor, as the process, shutdown and the management API see it.
pub struct Processor {
    pub producer: Arc<Producer<Deliveries>>,
    pub workers: Vec<Arc<WorkerView>>,
    pub dead_letter_trouble: DeadLetterTrouble,
    pub metrics: ProcessorMetrics,
}

/// One worker, seen from outside; outlives its generations.
pub struct WorkerView {
    pub topic: Topic,
    pub index: usize,
    pub backend: BackendState,
    /// `None`: switched off.
    pub breaker: Option<Arc<Breaker>>,
    pub metrics: TopicMetrics,
    paused: Arc<AtomicBool>,
    pump: ArcSwapOption<PumpHandle>,
    /// The ends of partitions that stand still, as the broker told them.
    ends: ArcSwap<HashMap<i32, i64>>,
}

impl WorkerView {
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
    pub fn breaker_state(&self) -> breaker::State {
        let state = |breaker: &Arc<Breaker>| breaker.state(monotonic_ms());
        self.breaker.as_ref().map_or(breaker::State::Closed, state)
    }

    /// Tells whether intake stands still: an operator stopped it, or the breaker does while the backend is left alone.
    fn pause(&self) -> Paused {
        let operator = self.paused.clone();
        let breaker = self
            .breaker
            .clone()
            .filter(|_| self.topic.breaker.mode == BreakerMode::Pause);
        Arc::new(move || {
            let open = |breaker: &Arc<Breaker>| breaker.state(monotonic_ms()) == breaker::State::Open;
            operator.load(Ordering::Acquire) || breaker.as_ref().is_some_and(open)
        })
    }

    pub fn partitions(&self) -> usize {
        self.pump.load().as_ref().map_or(0, |pump| pump.status().partitions())
    }

    /// What lies before it, by assigned partition; at most a second old.
    pub fn backlogs(&self) -> Vec<Backlog> {
        let pump = self.pump.load();
        pump.as_ref()
            .map_or_else(Vec::new, |pump| pump.status().backlogs().to_vec())
    }

    /// Records that are not finished, by partition; those of which that is not known yet are left out.
    pub fn lags(&self) -> Vec<(i32, i64)> {
        let ends = self.ends.load();
        let lag = |backlog: Backlog| Some((backlog.partition, backlog.lag(ends.get(&backlog.partition).copied())?));
        self.backlogs().into_iter().filter_map(lag).collect()
    }

    pub fn set_ends(&self, ends: HashMap<i32, i64>) {
        self.ends.store(Arc::new(ends));
    }
}

/// Everything the process needs to run the role.
pub struct ProcessorParts {
    pub processor: Arc<Processor>,
    pub supervised: Vec<Box<dyn Supervised>>,
    pub checks: Vec<BackendCheck>,
}

/// Makes the role's clients and factories; nothing is consumed yet.
///
/// # Errors
/// librdkafka refuses the settings, or metrics clash.
pub fn assemble(
    settings: &Settings,
    registry: &Registry,
    kafka: &KafkaHealth,
) -> Result<ProcessorParts, AssembleError> {
    let metrics = ProcessorMetrics::register(registry)?;
    let own = &settings.processor;
    let longest = own
        .topics
        .iter()
        .map(|topic| topic.timeout)
        .max()
        .unwrap_or(Duration::ZERO);
    let config = properties::reply_producer(&settings.kafka, longest);
    let producer = Arc::new(Producer::new(config.clone(), Deliveries)?);
    let batches = producer.clone();
    let limits = RecordLimits::start(config.clone(), move |bytes| batches.limit_batches(bytes))?;
    let admin = TopicAdmin::new(config, settings.create_topics.clone());
    let topic_ids = TopicIds::default();
    let (asked, names) = (
        Arc::downgrade(&producer),
        own.topics.iter().map(|topic| topic.request_topic.clone()),
    );
    identity::watch(topic_ids.clone(), names.collect(), move |names| {
        let producer = asked.upgrade()?;
        Some(describe::topics(
            producer.client().client(),
            names.iter().map(String::as_str),
        ))
    })?;
    let all_calls = Arc::new(Semaphore::new(own.max_concurrent_requests));
    let workers_in_all = own.topics.iter().map(|topic| topic.workers).sum();
    let share = largest_share(own.max_concurrent_requests, workers_in_all);
    let dead_letter_trouble = DeadLetterTrouble::default();
    let forbidden = own
        .topics
        .iter()
        .map(|topic| topic.request_topic.clone())
        .chain(own.dead_letter_topic.clone());
    let forbidden: Arc<HashSet<String>> = Arc::new(forbidden.collect());
    let (mut workers, mut supervised, mut checks) = (Vec::new(), Vec::<Box<dyn Supervised>>::new(), Vec::new());
    let mut breakers = Breakers::default();
    // Asked about before the first answer.
    for topic in own
        .topics
        .iter()
        .map(|topic| &topic.response_topic)
        .chain(&own.dead_letter_topic)
    {
        limits.of(topic);
    }
    for topic in &own.topics {
        let topic_metrics = metrics.topic(&topic.request_topic, &topic.backend_url.to_string());
        let backend = BackendState::default();
        let breaker = breakers.of(topic);
        let retry_budget = Arc::new(RetryBudget::new(topic.retry.budget, monotonic_ms()));
        let rate_limit = topic.rate_limit.and_then(limiter).map(Arc::new);
        checks.push(BackendCheck {
            topic: topic.clone(),
            state: backend.clone(),
            breaker: breaker.clone(),
            gauge: topic_metrics.backend_up.clone(),
        });
        let concurrency = topic.concurrency.min(share);
        for index in 0..topic.workers {
            let instance = topic.group_instance_id.as_ref().map(|id| format!("{id}-{index}"));
            let view = Arc::new(WorkerView {
                topic: topic.clone(),
                index,
                backend: backend.clone(),
                breaker: breaker.clone(),
                metrics: topic_metrics.clone(),
                paused: Arc::default(),
                pump: ArcSwapOption::empty(),
                ends: ArcSwap::default(),
            });
            workers.push(view.clone());
            supervised.push(Box::new(WorkerFactory {
                name: format!("topic_worker:{}:{index}", topic.name),
                view,
                plan: PumpPlan {
                    topic: Arc::from(topic.request_topic.as_str()),
                    also: [Some(&topic.response_topic), own.dead_letter_topic.as_ref()]
                        .into_iter()
                        .flatten()
                        .cloned()
                        .collect(),
                    config: properties::request_consumer(&settings.kafka, &topic.consumer_group, instance.as_deref()),
                    start: topic.start,
                    topic_ids: topic_ids.clone(),
                    admin: admin.clone(),
                    window: (topic.concurrency * 4).max(256),
                    revoke_timeout: own.revoke_timeout,
                    ahead: (topic.delivery == Delivery::AtMostOnce)
                        .then(|| ahead_limits(concurrency, topic.ordering, topic.rate_limit)),
                    ordered: topic.ordering != RecordOrdering::Unordered,
                },
                producer: producer.clone(),
                all_calls: all_calls.clone(),
                concurrency,
                rate_limit: rate_limit.clone(),
                retry_budget: retry_budget.clone(),
                asks_health: !own.health_check_interval.is_zero(),
                forbidden: forbidden.clone(),
                dead_letter_topic: own.dead_letter_topic.as_deref().map(Arc::from),
                clock_tolerance: own.clock_tolerance,
                limits: limits.clone(),
                kafka: kafka.clone(),
                dead_letter_trouble: dead_letter_trouble.clone(),
            }));
        }
    }
    registry.register(Box::new(ConsumerLag::new(workers.clone())?))?;
    let processor = Arc::new(Processor {
        producer,
        workers,
        dead_letter_trouble,
        metrics,
    });
    Ok(ProcessorParts {
        processor,
        supervised,
        checks,
    })
}

/// One breaker for each backend and way to judge it.
#[derive(Default)]
struct Breakers(Vec<(settings::BackendUrl, settings::Breaker, Arc<Breaker>)>);

impl Breakers {
    fn of(&mut self, topic: &Topic) -> Option<Arc<Breaker>> {
        let (url, own) = (&topic.backend_url, topic.breaker);
        if own.mode == BreakerMode::Off {
            return None;
        }
        let known = self.0.iter().find(|(known, how, _)| known == url && *how == own);
        Some(known.map(|(.., breaker)| breaker.clone()).unwrap_or_else(|| {
            let breaker = Arc::new(Breaker::new(url.to_string(), &own));
            self.0.push((url.clone(), own, breaker.clone()));
            breaker
        }))
    }
}

/// A smooth limit: one record each 1/rate seconds, none saved up beyond one.
fn limiter(rate: f64) -> Option<DefaultDirectRateLimiter> {
    let quota = Quota::with_period(Duration::from_secs_f64(1.0 / rate))?;
    Some(RateLimiter::direct(quota.allow_burst(NonZeroU32::MIN)))
}

/// The most of the process's calls that one worker may have under way: what is left when each of the others has half its even share, so
/// that a backend that hangs does not take the places of all topics.
fn largest_share(calls: usize, workers: usize) -> usize {
    let others = workers.saturating_sub(1);
    let reserved = (calls / (2 * workers.max(1))).max(1);
    calls.saturating_sub(others * reserved).max(1)
}

/// Makes the generations of one worker.
struct WorkerFactory {
    name: String,
    view: Arc<WorkerView>,
    plan: PumpPlan,
    producer: Arc<Producer<Deliveries>>,
    all_calls: Arc<Semaphore>,
    concurrency: usize,
    rate_limit: Option<Arc<DefaultDirectRateLimiter>>,
    retry_budget: Arc<RetryBudget>,
    asks_health: bool,
    forbidden: Arc<HashSet<String>>,
    dead_letter_topic: Option<Arc<str>>,
    clock_tolerance: Duration,
    limits: RecordLimits,
    kafka: KafkaHealth,
    dead_letter_trouble: DeadLetterTrouble,
}

impl Supervised for WorkerFactory {
    fn name(&self) -> &str {
        &self.name
    }

    fn launch(&mut self, generation: u64, arbiter: &ArbiterHandle, exited: ExitNotice) -> Result<Life, String> {
        let topic = &self.view.topic;
        let (pump, completions) = PumpHandle::new(self.view.pause());
        let (records, records_receiver) = mpsc::channel(HAND_OVER);
        let (undelivered, undelivered_receiver) = mpsc::unbounded_channel();
        let worker = Arc::new(Worker {
            topic: topic.clone(),
            response_topic: Arc::from(topic.response_topic.as_str()),
            allowed_reply_topics: globs(&topic.allowed_reply_topics),
            forbidden_reply_topics: self.forbidden.clone(),
            dead_letter_topic: self.dead_letter_topic.clone(),
            producer: self.producer.clone(),
            pump: pump.clone(),
            concurrency: Semaphore::new(self.concurrency),
            all_calls: self.all_calls.clone(),
            rate_limit: self.rate_limit.clone(),
            retry_budget: self.retry_budget.clone(),
            breaker: self.view.breaker.clone(),
            probe: ProbeSlot::default(),
            asks_health: self.asks_health,
            clock_tolerance: self.clock_tolerance,
            limits: self.limits.clone(),
            kafka: self.kafka.clone(),
            metrics: self.view.metrics.clone(),
            undelivered,
            dead_letter_trouble: self.dead_letter_trouble.clone(),
            admin: self.plan.admin.clone(),
            ensured: Ensured::default(),
            once: Once::default(),
        });
        let progress = Progress::default();
        let (sign_of_life, max_body) = (progress.clone(), self.limits.own().saturating_sub(HEADROOM));
        let make = move |_: &mut actix::Context<TopicWorker>| {
            let topic = &worker.topic;
            let backend = Backend::new(&topic.backend_url, topic.host, topic.concurrency, max_body);
            // Checked at start; an Err here is a panic that the supervisor hears of, with this text.
            let backend = backend.unwrap_or_else(|error| panic!("{error}"));
            let inputs = Inputs {
                records: records_receiver,
                undelivered: undelivered_receiver,
            };
            TopicWorker::new(worker, backend, inputs, sign_of_life)
        };
        spawn_watched(arbiter, make, exited).ok_or("its thread could not be started")?;
        let thread = group_pump::spawn(self.plan.clone(), pump.clone(), completions, records)
            .map_err(|error| error.to_string())?;
        self.view.pump.store(Some(Arc::new(pump.clone())));
        tracing::info!(actor = self.name, generation, backend = %topic.backend_url, group = topic.consumer_group, "worker started");
        Ok(Life {
            progress: vec![progress, pump.progress().clone()],
            pump: Some(Pump { handle: pump, thread }),
        })
    }

    fn fell(&mut self) {
        self.view.pump.store(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_topic_leaves_places_for_the_others() {
        assert_eq!(largest_share(100, 1), 100);
        assert_eq!(largest_share(100, 2), 75);
        assert_eq!(largest_share(100, 10), 55);
        assert_eq!(largest_share(3, 10), 1);
    }
}
