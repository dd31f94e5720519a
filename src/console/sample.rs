//! What the metrics say at one time, as far as the console shows it, and what happened between two such times.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::metrics::{LATENCY_BUCKETS, name};

/// The counts of a role, or of one of its topics, since the process began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Requests answered, or records finished.
    pub requests: u64,
    /// Those with a status from 500 on, or that were given up.
    pub errors: u64,
    /// Their times, by the buckets of the metric; the last is beyond all of them.
    pub buckets: [u64; BUCKETS],
    /// Seconds spent in each phase.
    pub phases: BTreeMap<String, f64>,
}

/// One more than the metric has bounds.
pub const BUCKETS: usize = LATENCY_BUCKETS.len() + 1;

/// One reading.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    pub proxy: Counts,
    pub processor: Counts,
    /// By their label in the metrics.
    pub proxy_topics: BTreeMap<String, Counts>,
    pub processor_topics: BTreeMap<String, Counts>,
    /// Gauges without labels, by name.
    pub gauges: BTreeMap<String, f64>,
    /// This clock minus the proxy's, in seconds, by topic.
    pub skews: BTreeMap<String, f64>,
    /// Records that wait for their turn, by topic and by what they wait for.
    pub waiting: BTreeMap<(String, String), f64>,
}

impl Reading {
    /// What these metrics say.
    pub fn of(families: &[MetricFamily]) -> Self {
        let mut reading = Reading::default();
        families.iter().for_each(|family| reading.take(family));
        let all = |topics: &BTreeMap<String, Counts>| {
            topics.values().fold(Counts::default(), |mut all, topic| {
                all.add(topic);
                all
            })
        };
        (reading.proxy, reading.processor) = (all(&reading.proxy_topics), all(&reading.processor_topics));
        reading
    }

    /// A gauge's value; 0 where there is none.
    pub fn gauge(&self, name: &str) -> f64 {
        self.gauges.get(name).copied().unwrap_or_default()
    }

    fn take(&mut self, family: &MetricFamily) {
        let (topics, what) = match family.name() {
            name::PROXY_REQUESTS => (&mut self.proxy_topics, What::Finished),
            name::PROXY_LATENCY => (&mut self.proxy_topics, What::Time),
            name::PROXY_PHASE => (&mut self.proxy_topics, What::Phase),
            name::PROCESSOR_MESSAGES => (&mut self.processor_topics, What::Finished),
            name::UNDELIVERABLE => (&mut self.processor_topics, What::Undelivered),
            name::PROCESSOR_LATENCY => (&mut self.processor_topics, What::Time),
            name::PROCESSOR_PHASE => (&mut self.processor_topics, What::Phase),
            name::CLOCK_SKEW => {
                let skews = family.get_metric().iter();
                self.skews = skews
                    .map(|metric| (label(metric, "topic"), metric.get_gauge().get_value()))
                    .collect();
                return;
            }
            name::WAITING => {
                let waiting = family.get_metric().iter();
                let waiting = waiting.map(|metric| {
                    let of = (label(metric, "topic"), label(metric, "for"));
                    (of, metric.get_gauge().get_value())
                });
                self.waiting = waiting.collect();
                return;
            }
            other => {
                if let (MetricType::GAUGE, [metric]) = (family.get_field_type(), family.get_metric())
                    && metric.get_label().is_empty()
                {
                    self.gauges.insert(other.to_owned(), metric.get_gauge().get_value());
                }
                return;
            }
        };
        for metric in family.get_metric() {
            let counts = topics.entry(label(metric, "topic")).or_default();
            match what {
                What::Finished => counts.finished(&label(metric, "status"), metric.get_counter().get_value() as u64),
                // It is finished with the status that nobody got.
                What::Undelivered => counts.errors += metric.get_counter().get_value() as u64,
                What::Time => counts.took(metric),
                What::Phase => {
                    let spent = counts.phases.entry(label(metric, "phase")).or_default();
                    *spent += metric.get_histogram().get_sample_sum();
                }
            }
        }
    }
}

/// What a family counts.
#[derive(Clone, Copy)]
enum What {
    Finished,
    Undelivered,
    Time,
    Phase,
}

impl Counts {
    fn finished(&mut self, status: &str, count: u64) {
        self.requests += count;
        // The processor has words for what was not answered.
        let is_error = !status.starts_with(['1', '2', '3', '4']);
        self.errors += if is_error { count } else { 0 };
    }

    fn took(&mut self, metric: &Metric) {
        let histogram = metric.get_histogram();
        let mut before = 0;
        for (bucket, at) in histogram.get_bucket().iter().zip(0..) {
            let up_to = bucket.cumulative_count();
            if let Some(count) = self.buckets.get_mut(at) {
                *count += up_to.saturating_sub(before);
            }
            before = up_to;
        }
        self.buckets[BUCKETS - 1] += histogram.get_sample_count().saturating_sub(before);
    }

