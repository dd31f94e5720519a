//! Which topics replies may go to.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use globset::GlobSet;

use crate::kafka::topic_name::{globs, is_internal, is_legal};
use crate::processor::metrics::TopicMetrics;
use crate::processor::record::logged_once::LoggedOnce;
use crate::settings::{Later, Topic};

/// Topics that no reply may go to. Written by a reload.
pub type Forbidden = Arc<ArcSwap<HashSet<String>>>;

/// Where a record is produced to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub topic: Arc<str>,
    /// `None`: any.
    pub partition: Option<i32>,
}

impl Destination {
    pub fn any_partition(topic: &Arc<str>) -> Self {
        Destination {
            topic: topic.clone(),
            partition: None,
        }
    }
}

/// The reply topics of one request topic.
pub struct ReplyTopics {
    /// Where a reply goes unless its request names a topic that is allowed.
    response_topic: Arc<str>,
    /// Where results go that are fetched later, unless a route says otherwise.
    results_topic: String,
    /// Topics that a request may name besides.
    allowed: GlobSet,
    /// Request and dead letter topics of the process: a reply there would be consumed as a request, or taken for a dead letter.
    forbidden: Forbidden,
    metrics: TopicMetrics,
    refusal_logged: LoggedOnce,
}

impl ReplyTopics {
    pub fn new(topic: &Topic, response_topic: Arc<str>, forbidden: Forbidden, metrics: TopicMetrics) -> Self {
        ReplyTopics {
            results_topic: Later::default_results_topic(&response_topic),
            response_topic,
            allowed: globs(&topic.allowed_reply_topics),
            forbidden,
            metrics,
            refusal_logged: LoggedOnce::default(),
        }
    }

    /// Where a request's reply goes: to the topic it names where that is allowed, else to the configured one.
    pub fn destination(&self, named: Option<&str>, partition: Option<i32>) -> Destination {
        let ours = &self.response_topic;
        match named {
            None => Destination::any_partition(ours),
            Some(named) if named == &**ours => Destination {
                topic: ours.clone(),
                partition,
            },
            Some(named) if self.may_be(named) => Destination {
                topic: Arc::from(named),
                partition,
            },
            Some(named) => {
                self.metrics.refused_reply_topics.inc();
                if self.refusal_logged.is_first() {
                    tracing::warn!(
                        named,
                        instead = &**ours,
                        "a request names a reply topic that is not allowed; see allowed_reply_topics (said once)"
                    );
                }
                Destination::any_partition(ours)
            }
        }
    }

    fn may_be(&self, topic: &str) -> bool {
        let is_allowed = || topic == self.results_topic || self.allowed.is_match(topic);
        is_legal(topic) && !is_internal(topic) && !self.forbidden.load().contains(topic) && is_allowed()
    }
}
