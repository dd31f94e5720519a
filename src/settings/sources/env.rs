//! The environment as a source of settings: the plain names of kafka-http-proxy, and `KHP__SECTION__KEY` for every setting.

use std::collections::BTreeMap;

use config::{Environment, Value, ValueKind};

use crate::settings::fault::Report;
use crate::settings::keys::{self, Key, Kind, top, topic};
use crate::settings::sources::layer::{Layer, Table, Underscore, one_line};

/// The variables of a process. A parameter everywhere, so that tests need not change the process's own environment.
pub type Env = BTreeMap<String, String>;

/// `CONSUMER_GROUP_ORDERS` sets the group of the topic named `orders`.
const CONSUMER_GROUP_PREFIX: &str = "CONSUMER_GROUP_";

/// The fields of an entry of `KAFKA_TOPICS`, after its name; the first three are written by everyone.
const TOPIC_FIELDS: [Key; 6] = [
    topic::REQUEST_TOPIC,
    topic::RESPONSE_TOPIC,
    topic::BACKEND_URL,
    topic::TIMEOUT,
    topic::MAX_RETRIES,
    topic::RATE_LIMIT,
];

/// A variable's value. An empty one counts as absent: compose files write `NAME: ${NAME:-}`.
pub fn var<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    env.get(name)
        .map(String::as_str)
        .filter(|value| !value.trim().is_empty())
}

/// The plain names, as a layer.
pub fn plain(env: &Env, report: &mut Report) -> Layer {
    let mut found = Table::new();
    for key in keys::top::ALL {
        let Some((name, text)) = key.env.and_then(|name| Some((name, var(env, name)?))) else {
            continue;
        };
        if is_service_link(name, text) {
            report.warnings.push(format!(
                "{name}={text} is ignored: a Kubernetes service link, not a port"
            ));
            continue;
        }
        let kind = match key.kind {
            Kind::Topics => ValueKind::Array(topics(name, text, report)),
            _ => ValueKind::String(text.to_owned()),
        };
        found.insert(key.name.to_owned(), Value::new(Some(&name.to_owned()), kind));
    }
    Layer::new(found)
}

/// The `KHP__…` names, as a layer.
pub fn prefixed(env: &Env, report: &mut Report) -> Layer {
    let own = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    // Without `try_parsing`: it would turn the instance id 007 into 7.
    let source = Environment::with_prefix("KHP")
        .separator("__")
        .ignore_empty(true)
        .source(Some(own));
    Layer::read(&source, Some("environment"), Underscore::Dot).unwrap_or_else(|error| {
        report.fault("environment", one_line(error), None);
        Layer::new(Table::new())
    })
}

/// The names of the variables that set something.
pub fn used(env: &Env) -> Vec<String> {
    let sets = |name: &str| {
        let plain = top::ALL.iter().any(|key| key.env == Some(name));
        plain || name.starts_with("KHP__") || name.starts_with(CONSUMER_GROUP_PREFIX)
    };
    let given = env.keys().filter(|name| var(env, name).is_some() && sets(name));
    given.cloned().collect()
}

/// `name:request_topic,response_topic,backend_url[,timeout[,max_retries[,rate_limit]]]`, `;` between topics.
fn topics(variable: &str, text: &str, report: &mut Report) -> Vec<Value> {
    let origin = variable.to_owned();
    let mut topics = Vec::new();
    for (index, entry) in text
        .split(';')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .enumerate()
    {
        // The first colon ends the name; those of the URL come later.
        let (name, fields) = match entry.split_once(':') {
            Some((name, fields)) if !name.contains(',') => (name, fields.split(',').collect::<Vec<_>>()),
            _ => ("", Vec::new()),
        };
        if name.is_empty() || !(3..=TOPIC_FIELDS.len()).contains(&fields.len()) {
            const ALLOWED: &str = "name:request_topic,response_topic,backend_url[,timeout[,max_retries[,rate_limit]]]";
            // The entry is not printed: it may hold a URL with a password.
            report.fault(
                keys::item(keys::top::TOPICS.name, index),
                format!("is not {ALLOWED}"),
                Some(variable),
            );
            topics.push(Value::new(Some(&origin), ValueKind::Nil));
            continue;
        }
        let named = TOPIC_FIELDS.iter().zip(fields).chain([(&topic::NAME, name)]);
        let given = named
            .map(|(key, text)| (key, text.trim()))
            .filter(|(_, text)| !text.is_empty());
        let table: Table = given
            .map(|(key, text)| (key.name.to_owned(), Value::new(Some(&origin), text.to_owned())))
            .collect();
        topics.push(Value::new(Some(&origin), table));
    }
    topics
}

