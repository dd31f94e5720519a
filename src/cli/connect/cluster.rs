//! Asks Kafka, with the credentials of the service.

use std::collections::{BTreeMap, HashMap};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, Producer};

use crate::cli::connect::expected::{Expected, TopicUse};
use crate::cli::connect::finding::{Finding, Kind};
use crate::cli::connect::groups;
use crate::cli::connect::memories;
use crate::cli::connect::report::Report;
use crate::cli::connect::topics::{self, Creation, Topic};
use crate::kafka::client::complaints::Complaints;
use crate::kafka::client::{oauth, properties};
use crate::kafka::cluster::create;
use crate::kafka::cluster::survey::{self, GroupState, Surveyed, TopicState};
use crate::kafka::cluster::topic_config::{TopicConfig, topic_configs};
use crate::kafka::config::Purpose;
use crate::settings::Settings;

/// What Kafka answered.
struct Survey<'a> {
    brokers: usize,
    topics: BTreeMap<&'a str, Surveyed<TopicState>>,
    configs: HashMap<String, TopicConfig>,
    groups: BTreeMap<&'a str, Surveyed<GroupState>>,
}

/// Asks about every topic and group that the configuration names. A Kafka that does not answer is one finding, for nothing else is known then.
pub fn check(settings: &Settings, report: &mut Report) {
    let subject = &format!("kafka {}", settings.kafka.bootstrap_servers);
    let unreachable = |why: String| {
        let cure = "check kafka.bootstrap_servers and kafka.properties";
        Finding::stops(Kind::Kafka, subject, why, cure)
    };
    let config = properties::reply_producer(&settings.kafka, settings.proxy.default_timeout);
    let client = match BaseProducer::from_config_and_context(&config, Complaints::default()) {
        Ok(client) => client,
        Err(error) => return report.add(subject, [unreachable(format!("no client can be made ({error})"))]),
    };
    oauth::sign_in(client.client());
    let mut expected = Expected::of(settings);
    let limits = ask_first(&client, &mut expected);
    match limits.and_then(|(brokers, configs)| ask(&client, &expected, brokers, configs)) {
        Ok(survey) => {
            report.add(subject, []);
            survey.judge(settings, &client, &expected, report);
        }
        Err(error) => {
            let why = Complaints::of_producer(&client).unwrap_or_else(|| error.to_string());
            report.add(subject, [unreachable(format!("it does not answer ({why})"))]);
        }
    }
}

/// Asks what decides which topics are needed at all.
fn ask_first(
    client: &BaseProducer<Complaints>,
    expected: &mut Expected<'_>,
) -> KafkaResult<(usize, HashMap<String, TopicConfig>)> {
    let client = client.client();
    let names = expected.names();
    // First: this waits for the connection.
    let brokers = survey::brokers(client, names.first().copied().unwrap_or_default())?;
    let configs = topic_configs(client, &names)?;
    expected.expect_bodies(|topic| configs.get(topic)?.max_message_bytes);
    Ok((brokers, configs))
}

fn ask<'a>(
    client: &BaseProducer<Complaints>,
    expected: &'a Expected<'_>,
    brokers: usize,
    configs: HashMap<String, TopicConfig>,
) -> KafkaResult<Survey<'a>> {
    let client = client.client();
    Ok(Survey {
        brokers,
        topics: survey::topics(client, expected.topics.keys().map(String::as_str))?,
        configs,
        groups: survey::groups(client, expected.groups.keys().copied())?,
    })
}

impl Survey<'_> {
    fn judge(
        &self,
        settings: &Settings,
        client: &BaseProducer<Complaints>,
        expected: &Expected<'_>,
        report: &mut Report,
    ) {
        for (name, uses) in &expected.topics {
            let Some(surveyed) = self.topics.get(&**name) else {
                continue;
            };
            let topic = Topic {
                name,
                uses,
                config: self.configs.get(name).copied(),
                brokers: self.brokers,
            };
            let findings = topic.findings(surveyed, || creation(settings, client, name, uses));
            match (surveyed, findings.is_empty()) {
                (Surveyed::Missing, true) => report.add_absent(&topics::subject(name)),
                _ => report.add(&topics::subject(name), findings),
            }
        }
        let partitions = |topic: &str| match self.topics.get(topic) {
            Some(Surveyed::Found(found)) => Some(found.partitions),
            _ => None,
        };
        for (memory, request_topic) in &expected.memories {
            let finding = memories::finding(memory, request_topic, partitions);
            report.add(&topics::subject(memory), finding);
        }
        for (name, uses) in &expected.groups {
            if let Some(group) = self.groups.get(name) {
                report.add(&groups::subject(name), groups::findings(name, uses, group, partitions));
            }
        }
    }
}

/// What would become of a topic that does not exist.
fn creation(settings: &Settings, client: &BaseProducer<Complaints>, name: &str, uses: &[TopicUse]) -> Creation {
    if !settings.create_topics.enabled {
        return Creation::Off;
    }
    let purpose = uses.first().map_or(Purpose::Replies, |used| used.purpose());
    match create::refusal(client.client(), name, &settings.create_topics, purpose) {
        Ok(None) => Creation::AtStart,
        Ok(Some(why)) => Creation::Refused(why),
        Err(error) => Creation::Refused(error.to_string()),
    }
}
