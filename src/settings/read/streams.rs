//! Reads how answers are streamed: what holds in general, of the proxy's own request topic, of a route and of a topic.

use crate::settings::keys::{Key, route, top, topic};
use crate::settings::model::Streams;
use crate::settings::parse::{name, value};
use crate::settings::read::defaults::seconds;
use crate::settings::read::reader::Reader;

/// What routes and topics have that say nothing. The topics are each request topic's own.
pub fn defaults(reader: &mut Reader<'_>) -> Streams {
    Streams {
        streaming: reader.required(&top::STREAMING, value::streaming),
        idle_timeout: reader.required(&top::STREAM_IDLE_TIMEOUT, value::duration),
        max_duration: reader.required(&top::STREAM_MAX_DURATION, value::duration),
        ..Streams::default()
    }
}

/// Of the proxy's own request topic.
pub fn of_proxy(reader: &mut Reader<'_>, request_topic: &str, defaults: &Streams) -> Streams {
    with_topics(
        reader,
        (&top::CONTROL_TOPIC, &top::BODIES_TOPIC),
        request_topic,
        defaults.clone(),
    )
}

/// Of a route. `own`: those of the proxy, where its request topic is the proxy's.
pub fn of_route(item: &mut Reader<'_>, request_topic: &str, own: Option<&Streams>, defaults: &Streams) -> Streams {
    let keys = (&route::CONTROL_TOPIC, &route::BODIES_TOPIC);
    let streams = match own {
        Some(own) => Streams {
            control_topic: item.or(keys.0, own.control_topic.as_str(), name::topic),
            bodies_topic: item.or(keys.1, own.bodies_topic.as_str(), name::topic),
            ..defaults.clone()
        },
        None => with_topics(item, keys, request_topic, defaults.clone()),
    };
    let keys = [
        &route::STREAMING,
        &route::STREAM_IDLE_TIMEOUT,
        &route::STREAM_MAX_DURATION,
    ];
    with_limits(item, keys, streams)
}

/// Of a processor's topic.
pub fn of_topic(item: &mut Reader<'_>, request_topic: &str, defaults: &Streams) -> Streams {
    let keys = (&topic::CONTROL_TOPIC, &topic::BODIES_TOPIC);
    let streams = with_topics(item, keys, request_topic, defaults.clone());
    let keys = [
        &topic::STREAMING,
        &topic::STREAM_IDLE_TIMEOUT,
        &topic::STREAM_MAX_DURATION,
    ];
    with_limits(item, keys, streams)
}

fn with_topics(reader: &mut Reader<'_>, keys: (&Key, &Key), request_topic: &str, streams: Streams) -> Streams {
    Streams {
        control_topic: reader.or(keys.0, Streams::default_control_topic(request_topic), name::topic),
        bodies_topic: reader.or(keys.1, Streams::default_bodies_topic(request_topic), name::topic),
        ..streams
    }
}

fn with_limits(item: &mut Reader<'_>, [streaming, idle, whole]: [&Key; 3], streams: Streams) -> Streams {
    Streams {
        streaming: item.or(streaming, streams.streaming.as_str(), value::streaming),
        idle_timeout: item.or(idle, seconds(streams.idle_timeout), value::duration),
        max_duration: item.or(whole, seconds(streams.max_duration), value::duration),
        ..streams
    }
}
