//! Whether anybody consumes a request topic: a group without members for a while means that a request would only wait in vain. Kafka is
//! asked about the groups that the configuration names, by a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::producer::Producer as _;
use tokio::time::MissedTickBehavior;

use crate::kafka::cluster::describe;
use crate::kafka::producer::{DeliveryListener, Producer};

/// How often Kafka is asked. A group that gets a member again is known to have one after this time.
const EVERY: Duration = Duration::from_secs(5);
/// How long a group is without members before requests are refused: during a rolling restart a small group has none for moments.
const ABSENT_FOR: Duration = Duration::from_secs(15);

/// What is known about a topic's consumers. Until something is known, they count as present.
#[derive(Debug, Default)]
pub struct Consumers {
    /// Written by `watch`.
    absent: AtomicBool,
}

impl Consumers {
    /// Their group has had no member for `ABSENT_FOR`.
    pub fn are_absent(&self) -> bool {
        self.absent.load(Ordering::Relaxed)
    }
}

/// The group that consumes a request topic.
pub struct Group {
    name: String,
    consumers: Arc<Consumers>,
    /// The first and the latest of the answers in a row that named no member.
    without_members: Option<(Instant, Instant)>,
}

impl Group {
    pub fn new(name: String, consumers: Arc<Consumers>) -> Self {
        Group {
            name,
            consumers,
            without_members: None,
        }
    }

    /// Takes in what Kafka told at `now`.
    fn seen(&mut self, without_members: bool, now: Instant) {
        // After a standstill of this process nothing is known about the time before.
        let in_a_row = self.without_members.filter(|(_, latest)| now < *latest + 2 * EVERY);
        self.without_members = without_members.then(|| (in_a_row.map_or(now, |(since, _)| since), now));
        let absent = self
            .without_members
            .is_some_and(|(since, now)| now >= since + ABSENT_FOR);
        if self.consumers.absent.swap(absent, Ordering::Relaxed) == absent {
            return;
        }
        if absent {
            tracing::error!(
                event = "rebalance",
                group = self.name,
                "the consumer group has no members: requests for it get 503 until it has; start its processors, or mend consumer_group"
            );
        } else {
            tracing::info!(
                event = "rebalance",
                group = self.name,
                "the consumer group has members again, or is not known to have none"
            );
        }
    }
}

/// Watches these groups for as long as the System runs. A group that Kafka tells nothing about counts as present.
pub async fn watch<L: DeliveryListener>(mut groups: Vec<Group>, producer: Arc<Producer<L>>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
        let producer = producer.clone();
        let ask = move || {
            let client = producer.client();
            describe::groups_without_members(client.client(), names.iter().map(String::as_str))
        };
        let Ok(found) = tokio::task::spawn_blocking(ask).await else {
            continue;
        };
        let found = found.unwrap_or_else(|error| {
            tracing::debug!(%error, "consumer groups not checked");
            Default::default()
        });
        let now = Instant::now();
        for group in &mut groups {
            let without_members = found.get(&group.name).copied().unwrap_or(false);
            group.seen(without_members, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_absence_counts_and_one_sign_of_life_ends_it() {
        let consumers = Arc::new(Consumers::default());
        let mut group = Group::new("g".into(), consumers.clone());
        let start = Instant::now();
        let mut seen = |seconds, without_members| {
            group.seen(without_members, start + Duration::from_secs(seconds));
            consumers.are_absent()
        };
        assert!(!seen(0, true) && !seen(5, true) && !seen(10, true));
        assert!(!seen(12, false), "a break");
        assert!(!seen(15, true) && !seen(20, true) && !seen(25, true) && !seen(29, true));
        assert!(seen(30, true) && seen(35, true));
        assert!(!seen(40, false) && !seen(45, true));
        assert!(!seen(70, true) && !seen(75, true), "what was in between is not known");
        assert!(!seen(80, true) && seen(85, true));
    }
}
