//! Rules about bodies of requests: how many bytes are held, and the topics that large ones go to.

use crate::settings::fault::Report;
use crate::settings::keys::{self, route, top, topic};
use crate::settings::model::Settings;

/// Checks all of them. `record`: bytes of the largest record that is sent.
pub fn check(settings: &Settings, record: u64, report: &mut Report) {
    if settings.mode.is_proxy() {
        held_bytes(settings, record, report);
        one_topic_each(settings, report);
    }
    topics_of_their_own(settings, report);
}

/// A body that fits into a record is held as a whole.
fn held_bytes(settings: &Settings, record: u64, report: &mut Report) {
    let proxy = &settings.proxy;
    let held = (proxy.largest_body() as u64).min(record);
    report.rule(
        proxy.max_pending_bytes as u64 >= held,
        &[top::MAX_PENDING_BYTES.name, top::MAX_BODY_SIZE.name],
        || {
            format!(
                "{} bytes are below the {held} of one body in a record ({}, or message.max.bytes where that is less)",
                proxy.max_pending_bytes,
                top::MAX_BODY_SIZE.name
            )
        },
    );
}

/// A processor reads the bodies of a request topic from one topic.
fn one_topic_each(settings: &Settings, report: &mut Report) {
    for (index, each) in settings.proxy.routes.iter().enumerate() {
        let first = settings.proxy.bodies_topic_of(&each.request_topic);
        let paths = [
            keys::of_route(index, &route::BODIES_TOPIC),
            keys::of_route(index, &route::REQUEST_TOPIC),
        ];
        report.rule(first == each.streams.bodies_topic, &[&paths[0], &paths[1]], || {
            format!(
                "{:?} is not {first:?}, where another route sends bodies of requests to {:?}",
                each.streams.bodies_topic, each.request_topic
            )
        });
    }
}

/// A piece of a body is no request, no reply and no dead letter.
fn topics_of_their_own(settings: &Settings, report: &mut Report) {
    let (mut bodies, mut others) = (Vec::new(), Vec::new());
    if settings.mode.is_proxy() {
        let proxy = &settings.proxy;
        bodies.push((top::BODIES_TOPIC.name.to_owned(), &proxy.streams.bodies_topic));
        others.push((top::REQUEST_TOPIC.name.to_owned(), &proxy.request_topic));
        others.push((top::RESPONSE_TOPIC.name.to_owned(), &proxy.response_topic));
        for (index, each) in proxy.routes.iter().enumerate() {
            bodies.push((keys::of_route(index, &route::BODIES_TOPIC), &each.streams.bodies_topic));
            others.push((keys::of_route(index, &route::REQUEST_TOPIC), &each.request_topic));
            others.push((keys::of_route(index, &route::RESPONSE_TOPIC), &each.response_topic));
        }
    }
    for (index, each) in settings.processor.topics.iter().enumerate() {
        bodies.push((keys::of_topic(index, &topic::BODIES_TOPIC), &each.streams.bodies_topic));
        others.push((keys::of_topic(index, &topic::REQUEST_TOPIC), &each.request_topic));
        others.push((keys::of_topic(index, &topic::RESPONSE_TOPIC), &each.response_topic));
    }
    let dead_letters = settings.processor.dead_letter_topic.iter();
    others.extend(dead_letters.map(|name| (top::DEAD_LETTER_TOPIC.name.to_owned(), name)));
    for (path, name) in &bodies {
        if let Some((other, _)) = others.iter().find(|(_, other)| other == name) {
            report.rule(false, &[path, other], || {
                format!("{name:?} is the same as {other}: pieces of bodies need a topic of their own")
            });
        }
    }
}