    /// Takes in the counts of another time or topic.
    pub fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.errors += other.errors;
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
        for (phase, seconds) in &other.phases {
            *self.phases.entry(phase.clone()).or_default() += seconds;
        }
    }

    /// What came since `before`.
    pub fn since(&self, before: &Counts) -> Counts {
        let mut buckets = self.buckets;
        for (count, then) in buckets.iter_mut().zip(before.buckets) {
            *count = count.saturating_sub(then);
        }
        let phases = self.phases.iter().map(|(phase, seconds)| {
            let then = before.phases.get(phase).copied().unwrap_or_default();
            (phase.clone(), (seconds - then).max(0.0))
        });
        Counts {
            requests: self.requests.saturating_sub(before.requests),
            errors: self.errors.saturating_sub(before.errors),
            buckets,
            phases: phases.collect(),
        }
    }

    /// The time in ms that this share of the requests did not exceed, as far as the buckets tell; `None`: there were none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count: u64 = self.buckets.iter().sum();
        if count == 0 {
            return None;
        }
        let wanted = share * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bucket, upper) in self.buckets.iter().zip(LATENCY_BUCKETS) {
            let inside = *bucket as f64;
            if below + inside >= wanted && inside > 0.0 {
                return Some((lower + (upper - lower) * (wanted - below) / inside) * 1000.0);
            }
            (below, lower) = (below + inside, *upper);
        }
        Some(lower * 1000.0)
    }

    /// Milliseconds a request spent in each phase, on average.
    pub fn mean_phases(&self) -> BTreeMap<String, f64> {
        let requests = self.requests.max(1) as f64;
        let means = self
            .phases
            .iter()
            .map(|(phase, seconds)| (phase.clone(), seconds * 1000.0 / requests));
        means.collect()
    }
}

fn label(metric: &Metric, wanted: &str) -> String {
    let found = metric.get_label().iter().find(|label| label.name() == wanted);
    found.map(|label| label.value().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Exchange, Phase, Role};
    use crate::processor::metrics::ProcessorMetrics;
    use crate::proxy::metrics::ProxyMetrics;
    use actix_web::http::Method;
    use prometheus::Registry;
    use std::time::Duration;

    #[test]
    fn the_metrics_are_read_by_the_names_they_have() {
        let registry = Registry::new();
        let proxy = ProxyMetrics::register(&registry).unwrap();
        let processor = ProcessorMetrics::register(&registry).unwrap();
        let orders = proxy.topic("orders");
        let read = || Reading::of(&[proxy.shown(), processor.shown()].concat());
        let before = read();
        for (status, seconds) in [(200, 0.004), (404, 0.004), (504, 20.0), (200, 90.0)] {
            orders.answered(&Method::GET, status, seconds);
        }
        proxy.pending.set(7);
        let topic = processor.topic("orders", "http://b");
        topic.finished("200");
        topic.finished("expired");
        topic.finished("201");
        topic.undeliverable.inc();
        topic.clock_skew.set(3.5);
        topic.waiting_for_call.set(2);
        topic.in_flight.set(4);
        let mut seen = Exchange::begin(Role::Proxy);
        seen.phases.set(Phase::Reply, Duration::from_millis(250));
        orders.seen.observe(&seen);
        let now = read();
        let counts = now.proxy.since(&before.proxy);
        assert_eq!((counts.requests, counts.errors), (4, 1));
        assert_eq!(counts.quantile(0.5), Some(5.0));
        assert_eq!(counts.quantile(1.0), Some(60_000.0), "beyond the buckets");
        assert_eq!((now.processor.requests, now.processor.errors), (3, 2));
        assert_eq!(counts.phases["reply"], 0.25);
        assert_eq!(now.gauge(name::PROXY_PENDING), 7.0);
        assert_eq!(now.gauge(name::PROCESSOR_IN_FLIGHT), 4.0);
        assert_eq!(now.skews["orders"], 3.5);
        assert_eq!(now.waiting[&("orders".to_owned(), "call".to_owned())], 2.0);
        assert!(now.proxy_topics.contains_key("orders"));
        // What is shown is all that a reading knows: those of the whole registry say the same.
        let all = Reading::of(&registry.gather());
        assert_eq!(
            (&now.proxy_topics, &now.processor_topics),
            (&all.proxy_topics, &all.processor_topics)
        );
        assert_eq!((&now.skews, &now.waiting), (&all.skews, &all.waiting));
        for gauge in [
            name::PROXY_PENDING,
            name::PROXY_PENDING_BYTES,
            name::PROXY_CONNECTIONS,
            name::PROCESSOR_IN_FLIGHT,
            name::CALLS,
        ] {
            assert_eq!(now.gauges.get(gauge), all.gauges.get(gauge), "{gauge}");
            assert!(now.gauges.contains_key(gauge), "{gauge}");
        }
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let mut counts = Counts::default();
        assert_eq!(counts.quantile(0.99), None);
        // 100 requests between 5 and 10 ms.
        counts.buckets[3] = 100;
        assert_eq!(counts.quantile(0.5), Some(7.5));
        assert_eq!(counts.quantile(1.0), Some(10.0));
    }

    #[test]
    fn phases_are_told_for_one_request() {
        let mut counts = Counts {
            requests: 4,
            ..Counts::default()
        };
        counts.phases.insert("reply".into(), 0.2);
        assert_eq!(counts.mean_phases()["reply"], 50.0);
    }
}
