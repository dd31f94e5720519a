//! Rules about more than one setting. A rule about a single value stands in its parser (`parse`).

use std::collections::HashMap;
use std::time::Duration;

use humantime::format_duration;

use crate::kafka::client::properties::{self, OWNED};
use crate::kafka::config::{Kafka, ReplyPartition};
use crate::settings::check::bodies;
use crate::settings::check::doors;
use crate::settings::check::idempotency;
use crate::settings::check::later;
use crate::settings::check::sealing;
use crate::settings::fault::Report;
use crate::settings::keys::{self, Key, route, top, topic};
use crate::settings::model::{BackendTls, Mode, RecordKey, Route, Settings, Topic};
use crate::settings::parse::routing;
use crate::wire::Format;

/// Room in a record for the head of a request beside its body.
pub const HEAD_ROOM: usize = 64 * 1024;

/// Defaults that the rules need where `kafka.properties` does not set them: librdkafka's own, and for the session timeout the one that
/// this service sets, so that a group moves on after a crash well within the default timeout of 30 s.
const MESSAGE_MAX_BYTES: u64 = 1_000_000;
const MAX_POLL_INTERVAL_MS: u64 = 300_000;
const SESSION_TIMEOUT_MS: u64 = 10_000;

/// Checks everything that concerns more than one setting.
pub fn validate(settings: &Settings, report: &mut Report) {
    kafka(settings, report);
    if settings.mode.is_proxy() {
        proxy(settings, report);
        routes(settings, report);
        consumer_groups(settings, report);
        doors::validate(settings, report);
        later::check(settings, report);
    }
    bodies::check(settings, message_max_bytes(&settings.kafka), report);
    idempotency::check(settings, report);
    sealing::check(settings, report);
    clocks(settings, report);
    shutdown(settings, report);
    management(settings, report);
    topics(settings, report);
    dead_letter(settings, report);
}

fn kafka(settings: &Settings, report: &mut Report) {
    for name in OWNED
        .iter()
        .filter(|name| settings.kafka.properties.contains_key(**name))
    {
        report.fault(
            keys::join(top::PROPERTIES.name, name),
            "is set by the service itself and cannot be changed; remove it",
            None,
        );
    }
    for (name, problem) in properties::refused(&settings.kafka) {
        report.fault(keys::join(top::PROPERTIES.name, &name), problem, None);
    }
    let sent = message_max_bytes(&settings.kafka);
    report.rule(
        settings.max_record_size as u64 >= sent,
        &[top::MAX_RECORD_SIZE.name],
        || {
            format!(
                "{} is less than this service itself sends: at least {sent}, the message.max.bytes of {}",
                settings.max_record_size,
                top::PROPERTIES.name
            )
        },
    );
    let poll = Duration::from_millis(property(settings, "max.poll.interval.ms", MAX_POLL_INTERVAL_MS));
    let revoke = settings.processor.revoke_timeout;
    report.rule(revoke < poll, &[top::REVOKE_TIMEOUT.name], || {
        let (revoke, poll) = (format_duration(revoke), format_duration(poll));
        format!("{revoke} is not below max.poll.interval.ms ({poll}): the group would lose the consumer meanwhile")
    });
}

