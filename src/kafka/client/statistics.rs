//! What librdkafka says of itself: round-trip times, queues, errors, rebalances.
//!
//! Each client gives its statistics as text to the thread that polls it, which only passes them on. A thread of their own reads the few
//! fields that are shown. A text that finds no room is dropped: the next comes with the next interval.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use serde::Deserialize;

/// How often a client says how it is (`statistics.interval.ms`).
pub const INTERVAL: Duration = Duration::from_secs(5);
/// What a client said is shown for so long.
const SHOWN: Duration = Duration::from_secs(20);
/// A client that says nothing for so long is gone. One that is held up, by a frozen process say, speaks again, and its totals must not be
/// counted again.
const GONE: Duration = Duration::from_secs(3600);
/// Texts that wait to be read. Each client gives one an interval.
const WAITING: usize = 256;

/// The way to the thread; `None`: the operating system had no thread.
static INBOX: LazyLock<Option<Sender<Vec<u8>>>> = LazyLock::new(|| {
    let (inbox, waiting) = bounded(WAITING);
    let read = move || read_all(&waiting, &FIGURES);
    let thread = std::thread::Builder::new().name("khp-statistics".into()).spawn(read);
    thread.is_ok().then_some(inbox)
});

/// What is shown. Of the whole process, as the clients are; registered by each that serves metrics.
static FIGURES: LazyLock<Figures> = LazyLock::new(|| {
    // Never: names and labels are those below, which are legal.
    Figures::new().unwrap_or_else(|error| panic!("metrics of librdkafka: {error}"))
});

/// Takes a client's statistics. Never waits.
pub fn hand_over(text: &[u8]) {
    if let Some(inbox) = &*INBOX {
        // Err: there is no room.
        let _ = inbox.try_send(text.to_vec());
    }
}

/// Registers the metrics.
///
/// # Errors
/// A name is taken.
pub fn register(registry: &Registry) -> prometheus::Result<()> {
    FIGURES.register(registry)
}

struct Figures {
    round_trip: GaugeVec,
    queued_requests: IntGaugeVec,
    errors: IntCounterVec,
    queued_records: IntGauge,
    rebalances: IntCounter,
}

impl Figures {
    fn new() -> prometheus::Result<Self> {
        // A broker by its number, and whether those are producers or consumers: there are as many as brokers, twice.
        let labels = &["client", "broker"];
        Ok(Figures {
            round_trip: GaugeVec::new(
                Opts::new(
                    "librdkafka_round_trip_seconds",
                    "From a request to a broker to its answer, on average over 5 s; of the slowest client",
                ),
                labels,
            )?,
            queued_requests: IntGaugeVec::new(
                Opts::new(
                    "librdkafka_queued_requests",
                    "Requests to a broker that are not sent, or not answered",
                ),
                labels,
            )?,
            errors: IntCounterVec::new(
                Opts::new(
                    "librdkafka_errors_total",
                    "Requests to a broker that could not be sent, or got no answer in time",
                ),
                labels,
            )?,
            queued_records: IntGauge::new("librdkafka_queued_records", "Records in the queues of producers")?,
            rebalances: IntCounter::new(
                "librdkafka_rebalances_total",
                "Rebalances of consumers, as they saw them",
            )?,
        })
    }

    fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.round_trip.clone()))?;
        registry.register(Box::new(self.queued_requests.clone()))?;
        registry.register(Box::new(self.errors.clone()))?;
        registry.register(Box::new(self.queued_records.clone()))?;
        registry.register(Box::new(self.rebalances.clone()))
    }
}

/// A client's statistics, as far as they are shown. The rest is passed over.
#[derive(Deserialize)]
struct Statistics {
    /// Of the client, once in the process.
    name: String,
    r#type: Kind,
    #[serde(default)]
    msg_cnt: i64,
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    cgrp: Option<Group>,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Producer,
    Consumer,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Kind::Producer => "producer",
            Kind::Consumer => "consumer",
        }
    }
}

#[derive(Deserialize)]
struct Broker {
    /// -1: an address to begin with, which may be any broker's.
    nodeid: i32,
    outbuf_cnt: i64,
    waitresp_cnt: i64,
    txerrs: u64,
    req_timeouts: u64,
    rtt: Window,
}

#[derive(Deserialize)]
struct Window {
    /// In microseconds.
    avg: i64,
    cnt: i64,
}

#[derive(Deserialize)]
struct Group {
    rebalance_cnt: u64,
}

/// A client as it was heard last.
struct Client {
    heard: Instant,
    kind: Kind,
    queued_records: i64,
    rebalances: u64,
    brokers: HashMap<i32, Link>,
}

/// A client's connection to a broker.
#[derive(Default, Clone, Copy)]
struct Link {
    /// In microseconds; `None`: nothing was answered yet.
    round_trip: Option<i64>,
    queued: i64,
    errors: u64,
}

/// What all clients said, and what is shown of it.
#[derive(Default)]
struct Known {
    clients: HashMap<String, Client>,
    shown: HashSet<(Kind, i32)>,
}

