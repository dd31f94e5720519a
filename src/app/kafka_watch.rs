//! Asks Kafka once a second whether it answers, and replaces producers that failed; says which Kafka refuses.

use crate::kafka::cluster::health::{KafkaHealth, Probe};
use crate::processor::assemble::ProcessorParts;
use crate::proxy::assemble::ProxyParts;
use crate::settings::Settings;

/// Starts the thread that asks. It asks through the role's own producer, about a topic that the role needs.
///
/// # Errors
/// The thread cannot be started.
pub fn watch(
    settings: &Settings,
    kafka: &KafkaHealth,
    proxy: Option<&ProxyParts>,
    processor: Option<&ProcessorParts>,
) -> std::io::Result<()> {
    let requests = proxy.map(|parts| parts.producer.clone());
    let replies = processor.map(|parts| parts.processor.producer.clone());
    let topic = match proxy {
        Some(_) => settings
            .proxy
            .request_topics()
            .first()
            .copied()
            .unwrap_or_default()
            .to_owned(),
        None => settings
            .processor
            .topics
            .first()
            .map(|topic| topic.request_topic.clone())
            .unwrap_or_default(),
    };
    let upkeep = {
        let (requests, replies) = (requests.clone(), replies.clone());
        move || {
            requests.iter().for_each(|producer| producer.heal());
            replies.iter().for_each(|producer| producer.heal());
            let of_requests = requests.as_ref().and_then(|producer| producer.refusal());
            of_requests.or_else(|| replies.as_ref()?.refusal())
        }
    };
    let mut probe = Probe::new(topic);
    let ask = move || match (&requests, &replies) {
        (Some(producer), _) => producer.probe(&mut probe),
        (None, Some(producer)) => producer.probe(&mut probe),
        (None, None) => Ok(()),
    };
    kafka.watch(ask, upkeep).map(drop)
}