fn proxy(settings: &Settings, report: &mut Report) {
    let proxy = &settings.proxy;
    let per_topic = proxy.max_pending_per_topic;
    report.rule(
        per_topic <= proxy.max_pending,
        &[top::MAX_PENDING_PER_TOPIC.name, top::MAX_PENDING.name],
        || format!("{per_topic} is above {} ({})", top::MAX_PENDING.name, proxy.max_pending),
    );
    let mut requests = vec![(top::REQUEST_TOPIC.name.to_owned(), proxy.request_topic.as_str())];
    let response_topic = (top::RESPONSE_TOPIC.name, proxy.response_topic.as_str());
    not_a_request_topic(response_topic, &requests, REQUESTS_AS_REPLIES, report);
    requests.extend(request_topics_of_routes(settings));
    for name in &proxy.warmup_topics {
        not_a_request_topic((top::WARMUP_TOPICS.name, name), &requests, REQUESTS_AS_REPLIES, report);
    }
    let chosen = matches!(proxy.reply_partition, ReplyPartition::Number(_));
    if proxy.wire_format == Format::Json && chosen {
        report.warnings.push(format!(
            "{} has no effect: with {} json every partition is read",
            top::REPLY_PARTITION.name,
            top::WIRE_FORMAT.name
        ));
    }
    let moved_on =
        Duration::from_millis(property(settings, "session.timeout.ms", SESSION_TIMEOUT_MS)) + Duration::from_secs(5);
    let own = (top::DEFAULT_TIMEOUT.name.to_owned(), proxy.default_timeout);
    let routes = proxy.routes.iter().enumerate();
    let differing = routes.filter(|(_, route)| route.timeout != proxy.default_timeout);
    let timeouts = differing.map(|(index, each)| (keys::of_route(index, &route::TIMEOUT), each.timeout));
    for (key, timeout) in std::iter::once(own).chain(timeouts) {
        if timeout <= moved_on && !report.is_at_fault(&key) {
            report.warnings.push(format!(
                "{key} ({}) is not above {}, which a group needs to move on after a processor died: requests to it will time out",
                format_duration(timeout),
                format_duration(moved_on)
            ));
        }
    }
}

fn routes(settings: &Settings, report: &mut Report) {
    let routes = &settings.proxy.routes;
    let requests: Vec<_> = request_topics_of_routes(settings).collect();
    for (index, each) in routes.iter().enumerate() {
        let path = |key: &Key| keys::of_route(index, key);
        let response_topic = (&*path(&route::RESPONSE_TOPIC), each.response_topic.as_str());
        not_a_request_topic(response_topic, &requests, REQUESTS_AS_REPLIES, report);
        if let Some(RecordKey::Segment(name)) = &each.key {
            let found = routing::has_segment(&each.path, name);
            report.rule(found, &[&path(&route::KEY), &path(&route::PATH)], || {
                format!("{:?} has no segment {{{name}}}", each.path)
            });
        }
        if let Some(prefix) = &each.strip_prefix {
            let begins = routing::begins_with(&each.path, prefix);
            report.rule(begins, &[&path(&route::STRIP_PREFIX), &path(&route::PATH)], || {
                format!("{prefix:?} and a slash are not the beginning of {:?}", each.path)
            });
        }
        let takes_all_of = |earlier: &Route| {
            let some_left =
                each.methods.is_empty() || each.methods.iter().any(|method| !earlier.methods.contains(method));
            earlier.path == each.path && (earlier.methods.is_empty() || !some_left)
        };
        let hidden_by = routes[..index].iter().position(takes_all_of);
        report.rule(
            hidden_by.is_none(),
            &[&path(&route::PATH), &path(&route::METHODS)],
            || {
                let earlier = keys::item(top::ROUTES.name, hidden_by.unwrap_or_default());
                format!("{:?} is never reached: {earlier} takes all its requests", each.path)
            },
        );
    }
}

/// A topic's requests are refused for the sake of one group.
fn consumer_groups(settings: &Settings, report: &mut Report) {
    let groups = settings.proxy.consumer_groups();
    for (index, each) in settings.proxy.routes.iter().enumerate() {
        let other = groups.get(each.request_topic.as_str());
        let agrees = each.consumer_group.is_none() || each.consumer_group.as_deref() == other.copied();
        let path = |key: &Key| keys::of_route(index, key);
        report.rule(
            agrees,
            &[&path(&route::CONSUMER_GROUP), &path(&route::REQUEST_TOPIC)],
            || {
                format!(
                    "{:?} is not the group {:?} that another route names for {:?}",
                    each.consumer_group.as_deref().unwrap_or_default(),
                    other.copied().unwrap_or_default(),
                    each.request_topic
                )
            },
        );
    }
}

