//! Rules about requests that run once.

use humantime::format_duration;

use crate::settings::fault::Report;
use crate::settings::keys::{self, Key, route, top, topic};
use crate::settings::model::{Idempotency, IdempotencyMode, Settings};
use crate::wire::Format;

/// Checks all of them.
pub(super) fn check(settings: &Settings, report: &mut Report) {
    if settings.mode.is_proxy() {
        let proxy = &settings.proxy;
        if proxy.routes.is_empty() {
            let path = |own: &Key, _: &Key| own.name.to_owned();
            let of = (&proxy.idempotency, proxy.wire_format, &*proxy.request_topic);
            asked_for(of, path, settings, report);
        }
        for (index, each) in proxy.routes.iter().enumerate() {
            let path = |_: &Key, key: &Key| keys::of_route(index, key);
            let of = (&each.idempotency, each.wire_format, &*each.request_topic);
            asked_for(of, path, settings, report);
            let key = keys::of_route(index, &route::KEY);
            let mode = keys::of_route(index, &route::IDEMPOTENCY);
            let is_on = each.idempotency.mode != IdempotencyMode::Off;
            report.rule(!is_on || each.key.is_none(), &[&key, &mode], || {
                format!("a record has one key, and {mode} has to choose it")
            });
        }
    }
    topics_of_their_own(settings, report);
}

fn asked_for(
    (of, format, request_topic): (&Idempotency, Format, &str),
    path: impl Fn(&Key, &Key) -> String,
    settings: &Settings,
    report: &mut Report,
) {
    if of.mode == IdempotencyMode::Off {
        return;
    }
    let mode = path(&top::IDEMPOTENCY, &route::IDEMPOTENCY);
    let wire_format = path(&top::WIRE_FORMAT, &route::WIRE_FORMAT);
    report.rule(format == Format::Native, &[&mode, &wire_format], || {
        format!(
            "is {}, and requests of {wire_format} json cannot say so",
            of.mode.as_str()
        )
    });
    // A processor of its own has settings of its own.
    let topics = settings.processor.topics.iter().enumerate();
    for (index, each) in topics.filter(|(_, each)| each.request_topic == request_topic) {
        let remembers = keys::of_topic(index, &topic::IDEMPOTENCY);
        report.rule(each.memory.idempotency, &[&mode, &remembers], || {
            format!(
                "is {}, and {remembers} is false: its requests would be refused",
                of.mode.as_str()
            )
        });
        let (ttl, kept) = (
            path(&top::IDEMPOTENCY_TTL, &route::IDEMPOTENCY_TTL),
            keys::of_topic(index, &topic::IDEMPOTENCY_RETENTION),
        );
        report.rule(of.ttl <= each.memory.retention, &[&ttl, &kept], || {
            format!(
                "{} is above {kept} ({})",
                format_duration(of.ttl),
                format_duration(each.memory.retention)
            )
        });
    }
}

/// What is remembered is no request, no reply, and no dead letter.
fn topics_of_their_own(settings: &Settings, report: &mut Report) {
    let topics = settings.processor.topics.iter().enumerate();
    let mut others: Vec<(String, &String)> = topics
        .clone()
        .flat_map(|(index, each)| {
            [
                (keys::of_topic(index, &topic::REQUEST_TOPIC), &each.request_topic),
                (keys::of_topic(index, &topic::RESPONSE_TOPIC), &each.response_topic),
                (
                    keys::of_topic(index, &topic::CONTROL_TOPIC),
                    &each.streams.control_topic,
                ),
                (keys::of_topic(index, &topic::BODIES_TOPIC), &each.streams.bodies_topic),
            ]
        })
        .collect();
    let dead_letters = settings.processor.dead_letter_topic.iter();
    others.extend(dead_letters.map(|name| (top::DEAD_LETTER_TOPIC.name.to_owned(), name)));
    for (index, each) in topics.filter(|(_, each)| each.memory.is_on()) {
        for (key, name) in [
            (&topic::IDEMPOTENCY_TOPIC, &each.memory.topic),
            (&topic::ANSWERS_TOPIC, &each.memory.answers_topic),
        ] {
            let path = keys::of_topic(index, key);
            if let Some((other, _)) = others.iter().find(|(_, other)| *other == name) {
                report.rule(false, &[&path, other], || {
                    format!("{name:?} is the same as {other}: what is remembered needs a topic of its own")
                });
            }
            others.push((path, name));
        }
    }
}
