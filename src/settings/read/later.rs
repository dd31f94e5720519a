//! Reads whether and how answers are fetched later: of the proxy, and of a route.

use crate::settings::keys::{route, top};
use crate::settings::model::{Later, Results, Secret};
use crate::settings::parse::{name, routing, value};
use crate::settings::read::defaults::inherited;
use crate::settings::read::reader::Reader;

/// Of the proxy, and of routes that say nothing.
pub fn of_proxy(reader: &mut Reader<'_>, response_topic: &str) -> Later {
    Later {
        mode: reader.required(&top::ASYNC, value::asynchronous),
        timeout: reader.required(&top::ASYNC_TIMEOUT, value::positive_duration),
        results_topic: reader.or(
            &top::RESULTS_TOPIC,
            Later::default_results_topic(response_topic),
            name::topic,
        ),
        retention: reader.required(&top::RESULTS_RETENTION, value::positive_duration),
    }
}

/// Of a route. The results topic of `own` is that of the response topic it belongs to.
pub fn of_route(item: &mut Reader<'_>, response_topic: &str, own_response_topic: &str, own: &Later) -> Later {
    let results_topic = match response_topic == own_response_topic {
        true => own.results_topic.clone(),
        false => Later::default_results_topic(response_topic),
    };
    Later {
        mode: item.or(&route::ASYNC, own.mode.as_str(), value::asynchronous),
        timeout: item.or(&route::ASYNC_TIMEOUT, inherited(own.timeout), value::positive_duration),
        results_topic: item.or(&route::RESULTS_TOPIC, results_topic, name::topic),
        retention: item.or(
            &route::RESULTS_RETENTION,
            inherited(own.retention),
            value::positive_duration,
        ),
    }
}

/// Of all routes together.
pub fn results(reader: &mut Reader<'_>) -> Results {
    Results {
        path: reader.required(&top::RESULTS_PATH, routing::folder),
        max: reader.required(&top::MAX_RESULTS, value::positive),
        key: reader
            .optional(&top::RESULTS_KEY, name::sealing_secret)
            .map(Secret::new),
    }
}
