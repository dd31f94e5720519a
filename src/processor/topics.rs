//! The topics that a process works on: makes the workers of each, and exchanges those whose settings a reload changes.
//!
//! A topic whose settings change is worked on by others from then on: its workers finish what they have and leave its group, then its new
//! ones join. Topics that stay as they are never notice.

use std::collections::HashSet;
use std::sync::Arc;

use actix::Addr;
use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use crate::kafka::client::properties;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::config::Purpose;
use crate::kafka::group_pump::PumpPlan;
use crate::kafka::group_pump::identity::TopicIds;
use crate::kafka::group_pump::window::ByteBudget;
use crate::process::progress::monotonic_ms;
use crate::processor::backend::breaker::Breakers;
use crate::processor::backend::health::{self, BackendCheck, BackendState};
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::backend::tls::NextConnectors;
use crate::processor::memory::restore::Restorer;
use crate::processor::metrics::ProcessorMetrics;
use crate::processor::record::rate_limit::RateLimit;
use crate::processor::stream::control_reader::ControlReaderFactory;
use crate::processor::worker::ahead_limits::ahead_limits;
use crate::processor::worker::exchange::exchange;
use crate::processor::worker::factory::{Shared, WorkerFactory};
use crate::processor::worker::view::{WorkerView, Workers};
use crate::settings::{self, Delivery, Fault, Ordering, Settings, Topic};
use crate::supervision::health_supervisor::HealthSupervisor;
use crate::supervision::supervised::Supervised;
use crate::wire::Sealing;

/// The topics of the process.
pub struct Topics {
    means: Means,
    breakers: Breakers,
    topics: Vec<OwnTopic>,
    /// Control topics are read.
    reads_control: bool,
    /// The last exchange of workers.
    exchange: Option<JoinHandle<()>>,
}

/// The request topics of the process. Read by the thread that asks for their identities.
pub type RequestTopics = Arc<ArcSwap<Vec<String>>>;

/// One topic that is worked on.
struct OwnTopic {
    topic: Topic,
    views: Vec<Arc<WorkerView>>,
    /// The task that checks its backend.
    check: Option<JoinHandle<()>>,
}

impl Drop for OwnTopic {
    fn drop(&mut self) {
        self.check.take().inspect(JoinHandle::abort);
    }
}

/// Settings that can be taken over.
pub struct Prepared {
    topics: Vec<Topic>,
    sealing: Sealing,
    connectors: NextConnectors,
}

impl Prepared {
    /// Makes ready what the settings ask for. Changes nothing. Reads the TLS files of backends, which blocks.
    ///
    /// # Errors
    /// What cannot be taken over.
    pub fn read(settings: &Settings) -> Result<Self, Vec<Fault>> {
        let fault = |key: &str, problem: String| Fault {
            key: key.to_owned(),
            problem,
            origin: None,
        };
        let topics = &settings.processor.topics;
        let connectors = NextConnectors::read(topics.iter().map(|topic| &topic.tls));
        let sealing = settings.sealing.derive();
        match (connectors, sealing) {
            (Ok(connectors), Ok(sealing)) => Ok(Prepared {
                topics: topics.clone(),
                sealing,
                connectors,
            }),
            (connectors, sealing) => {
                let connectors = connectors.err().map(|error| fault("topics", error));
                let sealing = sealing.err().map(|error| fault("sealing.keys", error.to_string()));
                Err(connectors.into_iter().chain(sealing).collect())
            }
        }
    }
}

/// What all topics are made with.
pub struct Means {
    /// Those of the start: what a reload leaves as it was.
    pub settings: Settings,
    pub shared: Shared,
    pub budget: ByteBudget,
    pub admin: TopicAdmin,
    pub topic_ids: TopicIds,
    /// The names that `topic_ids` are of.
    pub request_topics: RequestTopics,
    pub metrics: ProcessorMetrics,
    /// The workers of all topics.
    pub workers: Workers,
}

impl Topics {
    /// The topics of the settings, and the factories of their workers. Must run inside an actix `System`.
    pub fn new(means: Means) -> (Self, Vec<Box<dyn Supervised>>) {
        let wanted = means.settings.processor.topics.clone();
        let mut topics = Topics {
            means,
            breakers: Breakers::default(),
            topics: Vec::new(),
            reads_control: false,
            exchange: None,
        };
        let mut supervised: Vec<_> = wanted.iter().flat_map(|topic| topics.add(topic)).collect();
        supervised.extend(topics.control_reader());
        topics.show();
        (topics, supervised)
    }