fn clocks(settings: &Settings, report: &mut Report) {
    let (tolerance, most) = (settings.processor.clock_tolerance, settings.processor.max_clock_skew);
    report.rule(
        tolerance <= most,
        &[top::MAX_CLOCK_SKEW.name, top::CLOCK_TOLERANCE.name],
        || {
            let name = top::CLOCK_TOLERANCE.name;
            format!(
                "{} is below {name} ({})",
                format_duration(most),
                format_duration(tolerance)
            )
        },
    );
}

fn shutdown(settings: &Settings, report: &mut Report) {
    let (drain, pre_stop) = (settings.drain_timeout, settings.pre_stop);
    // The default of drain_timeout is computed from default_timeout.
    let concerned = [top::DRAIN_TIMEOUT.name, top::PRE_STOP.name, top::DEFAULT_TIMEOUT.name];
    report.rule(drain > pre_stop, &concerned, || {
        format!(
            "{} is not above {} ({})",
            format_duration(drain),
            top::PRE_STOP.name,
            format_duration(pre_stop)
        )
    });
}

fn management(settings: &Settings, report: &mut Report) {
    let (proxy, management) = (&settings.proxy, &settings.management);
    let same_address = proxy.bind == management.bind || proxy.bind.is_unspecified() || management.bind.is_unspecified();
    let clash = settings.mode.is_proxy() && management.port != 0 && management.port == proxy.port && same_address;
    report.rule(
        !clash,
        &[
            top::MANAGEMENT_PORT.name,
            top::PORT.name,
            top::BIND.name,
            top::MANAGEMENT_BIND.name,
        ],
        || format!("{} is {} already", management.port, top::PORT.name),
    );
}

fn topics(settings: &Settings, report: &mut Report) {
    let topics = &settings.processor.topics;
    let needed = matches!(settings.mode, Mode::Processor | Mode::All);
    report.rule(!needed || !topics.is_empty(), &[top::TOPICS.name], || {
        let variable = top::TOPICS.env.unwrap_or_default();
        format!("is empty, and a processor needs at least one topic (in a file, or {variable} in the environment)")
    });

    let indexed = topics.iter().enumerate();
    let requests: Vec<(String, &str)> = indexed
        .map(|(index, each)| {
            (
                keys::of_topic(index, &topic::REQUEST_TOPIC),
                each.request_topic.as_str(),
            )
        })
        .collect();
    let mut names = HashMap::new();
    let mut groups = HashMap::new();
    let mut members = HashMap::new();
    for (index, each) in topics.iter().enumerate() {
        let path = |key: &Key| keys::of_topic(index, key);
        let first = *names.entry(&each.name).or_insert(index);
        report.rule(
            first == index,
            &[&path(&topic::NAME), &path(&topic::REQUEST_TOPIC)],
            || {
                format!(
                    "{:?} is the name of {} too; give each topic its own",
                    each.name,
                    keys::item(top::TOPICS.name, first)
                )
            },
        );
        let first = *groups
            .entry((&each.request_topic, &each.consumer_group))
            .or_insert(index);
        report.rule(
            first == index,
            &[&path(&topic::CONSUMER_GROUP), &path(&topic::REQUEST_TOPIC)],
            || {
                let first = keys::item(top::TOPICS.name, first);
                format!(
                    "{:?} consumes {:?} in {first} already",
                    each.consumer_group, each.request_topic
                )
            },
        );
        let member = each.group_instance_id.as_ref().map(|id| (&each.consumer_group, id));
        let first = member.map_or(index, |member| *members.entry(member).or_insert(index));
        report.rule(
            first == index,
            &[&path(&topic::GROUP_INSTANCE_ID), &path(&topic::CONSUMER_GROUP)],
            || {
                let first = keys::item(top::TOPICS.name, first);
                format!("is that of {first} in the same group: Kafka would have one fence the other for ever")
            },
        );
        let response_topic = (&*path(&topic::RESPONSE_TOPIC), each.response_topic.as_str());
        not_a_request_topic(response_topic, &requests, REPLIES_AS_REQUESTS, report);
        backend_tls(each, path, report);
    }
}

