//! What a configuration expects of topics and groups.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::cluster::rights::Right;
use crate::kafka::config::Purpose;
use crate::proxy::instance;
use crate::settings::{HEAD_ROOM, Processor, Proxy, ReplyPartition, Settings, Streaming, message_max_bytes};
use crate::wire::Format;

/// What a role does with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicUse {
    /// A proxy writes requests, with bodies of up to `max_body` bytes that have to fit into their records; 0: larger ones go elsewhere. Their
    /// clients wait for `deadline` at most.
    SendsRequests { max_body: usize, deadline: Duration },
    /// A proxy reads replies. `partition`: the number that the configuration asks for, if it does.
    AwaitsReplies { partition: Option<i64>, deadline: Duration },
    /// A proxy finds results there that are fetched later, for so long. Whoever writes them sends records of up to `max_record` bytes.
    FindsResults { kept: Duration, max_record: usize },
    /// And it deletes those whose clients ask for that.
    DeletesResults { kept: Duration },
    /// The workers of a processor read requests, each of up to `max_record` bytes, and have `deadline` for a call.
    TakesRequests {
        workers: usize,
        max_record: usize,
        deadline: Duration,
    },
    /// A processor writes replies, each of up to `max_record` bytes.
    SendsReplies { max_record: usize },
    /// A processor writes what it gave up, likewise.
    SendsDeadLetters { max_record: usize },
    /// A processor reads, after an assignment, which requests ran; they count for so long.
    RecallsKeys { kept: Duration },
    /// A processor writes which requests ran, with their answers: records of up to `max_record` bytes.
    RemembersKeys { kept: Duration, max_record: usize },
    /// A processor reads answers again that are larger than a record.
    RecallsAnswers { kept: Duration },
    /// A processor writes them. It creates the topic with the first one.
    KeepsAnswers { kept: Duration },
    /// A proxy steers answers that are streamed to it. Unless they are `required`, it does without.
    SteersStreams { required: bool },
    /// A processor reads how its streams are steered, or does without.
    HeedsControl { required: bool },
    /// A proxy writes bodies that do not fit into a record.
    SendsBodies,
    /// A processor reads them. It never creates the topic.
    TakesBodies,
}

/// What a role does with a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupUse<'a> {
    /// A processor joins it with so many workers.
    Joins { topic: &'a str, workers: usize },
    /// A proxy asks whether it has members.
    Watches,
}

/// All topics and groups that a configuration names.
#[derive(Debug, Default)]
pub struct Expected<'a> {
    pub topics: BTreeMap<String, Vec<TopicUse>>,
    pub groups: BTreeMap<&'a str, Vec<GroupUse<'a>>>,
    /// Topics that remember keys, each with its request topic.
    pub memories: Vec<(&'a str, &'a str)>,
    /// Request topics with the topic of bodies beside each. Whether it is needed, their limits tell: see `expect_bodies`.
    beside: Vec<(&'a str, String)>,
    /// The largest body that a proxy takes.
    largest_body: usize,
    /// The largest record that this process sends.
    max_record: usize,
}

impl TopicUse {
    /// The right without which it cannot be done.
    pub fn right(self) -> Right {
        match self {
            TopicUse::AwaitsReplies { .. }
            | TopicUse::FindsResults { .. }
            | TopicUse::TakesRequests { .. }
            | TopicUse::RecallsKeys { .. }
            | TopicUse::RecallsAnswers { .. }
            | TopicUse::HeedsControl { .. }
            | TopicUse::TakesBodies => Right::Read,
            TopicUse::SendsRequests { .. }
            | TopicUse::SendsReplies { .. }
            | TopicUse::DeletesResults { .. }
            | TopicUse::SendsDeadLetters { .. }
            | TopicUse::RemembersKeys { .. }
            | TopicUse::KeepsAnswers { .. }
            | TopicUse::SteersStreams { .. }
            | TopicUse::SendsBodies => Right::Write,
        }
    }

