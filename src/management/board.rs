//! What the management API reads of the process, and whether it is ready.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use actix::Addr;
use prometheus::Registry;
use prometheus::proto::MetricFamily;

use crate::kafka::cluster::health::KafkaHealth;
use crate::management::access::Access;
use crate::management::configuration::Configuration;
use crate::management::open_metrics;
use crate::process::phase::Phase;
use crate::processor::assemble::Processor;
use crate::processor::worker::view::WorkerView;
use crate::proxy::handler::Proxy;
use crate::supervision::health_supervisor::HealthSupervisor;

/// What the management API looks at.
pub struct Board {
    /// Moved forward by the shutdown.
    pub phase: Phase,
    /// Written by the thread that watches Kafka.
    pub kafka: KafkaHealth,
    /// `None`: this process is no proxy.
    pub proxy: Option<Arc<Proxy>>,
    /// `None`: this process is no processor.
    pub processor: Option<Arc<Processor>>,
    /// Every metric of the process.
    pub registry: Registry,
    /// Who may read and change.
    pub access: Access,
    /// Which configuration runs.
    pub configuration: Configuration,
    /// Set once, when the supervisor has started.
    pub supervisor: OnceLock<Addr<HealthSupervisor>>,
}

impl Board {
    /// Requests that stand for the buckets of histograms.
    pub fn exemplars(&self) -> open_metrics::Known {
        open_metrics::Known {
            proxy: self.proxy.as_ref().map(|proxy| proxy.metrics.exemplars().clone()),
            processor: self
                .processor
                .as_ref()
                .map(|processor| processor.metrics.exemplars().clone()),
        }
    }

    /// The metrics that the console shows, as they are now.
    pub fn shown(&self) -> Vec<MetricFamily> {
        let proxy = self.proxy.iter().map(|proxy| proxy.metrics.shown());
        let processor = self.processor.iter().map(|processor| processor.metrics.shown());
        proxy.chain(processor).flatten().collect()
    }

    /// Why this process should get no traffic; empty = ready.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.phase.is_draining() {
            reasons.push("draining".to_string());
        }
        if !self.kafka.is_up() {
            reasons.push("Kafka does not answer".to_string());
        }
        reasons.extend(self.kafka.refusal());
        if self.proxy.as_ref().is_some_and(|proxy| !proxy.is_positioned()) {
            reasons.push("replies are not positioned yet".to_string());
        }
        if self
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.metrics.replies_denied.get() != 0)
        {
            reasons.push("Kafka refuses to let this service read replies".to_string());
        }
        let missing = self.proxy.iter().flat_map(|proxy| {
            let names = proxy.missing_control.names();
            names.iter().cloned().collect::<Vec<_>>()
        });
        reasons.extend(missing.map(|topic| format!("the control topic {topic} cannot be used")));
        if let Some(processor) = &self.processor {
            let workers = self.workers();
            let waiting = workers.iter().filter(|worker| !worker.is_assigned());
            reasons.extend(
                waiting.map(|worker| format!("topic {} is not assigned to its consumer yet", worker.topic.name)),
            );
            reasons.extend(
                processor
                    .streams
                    .controls()
                    .iter()
                    .filter_map(|control| control.not_ready()),
            );
            if processor.dead_letter_trouble.is_set() {
                reasons.push("the dead letter topic cannot be written".to_string());
            }
        }
        reasons
    }

    /// Brings the gauges that are read at a request instead of counted as things happen.
    pub fn refresh(&self) {
        let ready = i64::from(self.not_ready().is_empty());
        if let Some(proxy) = &self.proxy {
            proxy.metrics.ready.set(ready);
        }
        if let Some(processor) = &self.processor {
            processor.metrics.ready.set(ready);
            let all = self.workers();
            processor
                .metrics
                .active_consumers
                .set(all.iter().filter(|worker| worker.is_assigned()).count() as i64);
            for (_, workers) in by_topic(&all) {
                let partitions: usize = workers.iter().map(|worker| worker.partitions()).sum();
                workers[0].metrics.assigned_partitions.set(partitions as i64);
                workers[0].metrics.breaker_state.set(workers[0].breaker_state() as i64);
            }
        }
    }

    /// The workers of now; none in a process that is no processor.
    pub fn workers(&self) -> Arc<Vec<Arc<WorkerView>>> {
        let processor = self.processor.as_ref();
        processor.map(|processor| processor.workers.all()).unwrap_or_default()
    }
}

/// The workers of each topic, by the topic's name.
pub type ByTopic<'a> = BTreeMap<&'a str, Vec<&'a WorkerView>>;

/// Groups workers by their topics.
pub fn by_topic(workers: &[Arc<WorkerView>]) -> ByTopic<'_> {
    let mut topics = ByTopic::new();
    for worker in workers {
        topics.entry(&worker.topic.name).or_default().push(worker);
    }
    topics
}

/// Since when the oldest record is under way that these workers have.
pub fn oldest(workers: &[&WorkerView]) -> Option<Instant> {
    let backlogs = workers.iter().flat_map(|worker| worker.backlogs());
    backlogs.filter_map(|backlog| backlog.oldest_since).min()
}