fn backend_tls(topic: &Topic, path: impl Fn(&Key) -> String, report: &mut Report) {
    let tls = &topic.tls;
    let is_used = topic.backend_url.scheme != "http" || *tls == BackendTls::default();
    report.rule(is_used, &[&path(&topic::BACKEND_URL)], || {
        "is http://, and the topic has settings of tls: write https://".to_owned()
    });
    for (one, other, is_alone) in [
        (topic::TLS_CERT, topic::TLS_KEY, tls.cert.is_some() && tls.key.is_none()),
        (topic::TLS_KEY, topic::TLS_CERT, tls.key.is_some() && tls.cert.is_none()),
    ] {
        report.rule(!is_alone, &[&path(&one)], || format!("needs {} beside it", other.name));
    }
    if !tls.verify {
        report.warnings.push(format!(
            "{} is none-dangerous: whoever is between this process and {} can read the requests and answer them",
            path(&topic::TLS_VERIFY),
            topic.backend_url
        ));
    }
}

const REQUESTS_AS_REPLIES: &str = "the proxy would take requests for replies";
const REPLIES_AS_REQUESTS: &str = "the processor would take replies for requests";

/// A topic that replies travel on takes no requests. `requests`: each request topic, after the path of its setting.
fn not_a_request_topic(
    (path, name): (&str, &str),
    requests: &[(String, &str)],
    consequence: &str,
    report: &mut Report,
) {
    if let Some((same, _)) = requests.iter().find(|(_, request_topic)| *request_topic == name) {
        report.rule(false, &[path, same], || {
            format!("{name:?} is the same as {same}: {consequence}")
        });
    }
}

fn request_topics_of_routes(settings: &Settings) -> impl Iterator<Item = (String, &str)> {
    let routes = settings.proxy.routes.iter().enumerate();
    routes.map(|(index, each)| {
        (
            keys::of_route(index, &route::REQUEST_TOPIC),
            each.request_topic.as_str(),
        )
    })
}

/// A dead letter on a request topic would be executed, on a response topic it would be taken for a reply.
fn dead_letter(settings: &Settings, report: &mut Report) {
    let Some(dead_letter) = &settings.processor.dead_letter_topic else {
        return;
    };
    let mut used: Vec<(String, &String)> = Vec::new();
    for (index, each) in settings.processor.topics.iter().enumerate() {
        used.push((keys::of_topic(index, &topic::REQUEST_TOPIC), &each.request_topic));
        used.push((keys::of_topic(index, &topic::RESPONSE_TOPIC), &each.response_topic));
    }
    if settings.mode.is_proxy() {
        used.push((top::REQUEST_TOPIC.name.to_owned(), &settings.proxy.request_topic));
        used.push((top::RESPONSE_TOPIC.name.to_owned(), &settings.proxy.response_topic));
        for (index, each) in settings.proxy.routes.iter().enumerate() {
            used.push((keys::of_route(index, &route::REQUEST_TOPIC), &each.request_topic));
            used.push((keys::of_route(index, &route::RESPONSE_TOPIC), &each.response_topic));
        }
    }
    if let Some((path, _)) = used.iter().find(|(_, name)| *name == dead_letter) {
        report.rule(false, &[top::DEAD_LETTER_TOPIC.name, path], || {
            format!("{dead_letter:?} is the same as {path}")
        });
    }
}

/// A number among librdkafka's properties. One that is no number is librdkafka's to refuse.
fn property(settings: &Settings, name: &str, default: u64) -> u64 {
    property_of(&settings.kafka, name, default)
}

/// The largest record that is sent, in bytes.
pub fn message_max_bytes(kafka: &Kafka) -> u64 {
    property_of(kafka, "message.max.bytes", MESSAGE_MAX_BYTES)
}

fn property_of(kafka: &Kafka, name: &str, default: u64) -> u64 {
    kafka
        .properties
        .get(name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
