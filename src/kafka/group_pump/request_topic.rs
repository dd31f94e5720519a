//! Waits until the request topic exists, before the pump subscribes.

use std::collections::VecDeque;
use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::consumer::GroupConsumer;
use super::handle::{Command, PumpHandle};
use super::plan::PumpPlan;
use crate::kafka::client::oauth;
use crate::kafka::config::Purpose;

/// Wait between tries to find or create the request topic.
const TOPIC_RETRY: Duration = Duration::from_secs(1);

/// Waits until the request topic exists, creating it where that is allowed. False: the pump was told to end first. The topics that are
/// written to come after it: when Kafka refuses one of them, that is logged, and requests do not wait for it.
pub fn await_topic(plan: &PumpPlan, handle: &PumpHandle, consumer: &GroupConsumer) -> bool {
    let mut open: VecDeque<(&str, Purpose)> = std::iter::once((&*plan.topic, Purpose::Requests))
        .chain(plan.also.iter().map(|(topic, purpose)| (&**topic, *purpose)))
        .collect();
    let mut logged = false;
    while let Some(&(topic, purpose)) = open.front() {
        if handle.current_command() != Command::Run {
            handle.status().set_drained();
            return false;
        }
        handle.progress().touch();
        // The first question comes before the first token was asked for.
        oauth::sign_in(consumer.client());
        match plan.admin.ensure(consumer.client(), topic, purpose, true) {
            Ok(_) => {
                open.pop_front();
                continue;
            }
            Err(error) if error.passes() => tracing::debug!(%error, "topic not there yet"),
            Err(error) if topic != &*plan.topic => {
                tracing::error!(%error, "a topic to write to is not there");
                open.pop_front();
                continue;
            }
            Err(error) => {
                if !std::mem::replace(&mut logged, true) {
                    tracing::error!(event = "kafka", %error, "cannot consume; trying again every second");
                }
            }
        }
        std::thread::park_timeout(TOPIC_RETRY);
        // What the client says of itself would pile up: statistics, errors, the want of a new token.
        while let Some(event) = consumer.poll(Duration::ZERO) {
            if let Err(error) = event {
                tracing::debug!(%error, "pump consumer error");
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use prometheus::{IntCounter, IntGauge, Registry};
    use rdkafka::config::FromClientConfigAndContext;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;

    use super::super::context::PumpContext;
    use super::super::identity::TopicIds;
    use super::super::window::ByteBudget;
    use super::*;
    use crate::kafka::client::{properties, statistics};
    use crate::kafka::cluster::admin::TopicAdmin;
    use crate::kafka::config::{CreateTopics, Kafka, Start};

    /// No other test of this process has so many brokers: what is shown of the last one is this test's.
    const BROKERS: i32 = 7;

    fn plan(kafka: &Kafka) -> PumpPlan {
        let may_not = CreateTopics {
            enabled: false,
            partitions: 1,
            replication_factor: 1,
            retention: None,
            allow: Vec::new(),
        };
        PumpPlan {
            topic: "missing".into(),
            also: Vec::new(),
            config: properties::request_consumer(kafka, "g", None),
            admin: TopicAdmin::new(may_not),
            start: Start::Earliest,
            has_begun: Arc::default(),
            topic_ids: TopicIds::new(),
            window: 1,
            revoke_timeout: Duration::from_secs(1),
            ahead: None,
            budget: ByteBudget::new(1, IntGauge::new("held", "held").unwrap()),
            max_record: 1,
            poisoned: IntCounter::new("poisoned", "poisoned").unwrap(),
            ordered: false,
        }
    }

    #[test]
    fn a_client_that_waits_for_its_topic_is_polled() {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(BROKERS).unwrap();
        let plan = plan(&Kafka {
            bootstrap_servers: cluster.bootstrap_servers(),
            properties: [("statistics.interval.ms".to_owned(), "50".to_owned())].into(),
        });
        let registry = Registry::new();
        statistics::register(&registry).unwrap();
        let (handle, _completions) = PumpHandle::new(Arc::new(|| false));
        let waiting = handle.clone();
        let thread = std::thread::spawn(move || {
            waiting.attach();
            let context = PumpContext::new(
                waiting.clone(),
                crossbeam_channel::unbounded().0,
                crossbeam_channel::unbounded().0,
            );
            let consumer = GroupConsumer::from_config_and_context(&plan.config, context).unwrap();
            await_topic(&plan, &waiting, &consumer)
        });
        let last = BROKERS.to_string();
        let is_shown = || {
            let families = registry.gather();
            let mut metrics = families.iter().flat_map(|family| family.get_metric());
            metrics.any(|metric| {
                let has = |value: &str| metric.get_label().iter().any(|label| label.value() == value);
                has("consumer") && has(&last)
            })
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_shown() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let shown = is_shown();
        handle.command(Command::Stop);
        assert!(!thread.join().unwrap(), "it was told to end");
        assert!(shown, "what librdkafka says of this client was read");
    }
}