/// Sets the group of each topic that a `CONSUMER_GROUP_{NAME}` names; a file's group is replaced. Returns the variables that match no
/// topic.
pub fn set_consumer_groups(tree: &mut Table, env: &Env) -> Vec<String> {
    let links: Vec<&str> = env
        .iter()
        .filter(|(name, text)| is_service_link(name, text))
        .filter_map(|(name, _)| name.strip_suffix("_PORT"))
        .collect();
    let is_of_link = |name: &str| {
        let suffixes = links.iter().filter_map(|service| name.strip_prefix(service));
        suffixes.into_iter().any(is_link_suffix)
    };
    let mut groups: BTreeMap<&str, &str> = env
        .keys()
        .filter(|name| name.starts_with(CONSUMER_GROUP_PREFIX) && !is_of_link(name))
        .filter_map(|name| Some((name.as_str(), var(env, name)?)))
        .collect();
    let mut unused: Vec<String> = groups.keys().map(|name| (*name).to_owned()).collect();
    let Some(ValueKind::Array(topics)) = tree.get_mut(keys::top::TOPICS.name).map(|topics| &mut topics.kind) else {
        return unused;
    };
    for item in topics {
        let ValueKind::Table(table) = &mut item.kind else {
            continue;
        };
        let name = [topic::NAME, topic::REQUEST_TOPIC]
            .iter()
            .find_map(|key| table.get(key.name))
            .map(Value::to_string);
        let variable = name.map(|name| consumer_group_variable(&name)).unwrap_or_default();
        if let Some(group) = groups.get_mut(variable.as_str()) {
            let group = Value::new(Some(&variable), (*group).to_owned());
            table.insert(topic::CONSUMER_GROUP.name.to_owned(), group);
            unused.retain(|name| *name != variable);
        }
    }
    unused
}

/// Kubernetes sets `PROXY_PORT=tcp://10.0.0.1:80` in every pod beside a service named `proxy`.
fn is_service_link(name: &str, text: &str) -> bool {
    let protocols = ["tcp://", "udp://", "sctp://"];
    name.ends_with("_PORT") && protocols.iter().any(|protocol| text.starts_with(protocol))
}

/// What Kubernetes puts behind a service's name: `_PORT`, `_PORT_80_TCP…`, `_SERVICE_HOST` and `_SERVICE_PORT…`.
fn is_link_suffix(suffix: &str) -> bool {
    suffix == "_PORT"
        || suffix.starts_with("_PORT_")
        || suffix == "_SERVICE_HOST"
        || suffix == "_SERVICE_PORT"
        || suffix.starts_with("_SERVICE_PORT_")
}

fn consumer_group_variable(topic_name: &str) -> String {
    let upper = topic_name.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    });
    CONSUMER_GROUP_PREFIX.chars().chain(upper).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<Value>, Report) {
        let mut report = Report::default();
        (topics("KAFKA_TOPICS", text, &mut report), report)
    }

    #[test]
    fn an_entry_is_split_at_its_first_colon() {
        let (topics, report) = parsed("orders:o-req,o-res,http://orders:8080/a,30,3,100; users:u-req,,http://users ;");
        assert!(report.faults.is_empty());
        let texts = |index: usize| {
            let ValueKind::Table(table) = &topics[index].kind else {
                panic!("a table")
            };
            table
                .iter()
                .map(|(key, value)| (key.clone(), value.to_string()))
                .collect::<BTreeMap<_, _>>()
        };
        let expected = [
            ("backend_url", "http://orders:8080/a"),
            ("max_retries", "3"),
            ("name", "orders"),
            ("rate_limit", "100"),
            ("request_topic", "o-req"),
            ("response_topic", "o-res"),
            ("timeout", "30"),
        ];
        assert_eq!(
            texts(0),
            expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        );
        // An empty field leaves the default.
        assert_eq!(
            texts(1).keys().collect::<Vec<_>>(),
            ["backend_url", "name", "request_topic"]
        );
        assert_eq!(topics.len(), 2);
    }

    #[test]
    fn an_entry_of_another_shape_is_a_fault() {
        for text in [
            "orders",
            "orders:a,b",
            "a,b,http://c",
            ":a,b,http://c",
            "o:a,b,http://c,1,2,3,4",
        ] {
            let (_, report) = parsed(&format!("ok:a,b,http://c;{text}"));
            assert_eq!(report.faults.len(), 1, "{text}");
            assert!(
                report.faults[0]
                    .to_string()
                    .starts_with("topics[1]: is not name:request_topic,"),
                "{text}"
            );
            assert_eq!(report.faults[0].origin.as_deref(), Some("KAFKA_TOPICS"));
        }
    }

    #[test]
    fn a_variable_is_named_after_its_topic() {
        assert_eq!(consumer_group_variable("orders-v2.eu"), "CONSUMER_GROUP_ORDERS_V2_EU");
    }
}
