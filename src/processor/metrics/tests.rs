//! What is shown of a topic that is gone.

use super::*;
use crate::settings::plain_topic;

/// The names of the gauges that have series of a topic, or of a backend.
fn shown(registry: &Registry, topic: &str) -> Vec<String> {
    let families = registry.gather().into_iter().filter(|family| {
        family.get_field_type() == prometheus::proto::MetricType::GAUGE
            && family
                .get_metric()
                .iter()
                .any(|metric| metric.get_label().iter().any(|label| label.value() == topic))
    });
    families.map(|family| family.name().to_owned()).collect()
}

#[test]
fn what_a_topic_was_last_is_forgotten_unless_another_shows_it() {
    let registry = Registry::new();
    let metrics = ProcessorMetrics::register(&registry).unwrap();
    let topic = |backend: &str| plain_topic("orders", "answers", backend, 1);
    let (gone, stays) = (topic("http://a"), topic("http://b"));
    for own in [&gone, &stays] {
        metrics.topic(&own.request_topic, &own.backend_url.to_string());
    }
    let of_both = shown(&registry, "orders");
    assert!(
        of_both.contains(&"processor_idempotency_keys".to_owned()),
        "{of_both:?}"
    );
    metrics.forget(&gone, &[&stays]);
    assert_eq!(shown(&registry, "orders"), of_both, "the other one's");
    assert!(shown(&registry, "http://a/").is_empty() && shown(&registry, "http://a").is_empty());
    metrics.forget(&stays, &[]);
    assert_eq!(shown(&registry, "orders"), Vec::<String>::new());
}