    /// Takes the settings over. Workers are exchanged in a task; `stuck` hears of one that cannot be got rid of.
    pub fn apply(&mut self, prepared: Prepared, supervisor: &Addr<HealthSupervisor>, stuck: impl Fn(String) + 'static) {
        let Prepared {
            topics: wanted,
            sealing,
            connectors,
        } = prepared;
        self.means.shared.sealing.store(Arc::new(sealing));
        self.means.shared.connectors.replace(connectors);
        self.means.shared.streams.replace_controls(&wanted);
        let (mut kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.topics)
            .into_iter()
            .partition(|own| wanted.contains(&own.topic));
        self.topics.append(&mut kept);
        let added: Vec<_> = wanted
            .iter()
            .filter(|topic| !self.topics.iter().any(|own| own.topic == **topic))
            .collect();
        let names: HashSet<&str> = added.iter().map(|topic| &*topic.name).collect();
        for own in &gone {
            let what = if names.contains(&*own.topic.name) {
                "changed"
            } else {
                "removed"
            };
            tracing::info!(
                topic = own.topic.name,
                what,
                "a topic's workers finish what they have and end"
            );
        }
        let stay: Vec<_> = self.topics.iter().map(|own| &own.topic).collect();
        gone.iter().for_each(|own| self.means.metrics.forget(&own.topic, &stay));
        for topic in &added {
            tracing::info!(
                topic = topic.name,
                request_topic = topic.request_topic,
                "a topic is worked on"
            );
        }
        let released: Vec<String> = gone
            .iter()
            .flat_map(|own| (0..own.topic.workers).map(|index| worker_name(&own.topic, index)))
            .collect();
        drop(gone);
        self.means
            .shared
            .calls
            .resize(wanted.iter().map(|topic| topic.workers).sum());
        let mut supervised: Vec<Box<dyn Supervised>> = added.into_iter().flat_map(|topic| self.add(topic)).collect();
        supervised.extend(self.control_reader());
        self.means
            .shared
            .forbidden
            .store(Arc::new(no_reply_topics(&wanted, &self.means.settings.processor)));
        self.show();
        if released.is_empty() && supervised.is_empty() {
            return;
        }
        let exchange = exchange(
            supervisor.clone(),
            released,
            supervised,
            self.means.settings.drain_timeout,
            stuck,
        );
        let before = self.exchange.take();
        self.exchange = Some(actix::spawn(async move {
            if let Some(before) = before {
                // Err: it panicked, and the panic hook has logged it.
                let _ = before.await;
            }
            exchange.await;
        }));
    }

