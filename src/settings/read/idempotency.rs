//! Reads which requests run once: of the proxy, of a route, and of a topic.

use crate::settings::keys::{route, top, topic};
use crate::settings::model::{Idempotency, Memory};
use crate::settings::parse::{name, value};
use crate::settings::read::defaults::inherited;
use crate::settings::read::reader::Reader;

/// Of the proxy, and of routes that say nothing.
pub fn of_proxy(reader: &mut Reader<'_>) -> Idempotency {
    Idempotency {
        mode: reader.required(&top::IDEMPOTENCY, value::idempotency),
        ttl: reader.required(&top::IDEMPOTENCY_TTL, value::positive_duration),
        store: reader.required(&top::IDEMPOTENCY_STORE, value::store),
    }
}

/// Of a route.
pub fn of_route(item: &mut Reader<'_>, own: &Idempotency) -> Idempotency {
    Idempotency {
        mode: item.or(&route::IDEMPOTENCY, own.mode.as_str(), value::idempotency),
        ttl: item.or(&route::IDEMPOTENCY_TTL, inherited(own.ttl), value::positive_duration),
        store: item.or(&route::IDEMPOTENCY_STORE, own.store.as_str(), value::store),
    }
}

/// Of a processor's topic.
pub fn of_topic(item: &mut Reader<'_>, request_topic: &str) -> Memory {
    Memory {
        idempotency: item.or(&topic::IDEMPOTENCY, "false", value::flag),
        deduplicate: item.or(&topic::DEDUPLICATE, "false", value::flag),
        topic: item.or(
            &topic::IDEMPOTENCY_TOPIC,
            Memory::default_topic(request_topic),
            name::topic,
        ),
        answers_topic: item.or(
            &topic::ANSWERS_TOPIC,
            Memory::default_answers_topic(request_topic),
            name::topic,
        ),
        max_answer: item.or(&topic::MAX_REMEMBERED_ANSWER, "64MiB", value::size_or_zero),
        retention: item.or(&topic::IDEMPOTENCY_RETENTION, "24h", value::positive_duration),
        max_keys: item.or(&topic::MAX_IDEMPOTENCY_KEYS, "1000000", value::positive),
    }
}
