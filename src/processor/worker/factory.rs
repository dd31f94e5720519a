//! Makes the generations of one worker: the actor, its pump, and what both share.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use tokio::sync::mpsc;

use crate::exchange::Exchanges;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::cluster::record_limits::RecordLimits;
use crate::kafka::config::Purpose;
use crate::kafka::group_pump::handle::{Command, PumpHandle};
use crate::kafka::group_pump::{self, PumpPlan};
use crate::kafka::producer::Producer;
use crate::process::progress::Progress;
use crate::processor::backend::breaker::ProbeSlot;
use crate::processor::backend::call_pool::CallPool;
use crate::processor::backend::client::Backend;
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::backend::tls::Connectors;
use crate::processor::bodies::readers::BodyReaders;
use crate::processor::memory::answers::Answers;
use crate::processor::memory::recall::Recall;
use crate::processor::memory::restore::Restorer;
use crate::processor::memory::restores::Restores;
use crate::processor::memory::worker::{MemoryParts, WorkerMemory};
use crate::processor::memory::writer::Writer;
use crate::processor::record::RecordProcessor;
use crate::processor::record::age::Ages;
use crate::processor::record::caller::Caller;
use crate::processor::record::dead_letter_trouble::DeadLetterTrouble;
use crate::processor::record::deadline::DeadlineRules;
use crate::processor::record::headers::HeaderRules;
use crate::processor::record::logged_once::LoggedOnce;
use crate::processor::record::outbox::{Deliveries, Outbox};
use crate::processor::record::rate_limit::RateLimit;
use crate::processor::record::recent_ids::RecentIds;
use crate::processor::record::reply_seal::ReplySeal;
use crate::processor::record::reply_topics::{Forbidden, ReplyTopics};
use crate::processor::record::settlement::Ledger;
use crate::processor::record::topic_lookup::TopicLookup;
use crate::processor::stream::shared::{Streams, WorkerStreams};
use crate::processor::worker::actor::{Inputs, TopicWorker};
use crate::processor::worker::view::WorkerView;
use crate::settings::Delivery;
use crate::supervision::spawn_watched::spawn_watched;
use crate::supervision::supervised::{ExitNotice, Home, Life, Pump, Supervised};
use crate::wire::SharedSealing;

/// Records on their way from a pump to its worker.
const HAND_OVER: usize = 256;
/// Room for our own headers beside a backend's answer.
const HEADROOM: usize = 64 << 10;

/// Makes the generations of one worker.
pub struct WorkerFactory {
    pub name: String,
    pub view: Arc<WorkerView>,
    pub plan: PumpPlan,
    /// How often a record may begin; shared by the topic's workers. `None`: records begin as they come.
    pub rate_limit: Option<Arc<RateLimit>>,
    /// Shared by the topic's workers.
    pub retry_budget: Arc<RetryBudget>,
    /// Shared by the topic's workers: reads what they remember.
    pub restorer: Arc<Restorer>,
    pub shared: Shared,
}

/// What all workers of the process share.
#[derive(Clone)]
pub struct Shared {
    pub producer: Arc<Producer<Deliveries>>,
    /// How large a record may be, by topic.
    pub limits: RecordLimits,
    /// The places for backend calls.
    pub calls: Arc<CallPool>,
    pub body_readers: BodyReaders,
    /// Open connections to backends.
    pub connectors: Connectors,
    /// Health checks are switched on.
    pub asks_health: bool,
    /// Topics that no reply may go to.
    pub forbidden: Forbidden,
    pub dead_letter_topic: Option<Arc<str>>,
    pub dead_letter_trouble: DeadLetterTrouble,
    pub clock_tolerance: Duration,
    pub max_clock_skew: Duration,
    /// How many ids all workers remember.
    pub remembered_ids: IntGauge,
    pub kafka: KafkaHealth,
    /// Told of each record that ends.
    pub exchanges: Exchanges,
    pub sealing: SharedSealing,
    /// Of the whole process.
    pub streams: Streams,
    /// Reads remembered answers.
    pub recall: Recall,
    /// The places of partitions whose keys are read.
    pub restores: Restores,
}

impl Supervised for WorkerFactory {
    fn name(&self) -> &str {
        &self.name
    }