    /// Waits until workers that were exchanged have ended.
    pub async fn exchanged(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            // Err: as above.
            let _ = exchange.await;
        }
    }

    /// Adds a topic; returns the factories of its workers.
    fn add(&mut self, topic: &Topic) -> Vec<Box<dyn Supervised>> {
        let metrics = self
            .means
            .metrics
            .topic(&topic.request_topic, &topic.backend_url.to_string());
        let (backend, breaker) = (BackendState::default(), self.breakers.of(topic));
        let check = BackendCheck {
            topic: topic.clone(),
            state: backend.clone(),
            breaker: breaker.clone(),
            gauge: metrics.backend_up.clone(),
        };
        let every = self.means.settings.processor.health_check_interval;
        let connectors = self.means.shared.connectors.clone();
        let check = self
            .means
            .shared
            .asks_health
            .then(|| actix::spawn(health::watch(check, every, connectors)));
        let retry_budget = Arc::new(RetryBudget::new(topic.retry.budget, monotonic_ms()));
        let rate_limit = topic
            .rate_limit
            .and_then(|rate| RateLimit::new(rate, metrics.waiting_for_rate.clone()));
        let rate_limit = rate_limit.map(Arc::new);
        if topic.memory.is_on() {
            self.means.shared.limits.expect_compacted(&topic.memory.topic);
        }
        let restorer = Arc::new(Restorer::new(
            topic,
            &self.means.shared.producer,
            &self.means.admin,
            properties::memory_reader(&self.means.settings.kafka),
            self.means.shared.restores.clone(),
        ));
        let view = |index| {
            Arc::new(WorkerView::new(
                topic.clone(),
                index,
                backend.clone(),
                breaker.clone(),
                retry_budget.clone(),
                metrics.clone(),
            ))
        };
        let views: Vec<_> = (0..topic.workers).map(view).collect();
        let supervised = views.iter().enumerate().map(|(index, view)| -> Box<dyn Supervised> {
            Box::new(WorkerFactory {
                name: worker_name(topic, index),
                plan: self.plan(topic, index, view),
                view: view.clone(),
                rate_limit: rate_limit.clone(),
                retry_budget: retry_budget.clone(),
                restorer: restorer.clone(),
                shared: self.means.shared.clone(),
            })
        });
        let supervised = supervised.collect();
        self.topics.push(OwnTopic {
            topic: topic.clone(),
            views,
            check,
        });
        supervised
    }

    /// The factory of the reader of control topics, the first time that there are any.
    fn control_reader(&mut self) -> Option<Box<dyn Supervised>> {
        if self.reads_control || self.means.shared.streams.controls().is_empty() {
            return None;
        }
        self.reads_control = true;
        Some(Box::new(ControlReaderFactory {
            streams: self.means.shared.streams.clone(),
            config: properties::reply_consumer(&self.means.settings.kafka),
            questions: self.means.shared.producer.clone(),
            admin: self.means.admin.clone(),
            sealing: self.means.shared.sealing.clone(),
            unbelieved: self.means.metrics.unbelieved_controls.clone(),
        }))
    }

    /// Shows which workers there are.
    fn show(&self) {
        let views = self.topics.iter().flat_map(|own| own.views.iter().cloned());
        self.means.workers.replace(views.collect());
        let names = self.topics.iter().map(|own| own.topic.request_topic.clone());
        self.means.request_topics.store(Arc::new(names.collect()));
        self.means
            .metrics
            .calls_borrowable
            .set(self.means.shared.calls.most_borrowed() as i64);
    }

    /// What one worker's pump is to do.
    fn plan(&self, topic: &Topic, index: usize, view: &WorkerView) -> PumpPlan {
        let (settings, calls) = (&self.means.settings, &self.means.shared.calls);
        let concurrency = topic.concurrency.min(calls.most_of_one());
        let free = calls.clone();
        let can_begin = Arc::new(move || free.free_for_one());
        let own = &settings.processor;
        let instance = topic.group_instance_id.as_ref().map(|id| format!("{id}-{index}"));
        let dead_letters = own
            .dead_letter_topic
            .iter()
            .map(|topic| (topic.clone(), Purpose::DeadLetters));
        let written = std::iter::once((topic.response_topic.clone(), Purpose::Replies)).chain(dead_letters);
        PumpPlan {
            topic: Arc::from(topic.request_topic.as_str()),
            also: written.collect(),
            config: properties::request_consumer(&settings.kafka, &topic.consumer_group, instance.as_deref()),
            admin: self.means.admin.clone(),
            start: topic.start,
            has_begun: Arc::default(),
            topic_ids: self.means.topic_ids.clone(),
            window: (topic.concurrency * 4).max(256),
            revoke_timeout: own.revoke_timeout,
            ahead: (topic.delivery == Delivery::AtMostOnce)
                .then(|| ahead_limits(concurrency, topic.ordering, topic.rate_limit, can_begin)),
            budget: self.means.budget.clone(),
            max_record: settings.max_record_size,
            poisoned: view.metrics.poisoned.clone(),
            ordered: topic.ordering != Ordering::Unordered,
        }
    }
}

fn worker_name(topic: &Topic, index: usize) -> String {
    format!("topic_worker:{}:{index}", topic.name)
}

/// Topics that a reply must not go to: there it would be executed as a request, taken for a dead letter or a piece of a body, or steer
/// streams.
pub fn no_reply_topics(topics: &[Topic], own: &settings::Processor) -> HashSet<String> {
    let topics = topics.iter().flat_map(|topic| {
        [
            &topic.request_topic,
            &topic.streams.control_topic,
            &topic.streams.bodies_topic,
            &topic.memory.topic,
            &topic.memory.answers_topic,
        ]
    });
    topics.chain(&own.dead_letter_topic).cloned().collect()
}