    /// What the topic is created for.
    pub fn purpose(self) -> Purpose {
        match self {
            TopicUse::SendsRequests { .. } | TopicUse::TakesRequests { .. } => Purpose::Requests,
            TopicUse::AwaitsReplies { .. } | TopicUse::SendsReplies { .. } => Purpose::Replies,
            TopicUse::RecallsKeys { kept } | TopicUse::RemembersKeys { kept, .. } => Purpose::Memory { kept },
            TopicUse::RecallsAnswers { kept } | TopicUse::KeepsAnswers { kept } => Purpose::Answers { kept },
            TopicUse::FindsResults { kept, .. } | TopicUse::DeletesResults { kept } => Purpose::Results { kept },
            TopicUse::SendsDeadLetters { .. } => Purpose::DeadLetters,
            TopicUse::SteersStreams { .. } | TopicUse::HeedsControl { .. } => Purpose::Control,
            TopicUse::SendsBodies | TopicUse::TakesBodies => Purpose::Bodies,
        }
    }

    /// For how long its records are of use, where that is known.
    pub fn deadline(self) -> Option<Duration> {
        match self {
            TopicUse::SendsRequests { deadline, .. }
            | TopicUse::AwaitsReplies { deadline, .. }
            | TopicUse::TakesRequests { deadline, .. } => Some(deadline),
            TopicUse::RecallsKeys { kept } | TopicUse::RemembersKeys { kept, .. } => Some(kept),
            TopicUse::RecallsAnswers { kept } | TopicUse::KeepsAnswers { kept } => Some(kept),
            TopicUse::FindsResults { kept, .. } | TopicUse::DeletesResults { kept } => Some(kept),
            TopicUse::SendsReplies { .. }
            | TopicUse::SendsDeadLetters { .. }
            | TopicUse::SteersStreams { .. }
            | TopicUse::HeedsControl { .. }
            | TopicUse::SendsBodies
            | TopicUse::TakesBodies => None,
        }
    }

    /// What is lost without it, where requests are carried all the same.
    pub fn without(self) -> Option<&'static str> {
        match self {
            TopicUse::SteersStreams { required: false } | TopicUse::HeedsControl { required: false } => {
                Some("answers are not streamed")
            }
            TopicUse::RecallsAnswers { .. } | TopicUse::KeepsAnswers { .. } => {
                Some("repeats of requests whose answers are larger than a record get 502")
            }
            TopicUse::SendsBodies | TopicUse::TakesBodies => Some("requests with bodies larger than a record fail"),
            _ => None,
        }
    }
}

impl GroupUse<'_> {
    /// The right without which it cannot be done.
    pub fn right(&self) -> Right {
        match self {
            GroupUse::Joins { .. } => Right::Read,
            GroupUse::Watches => Right::Describe,
        }
    }
}

impl<'a> Expected<'a> {
    /// Of the roles that the settings are for.
    pub fn of(settings: &'a Settings) -> Self {
        let mut expected = Expected {
            max_record: usize::try_from(message_max_bytes(&settings.kafka)).unwrap_or(usize::MAX),
            ..Expected::default()
        };
        if settings.mode.is_proxy() {
            expected.add_proxy(&settings.proxy);
        }
        if settings.mode.is_processor() {
            expected.add_processor(&settings.processor, settings.max_record_size);
        }
        expected
    }

    /// Every topic that Kafka is asked about, those included that may turn out not to be needed.
    pub fn names(&self) -> Vec<&str> {
        let beside = self.beside.iter().map(|(_, bodies)| bodies);
        self.topics.keys().chain(beside).map(String::as_str).collect()
    }

    /// Expects a topic of bodies wherever a body may be larger than what the request topic takes in a record. `limit` is that topic's own, where
    /// it is known.
    pub fn expect_bodies(&mut self, limit: impl Fn(&str) -> Option<usize>) {
        for (request_topic, bodies_topic) in std::mem::take(&mut self.beside) {
            let record = limit(request_topic).unwrap_or(self.max_record).min(self.max_record);
            if self.largest_body.saturating_add(HEAD_ROOM) > record {
                self.topic(&bodies_topic, TopicUse::SendsBodies);
            }
        }
    }

