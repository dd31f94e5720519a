//! The topics requests go to: which names a client may give, and one shared entry for each that is known.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use globset::GlobSet;

use crate::error::RequestError;
use crate::kafka::topic_name::{globs, is_internal, is_legal};
use crate::proxy::in_flight::TopicLoad;
use crate::proxy::metrics::{OTHER_TOPIC, ProxyMetrics, TopicMetrics};
use crate::settings::{CreateTopics, Proxy};

/// A topic that requests go to, or replies come from.
pub struct Topic {
    pub name: Arc<str>,
    pub load: Arc<TopicLoad>,
    pub metrics: TopicMetrics,
    /// May be created when it is missing.
    pub may_create: bool,
}

/// All known topics. Read by every request, written when a client first names one.
pub struct Topics {
    known: ArcSwap<HashMap<Arc<str>, Arc<Topic>>>,
    allowed: Option<GlobSet>,
    may_create: GlobSet,
    /// Known topics at most: the configured ones and `max_client_topics`.
    limit: usize,
    metrics: ProxyMetrics,
}

impl Topics {
    /// Knows the configured topics from the start.
    pub fn new(proxy: &Proxy, create: &CreateTopics, metrics: ProxyMetrics) -> Self {
        let configured = [proxy.request_topic.as_str(), &proxy.response_topic]
            .into_iter()
            .chain(proxy.request_topics())
            .chain(proxy.reply_topics());
        let known: HashMap<Arc<str>, Arc<Topic>> = configured
            .map(|name| {
                let name: Arc<str> = Arc::from(name);
                let topic = Topic {
                    name: name.clone(),
                    load: Arc::default(),
                    metrics: metrics.topic(&name),
                    may_create: true,
                };
                (name, Arc::new(topic))
            })
            .collect();
        Topics {
            limit: known.len() + proxy.max_client_topics,
            known: ArcSwap::from_pointee(known),
            allowed: (!proxy.allowed_topics.is_empty()).then(|| globs(&proxy.allowed_topics)),
            may_create: globs(&create.allow),
            metrics,
        }
    }

    /// A configured topic.
    pub fn configured(&self, name: &str) -> Option<Arc<Topic>> {
        self.known.load().get(name).cloned()
    }

    /// The topic a client names.
    ///
    /// # Errors
    /// `BadTopic`: Kafka would refuse the name. `TopicNotAllowed`: it is internal, not in `allowed_topics`, or one more than
    /// `max_client_topics`. Neither asks Kafka anything.
    pub fn named_by_client(&self, name: &str) -> Result<Arc<Topic>, RequestError> {
        if let Some(topic) = self.known.load().get(name) {
            return Ok(topic.clone());
        }
        if !is_legal(name) {
            return Err(RequestError::BadTopic);
        }
        if is_internal(name) || self.allowed.as_ref().is_some_and(|allowed| !allowed.is_match(name)) {
            return Err(RequestError::TopicNotAllowed);
        }
        let name: Arc<str> = Arc::from(name);
        let topic = Arc::new(Topic {
            name: name.clone(),
            load: Arc::default(),
            // Labels come from bounded sets: what clients make up is `other`.
            metrics: self.metrics.topic(OTHER_TOPIC),
            may_create: self.may_create.is_match(&*name),
        });
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if known.len() < self.limit {
                known.entry(name.clone()).or_insert_with(|| topic.clone());
            }
            known
        });
        self.configured(&name).ok_or(RequestError::TopicNotAllowed)
    }
}