    fn launch(&mut self, generation: u64, home: &Home, exited: ExitNotice) -> Result<Life, String> {
        let topic = &self.view.topic;
        let (handle, completions) = PumpHandle::new(self.view.pause());
        let (records, records_receiver) = mpsc::channel(HAND_OVER);
        let (undelivered, undelivered_receiver) = mpsc::unbounded_channel();
        let response_topic: Arc<str> = Arc::from(topic.response_topic.as_str());
        let dead_letters = self
            .shared
            .dead_letter_topic
            .iter()
            .map(|topic| (topic.clone(), Purpose::DeadLetters));
        let seal = ReplySeal {
            sealing: self.shared.sealing.clone(),
            request_topic: Arc::from(topic.request_topic.as_str()),
        };
        let outbox = Outbox {
            seal,
            producer: self.shared.producer.clone(),
            limits: self.shared.limits.clone(),
            undelivered,
            own_topics: std::iter::once((response_topic.clone(), Purpose::Replies))
                .chain(dead_letters)
                .collect(),
            admin: self.plan.admin.clone(),
            lookup: TopicLookup::default(),
            dead_letter_trouble: self.shared.dead_letter_trouble.clone(),
            metrics: self.view.metrics.clone(),
            refusals: self.view.refusals.clone(),
            undeliverable_logged: LoggedOnce::default(),
        };
        let ledger = Ledger::new(topic, handle.clone(), self.view.metrics.clone());
        let progress = Progress::default();
        let worked_on = Arc::new(());
        let is_worked_on = Arc::downgrade(&worked_on);
        let make = {
            let (view, shared, sign_of_life) = (self.view.clone(), self.shared.clone(), progress.clone());
            let (rate_limit, retry_budget) = (self.rate_limit.clone(), self.retry_budget.clone());
            let restorer = self.restorer.clone();
            let over = home.over.clone();
            let heard = shared.streams.control_of(topic).map(|control| control.listen());
            let inputs = Inputs {
                records: records_receiver,
                undelivered: undelivered_receiver,
                heard,
            };
            move |_: &mut actix::Context<TopicWorker>| {
                let caller = caller(&view, &shared, rate_limit, retry_budget);
                let processor = record_processor(caller, &shared, (ledger, outbox), response_topic, restorer);
                TopicWorker::new(processor, inputs, over, worked_on, sign_of_life)
            }
        };
        spawn_watched(home, make, exited).ok_or("its thread could not be started")?;
        let thread = group_pump::spawn(self.plan.clone(), handle.clone(), completions, records)
            .map_err(|error| error.to_string())?;
        self.view.set_pump(Some(handle.clone()));
        tracing::info!(event = "start", actor = self.name, generation, backend = %topic.backend_url, group = topic.consumer_group, "worker started");
        Ok(Life {
            progress: vec![progress, handle.progress().clone()],
            pump: Some(Box::new(GroupPump {
                handle,
                thread: Some(thread),
                worked_on: is_worked_on,
            })),
        })
    }

    fn generation_ended(&mut self) {
        self.view.set_pump(None);
    }
}

/// Runs on the worker's Arbiter: the connections to the backend live there.
fn caller(
    view: &WorkerView,
    shared: &Shared,
    rate_limit: Option<Arc<RateLimit>>,
    retry_budget: Arc<RetryBudget>,
) -> Caller {
    let topic = &view.topic;
    let max_body = shared.limits.own().saturating_sub(HEADROOM);
    let backend = shared
        .connectors
        .of(&topic.tls)
        .and_then(|connector| Backend::new(&connector, &topic.backend_url, topic.host, topic.concurrency, max_body));
    Caller {
        topic: topic.clone(),
        // The settings were checked at start. An Err here is a panic, which the supervisor hears of with this text.
        backend: backend.unwrap_or_else(|error| panic!("{error}")),
        places: shared
            .calls
            .places(topic.concurrency, view.metrics.waiting_for_call.clone()),
        rate_limit,
        retry_budget,
        breaker: view.breaker.clone(),
        probe: ProbeSlot::default(),
        body_readers: shared.body_readers.clone(),
        bodies_topic: Arc::from(topic.streams.bodies_topic.as_str()),
        asks_health: shared.asks_health,
        metrics: view.metrics.clone(),
    }
}

fn record_processor(
    caller: Caller,
    shared: &Shared,
    (ledger, outbox): (Ledger, Outbox),
    response_topic: Arc<str>,
    restorer: Arc<Restorer>,
) -> RecordProcessor {
    let topic = &caller.topic;
    let outbox = Arc::new(outbox);
    if topic.keeps_answers() {
        // Asked for now: the pieces of the first answer are cut by it.
        outbox.limits.of(&restorer.answers);
    }
    let memory = MemoryParts {
        settings: topic.memory.clone(),
        at_most_once: topic.delivery == Delivery::AtMostOnce,
        writer: Writer::new(outbox.clone(), restorer.clone()),
        answers: Answers::new(outbox.clone(), shared.kafka.clone(), restorer.clone()),
        restorer,
        recall: shared.recall.clone(),
        sealing: shared.sealing.clone(),
        metrics: caller.metrics.memory.clone(),
    };
    RecordProcessor {
        ledger: Arc::new(ledger),
        deadlines: DeadlineRules {
            clock_tolerance: shared.clock_tolerance,
            max_clock_skew: shared.max_clock_skew,
            ages: Ages::default(),
            clock_skew: caller.metrics.clock_skew.clone(),
            skew_logged: LoggedOnce::default(),
        },
        reply_topics: ReplyTopics::new(topic, response_topic, shared.forbidden.clone(), caller.metrics.clone()),
        seal: outbox.seal.clone(),
        outbox,
        memory: WorkerMemory::new(memory),
        dead_letter_topic: shared.dead_letter_topic.clone(),
        kafka: shared.kafka.clone(),
        exchanges: shared.exchanges.clone(),
        header_rules: HeaderRules::new(topic),
        recent_ids: RecentIds::new(shared.remembered_ids.clone()),
        streams: WorkerStreams::new(&shared.streams, topic, &caller.metrics),
        caller,
    }
}

/// A pump's thread, as supervision and shutdown see it.
struct GroupPump {
    handle: PumpHandle,
    /// Taken by `join`.
    thread: Option<JoinHandle<()>>,
    /// Held by the worker, and by each record that is worked on.
    worked_on: Weak<()>,
}

impl Pump for GroupPump {
    fn drain(&self) {
        self.handle.command(Command::Drain);
    }

    fn stop(&self) {
        self.handle.command(Command::Stop);
    }

    fn is_drained(&self) -> bool {
        self.handle.status().is_drained()
    }

    fn is_worked_on(&self) -> bool {
        self.worked_on.strong_count() > 0
    }

    fn join(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Err: it panicked, and the panic hook has logged it.
        drop(self.thread.take().map(JoinHandle::join));
        true
    }
}
