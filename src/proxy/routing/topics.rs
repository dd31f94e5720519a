//! The topics that requests go to and replies come from: which names a client may give, and one shared entry for each known topic.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use globset::GlobSet;

use crate::error::RequestError;
use crate::kafka::topic_name::{globs, is_internal, is_legal};
use crate::proxy::admission::consumers::Consumers;
use crate::proxy::admission::in_flight::TopicLoad;
use crate::proxy::metrics::{OTHER_TOPIC, ProxyMetrics, TopicMetrics};
use crate::settings::{CreateTopics, Proxy};

/// What a topic is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicUse {
    Requests,
    Replies,
}

/// A topic that requests go to, or replies come from.
pub struct KnownTopic {
    pub name: Arc<str>,
    /// What the configuration uses it for; `None`: only clients name it.
    configured_for: Option<TopicUse>,
    pub load: Arc<TopicLoad>,
    pub metrics: TopicMetrics,
    /// May be created when it is missing.
    pub may_create: bool,
    /// Set for a request topic whose consumer group is watched.
    pub consumers: Option<Arc<Consumers>>,
}

/// All known topics. Read by every request, written when a client first names one.
pub struct KnownTopics {
    known: ArcSwap<HashMap<Arc<str>, Arc<KnownTopic>>>,
    allowed: Option<GlobSet>,
    /// The names that `allowed_topics` gives in full. They have a metrics label of their own.
    labelled: HashSet<String>,
    may_create: GlobSet,
    /// The most known topics: the configured ones and `max_client_topics`.
    limit: usize,
    metrics: ProxyMetrics,
}

impl KnownTopics {
    /// Knows the configured topics from the start.
    pub fn new(proxy: &Proxy, create: &CreateTopics, metrics: ProxyMetrics) -> Self {
        let replies = [proxy.response_topic.as_str()].into_iter().chain(proxy.reply_topics());
        let requests = [proxy.request_topic.as_str()].into_iter().chain(proxy.request_topics());
        let configured = replies
            .map(|name| (name, TopicUse::Replies))
            .chain(requests.map(|name| (name, TopicUse::Requests)));
        let groups = proxy.consumer_groups();
        let known: HashMap<Arc<str>, Arc<KnownTopic>> = configured
            .map(|(name, used_for)| {
                let name: Arc<str> = Arc::from(name);
                let topic = KnownTopic {
                    name: name.clone(),
                    configured_for: Some(used_for),
                    load: Arc::default(),
                    metrics: metrics.topic(&name),
                    may_create: true,
                    consumers: groups.contains_key(&*name).then(Arc::default),
                };
                (name, Arc::new(topic))
            })
            .collect();
        KnownTopics {
            limit: known.len() + proxy.max_client_topics,
            known: ArcSwap::from_pointee(known),
            labelled: proxy.allowed_topics.iter().cloned().collect(),
            allowed: (!proxy.allowed_topics.is_empty()).then(|| globs(&proxy.allowed_topics)),
            may_create: globs(&create.allow),
            metrics,
        }
    }

    /// A configured topic.
    pub fn configured(&self, name: &str) -> Option<Arc<KnownTopic>> {
        self.known.load().get(name).cloned()
    }

    /// The topic a client names for this use.
    ///
    /// # Errors
    /// `BadTopic`: Kafka would refuse the name. `TopicNotAllowed`: it is internal, not in `allowed_topics`, one more than
    /// `max_client_topics`, or configured for the other use: requests would be read as replies. Kafka is not asked.
    pub fn named_by_client(&self, name: &str, wanted: TopicUse) -> Result<Arc<KnownTopic>, RequestError> {
        if let Some(topic) = self.known.load().get(name) {
            let is_for_this = topic.configured_for.is_none_or(|configured| configured == wanted);
            return is_for_this.then(|| topic.clone()).ok_or(RequestError::TopicNotAllowed);
        }
        if !is_legal(name) {
            return Err(RequestError::BadTopic);
        }
        if is_internal(name) || self.allowed.as_ref().is_some_and(|allowed| !allowed.is_match(name)) {
            return Err(RequestError::TopicNotAllowed);
        }
        let name: Arc<str> = Arc::from(name);
        let topic = Arc::new(KnownTopic {
            name: name.clone(),
            configured_for: None,
            load: Arc::default(),
            // Labels come from bounded sets: a name that a client made up is `other`.
            metrics: self.metrics.topic(match self.labelled.contains(&*name) {
                true => &name,
                false => OTHER_TOPIC,
            }),
            may_create: self.may_create.is_match(&*name),
            consumers: None,
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