    fn add_proxy(&mut self, proxy: &'a Proxy) {
        let deadline_on = |topic: &str| {
            let routes = proxy.routes.iter().filter(|route| route.request_topic == topic);
            let waits = routes.map(|route| route.timeout).max().unwrap_or(proxy.default_timeout);
            let later = proxy.later_routes().filter(|route| route.request_topic == topic);
            later.map(|route| route.later.timeout).fold(waits, Duration::max)
        };
        for topic in proxy.request_topics() {
            let mut routes = proxy.routes.iter().filter(|route| route.request_topic == topic);
            let is_json = match proxy.routes.is_empty() {
                true => proxy.wire_format == Format::Json,
                false => routes.any(|route| route.wire_format == Format::Json),
            };
            let max_body = if is_json { proxy.largest_body() } else { 0 };
            let deadline = deadline_on(topic);
            self.topic(topic, TopicUse::SendsRequests { max_body, deadline });
        }
        let default = proxy.routes.is_empty().then_some(proxy.response_topic.as_str());
        for topic in proxy.reply_topics().into_iter().chain(default) {
            let partition = match proxy.reply_partition_of(topic) {
                ReplyPartition::All => None,
                ReplyPartition::Number(number) => Some(number.into()),
                ReplyPartition::Auto => proxy.instance_id.as_deref().and_then(instance::ordinal).map(i64::from),
            };
            let deadline = proxy.longest_timeout();
            self.topic(topic, TopicUse::AwaitsReplies { partition, deadline });
        }
        self.largest_body = proxy.largest_body();
        let beside = |topic| (topic, proxy.bodies_topic_of(topic));
        self.beside = proxy.native_topics().into_iter().map(beside).collect();
        for (topic, required) in proxy.streamed_topics() {
            self.topic(&proxy.control_topic_of(topic), TopicUse::SteersStreams { required });
        }
        let max_record = self.max_record;
        for (topic, kept) in proxy.results_topics() {
            self.topic(topic, TopicUse::FindsResults { kept, max_record });
            self.topic(topic, TopicUse::DeletesResults { kept });
        }
        for group in proxy.consumer_groups().into_keys() {
            self.groups.entry(group).or_default().push(GroupUse::Watches);
        }
    }

    fn add_processor(&mut self, processor: &'a Processor, max_taken: usize) {
        let max_record = self.max_record;
        for topic in &processor.topics {
            let (workers, deadline) = (topic.workers, topic.timeout);
            let takes = TopicUse::TakesRequests {
                workers,
                max_record: max_taken,
                deadline,
            };
            self.topic(&topic.request_topic, takes);
            self.topic(&topic.response_topic, TopicUse::SendsReplies { max_record });
            self.topic(&topic.streams.bodies_topic, TopicUse::TakesBodies);
            let streaming = topic.streams.streaming;
            if streaming != Streaming::Off {
                let required = streaming == Streaming::Required;
                self.topic(&topic.streams.control_topic, TopicUse::HeedsControl { required });
            }
            if topic.memory.is_on() {
                let kept = topic.memory.retention;
                self.memories.push((&topic.memory.topic, &topic.request_topic));
                self.topic(&topic.memory.topic, TopicUse::RecallsKeys { kept });
                self.topic(&topic.memory.topic, TopicUse::RemembersKeys { kept, max_record });
                if topic.keeps_answers() {
                    let kept = topic.answers_kept();
                    self.topic(&topic.memory.answers_topic, TopicUse::RecallsAnswers { kept });
                    self.topic(&topic.memory.answers_topic, TopicUse::KeepsAnswers { kept });
                }
            }
            self.groups
                .entry(&topic.consumer_group)
                .or_default()
                .push(GroupUse::Joins {
                    topic: &topic.request_topic,
                    workers,
                });
        }
        if let Some(topic) = &processor.dead_letter_topic {
            self.topic(topic, TopicUse::SendsDeadLetters { max_record });
        }
    }

    fn topic(&mut self, name: &str, used: TopicUse) {
        let uses = self.topics.entry(name.to_owned()).or_default();
        if !uses.contains(&used) {
            uses.push(used);
        }
    }
}
