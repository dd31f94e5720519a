//! The consumer's lag: by partition, of partitions that are ours, gathered when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use crate::kafka::producer::Producer;
use crate::process::periodic;
use crate::processor::record::outbox::Deliveries;
use crate::processor::worker::view::{WorkerView, Workers};

const NAME: &str = "processor_consumer_lag";
const HELP: &str = "Records of a partition that are not finished; only of partitions this process consumes";
const LABELS: [&str; 2] = ["topic", "partition"];
/// Between two rounds of questions.
const EVERY: Duration = Duration::from_secs(1);
/// One question about one partition's end may take this long.
const QUESTION_LIMIT: Duration = Duration::from_secs(3);

/// The metric. It has no state of its own, so a partition that moved away is gone from the next scrape.
pub struct ConsumerLag {
    workers: Workers,
    empty: IntGaugeVec,
}

impl ConsumerLag {
    /// # Errors
    /// Never: name and labels are legal.
    pub fn new(workers: Workers) -> prometheus::Result<Self> {
        let empty = gauges()?;
        Ok(ConsumerLag { workers, empty })
    }
}

fn gauges() -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(NAME, HELP), &LABELS)
}

impl Collector for ConsumerLag {
    fn desc(&self) -> Vec<&Desc> {
        self.empty.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(gauges) = gauges() else { return Vec::new() };
        for worker in self.workers.all().iter() {
            for (partition, lag) in worker.lags() {
                let labels = [worker.topic.request_topic.as_str(), &partition.to_string()];
                gauges.with_label_values(&labels).set(lag);
            }
        }
        gauges.collect()
    }
}

/// Keeps asking for the ends of partitions that stand still: nothing is fetched of them, so no fetch answer tells their ends. It has a
/// thread of its own, since the questions block. The thread ends with the producer.
///
/// # Errors
/// The operating system has no thread left.
pub fn watch_ends(workers: Workers, producer: &Arc<Producer<Deliveries>>) -> std::io::Result<()> {
    let ask_all =
        move |producer: &Producer<Deliveries>| workers.all().iter().for_each(|worker| ask_ends(worker, producer));
    periodic::while_alive("khp-lag", EVERY, producer, ask_all).map(drop)
}

fn ask_ends(worker: &WorkerView, producer: &Producer<Deliveries>) {
    let mut ends = HashMap::new();
    for backlog in worker.backlogs().iter().filter(|backlog| backlog.stands_still) {
        let (topic, partition) = (&worker.topic.request_topic, backlog.partition);
        match producer.end(topic, partition, QUESTION_LIMIT) {
            Ok(end) => {
                ends.insert(partition, end);
            }
            Err(error) => {
                tracing::debug!(topic, partition, %error, "the end of a partition is not known");
                // The others would only wait, too. What was known before stays.
                return;
            }
        }
    }
    worker.set_ends(ends);
}