/// Runs until the end of the process.
fn read_all(waiting: &Receiver<Vec<u8>>, figures: &Figures) {
    let mut known = Known::default();
    loop {
        match waiting.recv_timeout(SHOWN) {
            // A text that is not understood shows nothing; the version of librdkafka is ours.
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(said) => known.take(said, figures, Instant::now()),
                Err(error) => tracing::debug!(%error, "statistics of librdkafka are not understood"),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        known.show(figures, Instant::now());
    }
}

impl Known {
    fn take(&mut self, said: Statistics, figures: &Figures, now: Instant) {
        let before = self.clients.remove(&said.name);
        let mut client = Client {
            heard: now,
            kind: said.r#type,
            queued_records: said.msg_cnt,
            rebalances: said.cgrp.map_or(0, |group| group.rebalance_cnt),
            brokers: HashMap::new(),
        };
        // Several entries may be of one broker: its address, and as the coordinator.
        for broker in said.brokers.into_values().filter(|broker| broker.nodeid >= 0) {
            let link = client.brokers.entry(broker.nodeid).or_default();
            link.queued += broker.outbuf_cnt + broker.waitresp_cnt;
            link.errors += broker.txerrs + broker.req_timeouts;
            let answered = (broker.rtt.cnt > 0).then_some(broker.rtt.avg);
            link.round_trip = link.round_trip.max(answered);
        }
        for (id, link) in &mut client.brokers {
            let last = before.as_ref().and_then(|before| before.brokers.get(id));
            let last = last.copied().unwrap_or_default();
            link.round_trip = link.round_trip.or(last.round_trip);
            let labels = &[client.kind.as_str(), &id.to_string()];
            let errors = figures.errors.with_label_values(labels);
            errors.inc_by(link.errors.saturating_sub(last.errors));
        }
        let last = before.map_or(0, |before| before.rebalances);
        figures.rebalances.inc_by(client.rebalances.saturating_sub(last));
        self.clients.insert(said.name, client);
    }

    fn show(&mut self, figures: &Figures, now: Instant) {
        let silence = |client: &Client| now.saturating_duration_since(client.heard);
        self.clients.retain(|_, client| silence(client) < GONE);
        let present: Vec<&Client> = self.clients.values().filter(|client| silence(client) < SHOWN).collect();
        let mut links: HashMap<(Kind, i32), Link> = HashMap::new();
        for client in &present {
            for (id, link) in &client.brokers {
                let sum = links.entry((client.kind, *id)).or_default();
                sum.round_trip = sum.round_trip.max(link.round_trip);
                sum.queued += link.queued;
            }
        }
        for ((kind, id), link) in &links {
            let labels = &[kind.as_str(), &id.to_string()];
            figures.queued_requests.with_label_values(labels).set(link.queued);
            if let Some(microseconds) = link.round_trip {
                let seconds = microseconds as f64 / 1e6;
                figures.round_trip.with_label_values(labels).set(seconds);
            }
        }
        for (kind, id) in self.shown.iter().filter(|shown| !links.contains_key(*shown)) {
            let labels = &[kind.as_str(), &id.to_string()];
            // Err: it was not shown.
            let _ = figures.queued_requests.remove_label_values(labels);
            let _ = figures.round_trip.remove_label_values(labels);
        }
        self.shown = links.into_keys().collect();
        let queued = present.iter().map(|client| client.queued_records).sum();
        figures.queued_records.set(queued);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn statistics(name: &str, kind: &str, errors: u64, round_trip: i64) -> Statistics {
        let broker = |id: i32, count: i64| {
            json!({"nodeid": id, "outbuf_cnt": 1, "waitresp_cnt": 2, "txerrs": errors, "req_timeouts": 1, "more": {},
                "rtt": {"avg": round_trip, "cnt": count, "p99": 9}})
        };
        let text: Value = json!({"name": name, "type": kind, "msg_cnt": 7, "ts": 5, "topics": {"t": {"partitions": {}}},
            "brokers": {"a:1/1": broker(1, 3), "a:1/bootstrap": broker(-1, 3), "GroupCoordinator": broker(1, 0)},
            "cgrp": {"rebalance_cnt": errors, "state": "up"}});
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn the_figures_of_all_clients_are_put_together_and_the_silent_are_not_shown() {
        let (figures, mut known, now) = (Figures::new().unwrap(), Known::default(), Instant::now());
        let of = |kind: &str| [kind.to_owned(), "1".to_owned()];
        known.take(statistics("p-1", "producer", 2, 1500), &figures, now);
        known.take(statistics("p-2", "producer", 0, 4000), &figures, now);
        known.take(statistics("c-1", "consumer", 3, 0), &figures, now);
        known.show(&figures, now);
        assert_eq!(figures.round_trip.with_label_values(&of("producer")).get(), 0.004);
        assert_eq!(figures.queued_requests.with_label_values(&of("producer")).get(), 12);
        assert_eq!(figures.queued_records.get(), 21);
        // Two entries of two errors and a timeout, and two with a timeout alone.
        assert_eq!(figures.errors.with_label_values(&of("producer")).get(), 8);
        assert_eq!(figures.rebalances.get(), 5);
        known.take(statistics("p-1", "producer", 3, 1500), &figures, now);
        assert_eq!(figures.errors.with_label_values(&of("producer")).get(), 10);
        assert_eq!(figures.rebalances.get(), 6);
        let later = now + SHOWN;
        known.take(statistics("c-1", "consumer", 3, 0), &figures, later);
        known.show(&figures, later);
        assert_eq!(known.shown, HashSet::from([(Kind::Consumer, 1)]));
        assert_eq!(figures.queued_records.get(), 7);
        let families = prometheus::core::Collector::collect(&figures.round_trip);
        assert_eq!(
            families[0].get_metric().len(),
            1,
            "the producers' is not shown any more"
        );
        // It was held up, and its totals stand where they stood.
        known.take(statistics("p-1", "producer", 3, 1500), &figures, later + SHOWN);
        assert_eq!(figures.errors.with_label_values(&of("producer")).get(), 10);
        known.show(&figures, later + GONE);
        assert_eq!(Vec::from_iter(known.clients.keys()), ["p-1"]);
    }
}
