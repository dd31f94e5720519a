//! `topics create`: creates the topics that the configuration names.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::{BaseProducer, Producer};

use crate::kafka::client::complaints::Complaints;
use crate::kafka::client::{oauth, properties};
use crate::kafka::cluster::admin::{TopicAdmin, TopicError, describe};
use crate::kafka::config::Purpose;
use crate::process::status_line::StatusLine;
use crate::process::{exit, output};
use crate::settings::{CreateTopics, Mode, Settings, Streaming};

/// How long a new topic may take until it can be used. One of some thousand partitions takes a broker tens of seconds.
const USABLE_WITHIN: Duration = Duration::from_secs(120);
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Creates what is missing, prints what is there; returns the exit code.
pub fn run(settings: &Settings) -> u8 {
    let config = properties::reply_producer(&settings.kafka, settings.proxy.default_timeout);
    let client = match BaseProducer::from_config_and_context(&config, Complaints::default()) {
        Ok(client) => client,
        Err(error) => {
            output::complain(format_args!("kafka client: {error}"));
            return exit::USAGE;
        }
    };
    oauth::sign_in(client.client());
    let admin = TopicAdmin::new(CreateTopics {
        enabled: true,
        ..settings.create_topics.clone()
    });
    let (mut code, mut printed) = (exit::OK, Ok(()));
    let mut status = StatusLine::begin();
    let others = topics_named_by(settings).into_iter();
    let others = others.map(|(topic, purpose)| Named {
        topic,
        purpose,
        as_many_as: None,
    });
    // Their request topics have to be there first.
    for Named {
        topic,
        purpose,
        as_many_as,
    } in others.chain(memories(settings))
    {
        let done = describe(client.client(), &topic).and_then(|found| match found {
            Some(found) => Ok((found.partitions, "exists")),
            None => {
                let needed = as_many_as
                    .map(|of| describe(client.client(), of))
                    .transpose()?
                    .flatten();
                let admin = needed.map_or_else(|| admin.clone(), |of| admin.with_partitions(of.partitions));
                created(&admin, &client, (&topic, purpose), &mut status).map(|partitions| (partitions, "created"))
            }
        });
        status.clear();
        match done {
            Ok((partitions, what)) => {
                printed = printed.and(output::print(format_args!(
                    "{topic}: {what}, {partitions} partitions\n"
                )));
            }
            Err(error @ TopicError::Unreachable { .. }) => {
                output::complain(format_args!("{error} (now {})", settings.kafka.bootstrap_servers));
                Complaints::of_producer(&client).into_iter().for_each(output::complain);
                return exit::UNAVAILABLE;
            }
            Err(error @ TopicError::NotUsableYet { .. }) => {
                output::complain(error);
                code = exit::UNAVAILABLE;
            }
            Err(error) => {
                output::complain(error);
                code = exit::SOFTWARE;
            }
        }
    }
    match code {
        exit::OK => output::exit_code(printed),
        code => code,
    }
}

/// A topic that the configuration names.
struct Named<'a> {
    topic: String,
    purpose: Purpose,
    /// It needs as many partitions as this one.
    as_many_as: Option<&'a str>,
}

/// What processors remember, and the bodies of it. Without streams, no body is larger than a record.
fn memories(settings: &Settings) -> impl Iterator<Item = Named<'_>> {
    let topics = settings.processor.topics.iter().filter(|topic| topic.memory.is_on());
    topics.flat_map(|topic| {
        let kept = topic.memory.retention;
        let named = |name: &str, purpose| Named {
            topic: name.to_owned(),
            purpose,
            as_many_as: Some(&topic.request_topic),
        };
        let bodies = Purpose::Answers {
            kept: topic.answers_kept(),
        };
        let answers = named(&topic.memory.answers_topic, bodies);
        let memory = named(&topic.memory.topic, Purpose::Memory { kept });
        std::iter::once(memory).chain(topic.keeps_answers().then_some(answers))
    })
}

/// Creates a topic and waits until it can be used; returns its partition count. Blocks.
fn created(
    admin: &TopicAdmin,
    client: &BaseProducer<Complaints>,
    (topic, purpose): (&str, Purpose),
    status: &mut StatusLine,
) -> Result<i32, TopicError> {
    let began = Instant::now();
    loop {
        let waited = began.elapsed().as_secs();
        status.show(format_args!("creating {topic}; until it can be used ({waited} s) …"));
        match admin.ensure(client.client(), topic, purpose, true) {
            Err(TopicError::NotUsableYet { .. }) if began.elapsed() < USABLE_WITHIN => {
                std::thread::sleep(AGAIN_AFTER);
            }
            done => return done,
        }
    }
}

/// Each topic once: the processor's where it has any, and the proxy's where that has routes or the processor has none (its default
/// topics are always named).
fn topics_named_by(settings: &Settings) -> BTreeMap<String, Purpose> {
    let routed = !settings.proxy.routes.is_empty();
    let default_reply_topic = (!routed).then_some(settings.proxy.response_topic.as_str());
    let requests = |name| (name, Purpose::Requests);
    let replies = |name| (name, Purpose::Replies);
    let bodies = |name| (name, Purpose::Bodies);
    let request_topics = settings.proxy.request_topics();
    let bodies_topics: Vec<String> = request_topics
        .iter()
        .map(|topic| settings.proxy.bodies_topic_of(topic))
        .collect();
    let proxy = request_topics.into_iter().map(requests);
    let proxy = proxy.chain(bodies_topics.iter().map(|name| bodies(name.as_str())));
    let proxy = proxy.chain(
        settings
            .proxy
            .reply_topics()
            .into_iter()
            .chain(default_reply_topic)
            .map(replies),
    );
    let streamed = settings.proxy.streamed_topics();
    let controls: Vec<String> = streamed
        .into_keys()
        .map(|topic| settings.proxy.control_topic_of(topic))
        .collect();
    let proxy = proxy.chain(controls.iter().map(|name| (name.as_str(), Purpose::Control)));
    let results = settings.proxy.results_topics().into_iter();
    let proxy = proxy.chain(results.map(|(name, kept)| (name, Purpose::Results { kept })));
    let own = &settings.processor;
    let processor = own
        .topics
        .iter()
        .flat_map(|topic| {
            [
                requests(topic.request_topic.as_str()),
                replies(&topic.response_topic),
                bodies(&topic.streams.bodies_topic),
            ]
        })
        .chain(
            own.topics
                .iter()
                .filter(|topic| topic.streams.streaming != Streaming::Off)
                .map(|topic| (topic.streams.control_topic.as_str(), Purpose::Control)),
        )
        .chain(
            own.dead_letter_topic
                .iter()
                .map(|name| (name.as_str(), Purpose::DeadLetters)),
        );
    let named: Vec<(&str, Purpose)> = match own.topics.is_empty() || routed || settings.mode == Mode::All {
        true => proxy.chain(processor).collect(),
        false => processor.collect(),
    };
    named
        .into_iter()
        .map(|(name, purpose)| (name.to_owned(), purpose))
        .collect()
}
