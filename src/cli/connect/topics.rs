//! What is wrong with a topic.

mod sizes;
#[cfg(test)]
mod tests;

use std::time::Duration;

use humantime::format_duration;

use crate::cli::connect::expected::TopicUse;
use crate::cli::connect::finding::{Finding, Kind, Severity};
use crate::kafka::cluster::rights::{Right, Rights};
use crate::kafka::cluster::survey::{Surveyed, TopicState};
use crate::kafka::cluster::topic_config::TopicConfig;
use crate::kafka::config::Purpose;

/// What would become of a topic that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// The configuration does not allow it.
    Off,
    /// The service creates it when it starts.
    AtStart,
    /// Kafka refuses to create it, and says why.
    Refused(String),
}

/// A topic and what is known of it.
pub struct Topic<'a> {
    pub name: &'a str,
    pub uses: &'a [TopicUse],
    /// `None`: its settings are not known.
    pub config: Option<TopicConfig>,
    /// How many brokers there are.
    pub brokers: usize,
}

/// How the report names a topic.
pub fn subject(name: &str) -> String {
    format!("topic {name}")
}

impl Topic<'_> {
    /// Everything that is wrong with it. `creation` tells what would become of it if it does not exist.
    pub fn findings(&self, surveyed: &Surveyed<TopicState>, creation: impl FnOnce() -> Creation) -> Vec<Finding> {
        let mut found = self.found(surveyed, creation);
        let losses: Option<Vec<_>> = self.uses.iter().map(|used| used.without()).collect();
        if let Some([loss, ..]) = losses.as_deref() {
            for finding in &mut found {
                finding.severity = Severity::Warns;
                finding.problem.push_str(&format!("; without it {loss}"));
            }
        }
        found
    }

    fn found(&self, surveyed: &Surveyed<TopicState>, creation: impl FnOnce() -> Creation) -> Vec<Finding> {
        match surveyed {
            // Nobody has sent a large body yet.
            Surveyed::Missing if self.uses == [TopicUse::TakesBodies] => Vec::new(),
            Surveyed::Missing => vec![self.missing(creation())],
            Surveyed::Denied => {
                let rights = self.uses.iter().map(|used| used.right());
                rights.map(|right| self.lacks(right)).collect()
            }
            Surveyed::Unknown(code) => vec![self.stops(
                Kind::Kafka,
                format!("Kafka could not tell about it ({code})"),
                "look at the broker's log",
            )],
            Surveyed::Found(state) => [
                self.rights(&state.rights),
                self.replication(state),
                self.settings(),
                self.partitions(state.partitions),
            ]
            .concat(),
        }
    }

    fn missing(&self, creation: Creation) -> Finding {
        match creation {
            Creation::Off => self.stops(
                Kind::MissingTopic,
                "it does not exist, and create_topics.enabled is false",
                "create it, as `actix-khp topics create` does",
            ),
            Creation::Refused(why) => self.stops(
                Kind::MissingTopic,
                format!("it does not exist, and Kafka would not create it ({why})"),
                "have it created, or correct create_topics",
            ),
            Creation::AtStart => self.warns(
                Kind::MissingTopic,
                "it does not exist yet",
                match self.purpose() {
                    Purpose::Bodies => {
                        "a proxy creates it for the first large body; create it before to choose its settings"
                    }
                    Purpose::Answers { .. } => {
                        "a processor creates it for the first answer that is larger than a record; create it before to choose its settings"
                    }
                    Purpose::Memory { .. } => {
                        "a processor creates it for the first request; create it before to choose its settings"
                    }
                    _ => "the service creates it at its start; create it before to choose its settings",
                },
            ),
        }
    }

    fn rights(&self, rights: &Rights) -> Vec<Finding> {
        let needed = self.uses.iter().map(|used| used.right());
        let mut lacking: Vec<Finding> = needed
            .filter(|right| !rights.allow(*right))
            .map(|right| self.lacks(right))
            .collect();
        if lacking.is_empty() && !rights.allow(Right::DescribeConfigs) {
            lacking.push(self.warns(
                Kind::MissingRight,
                "this user lacks DescribeConfigs, so its limits are not known",
                self.grant(Right::DescribeConfigs),
            ));
        }
        lacking
    }

    fn lacks(&self, right: Right) -> Finding {
        self.stops(
            Kind::MissingRight,
            format!("this user lacks {right}"),
            self.grant(right),
        )
    }

    fn grant(&self, right: Right) -> String {
        format!(
            "kafka-acls --add --allow-principal User:… --operation {right} --topic {}",
            self.name
        )
    }

    fn replication(&self, state: &TopicState) -> Vec<Finding> {
        let mut found = Vec::new();
        if state.without_leader > 0 {
            found.push(self.stops(
                Kind::Replication,
                format!(
                    "{} of its {} partitions have no leader",
                    state.without_leader, state.partitions
                ),
                "start the brokers that have its replicas",
            ));
        }
        let is_written = self.uses.iter().any(|used| used.right() == Right::Write);
        let needed = self.config.and_then(|config| config.min_in_sync).unwrap_or_default();
        let replicas = state.replicas;
        if is_written && needed > replicas {
            found.push(self.stops(
                Kind::Replication,
                format!("min.insync.replicas is {needed}, and it has {replicas} replicas: Kafka takes no record"),
                "lower min.insync.replicas, or add replicas",
            ));
        } else if is_written && needed > state.in_sync && state.without_leader == 0 {
            found.push(self.stops(
                Kind::Replication,
                format!(
                    "{} of its {replicas} replicas are in sync, and min.insync.replicas is {needed}",
                    state.in_sync
                ),
                "start the brokers that have its other replicas",
            ));
        } else if is_written && needed == replicas && replicas > 1 {
            found.push(self.warns(
                Kind::Replication,
                format!("min.insync.replicas is {needed}, as many as it has replicas: one broker's stop stops it"),
                "lower min.insync.replicas by one, or add a replica",
            ));
        }
        if replicas == 1 && self.brokers > 1 {
            found.push(self.warns(
                Kind::Replication,
                format!(
                    "it has one replica on {} brokers: one broker's stop stops it",
                    self.brokers
                ),
                "add replicas",
            ));
        }
        found
    }

    fn settings(&self) -> Vec<Finding> {
        let Some(config) = self.config else {
            return Vec::new();
        };
        let sizes = config.max_message_bytes.into_iter().flat_map(|limit| self.sizes(limit));
        // Of each key only the last one counts.
        let is_memory = matches!(self.purpose(), Purpose::Memory { .. });
        let compacted = (config.compacted && !is_memory).then(|| self.compacted());
        let kept = config.retention.and_then(|kept| self.kept_too_briefly(kept));
        sizes.chain(compacted).chain(kept).collect()
    }

    fn sizes(&self, limit: usize) -> Vec<Finding> {
        let problems = self.uses.iter().filter_map(|used| sizes::problem(*used, limit));
        problems
            .map(|(problem, cure)| self.warns(Kind::RecordSize, problem, cure))
            .collect()
    }

    fn compacted(&self) -> Finding {
        let problem = "it is compacted: Kafka refuses records without a key, and drops all but the newest of each key";
        let cure = "set cleanup.policy to delete";
        match self.purpose() {
            Purpose::Requests | Purpose::Bodies | Purpose::Answers { .. } | Purpose::Results { .. } => {
                self.stops(Kind::Compaction, problem, cure)
            }
            Purpose::Replies | Purpose::Control | Purpose::DeadLetters | Purpose::Memory { .. } => {
                self.warns(Kind::Compaction, problem, cure)
            }
        }
    }

    fn kept_too_briefly(&self, kept: Duration) -> Option<Finding> {
        let deadline = self.uses.iter().filter_map(|used| used.deadline()).max()?;
        (kept < deadline).then(|| {
            self.warns(
                Kind::Retention,
                format!(
                    "its records are kept for {}, and may be waited for up to {}",
                    format_duration(kept),
                    format_duration(deadline)
                ),
                format!("set retention.ms to {} or more", deadline.as_millis()),
            )
        })
    }

    fn partitions(&self, partitions: i32) -> Vec<Finding> {
        let of = |used: &TopicUse| match *used {
            TopicUse::AwaitsReplies {
                partition: Some(wanted),
                ..
            } if wanted >= i64::from(partitions) => Some(self.warns(
                Kind::Partitions,
                format!(
                    "this proxy is number {wanted}, and it has {partitions} partitions: two proxies read number {}",
                    wanted % i64::from(partitions.max(1))
                ),
                format!("add partitions until there are {} or more", wanted.saturating_add(1)),
            )),
            _ => None,
        };
        self.uses.iter().filter_map(of).collect()
    }

    fn purpose(&self) -> Purpose {
        self.uses.first().map_or(Purpose::Replies, |used| used.purpose())
    }

    fn stops(&self, kind: Kind, problem: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding::stops(kind, &subject(self.name), problem, cure)
    }

    fn warns(&self, kind: Kind, problem: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding::warns(kind, &subject(self.name), problem, cure)
    }
}
