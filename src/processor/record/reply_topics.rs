//! Which topics replies may go to.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use globset::GlobSet;

use crate::kafka::topic_name::{globs, is_internal, is_legal};
use crate::processor::metrics::TopicMetrics;
use crate::processor::record::logged_once::LoggedOnce;
use crate::settings::{Later, Topic};
use crate::wire::Record;
use crate::wire::trace_parent::{self, TraceParent};

/// Topics that no reply may go to. Written by a reload.
pub type Forbidden = Arc<ArcSwap<HashSet<String>>>;

/// Where a record is produced to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub topic: Arc<str>,
    /// `None`: any.
    pub partition: Option<i32>,
    /// The span that writes there, of which whoever reads is told. `None`: traces are off. Boxed, since every record in the producer has room
    /// for it.
    pub writer: Option<Box<TraceParent>>,
}

impl Destination {
    pub fn any_partition(topic: &Arc<str>) -> Self {
        Destination {
            topic: topic.clone(),
            partition: None,
            writer: None,
        }
    }

    /// The same, written to by this span.
    pub fn written_by(self, writer: Option<TraceParent>) -> Self {
        let writer = writer.map(Box::new);
        Destination { writer, ..self }
    }

    /// Tells in an encoded reply which span writes it.
    pub fn mark(&self, reply: &mut Record) {
        if let Some(writer) = &self.writer {
            trace_parent::mark_reply(reply, **writer);
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
                partition,
                ..Destination::any_partition(ours)
            },
            Some(named) if self.may_be(named) => Destination {
                partition,
                ..Destination::any_partition(&Arc::from(named))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::metrics::ProcessorMetrics;
    use crate::settings::plain_topic;

    #[test]
    fn a_request_may_name_the_results_topic_and_others_that_are_allowed() {
        let metrics = ProcessorMetrics::register(&prometheus::Registry::new()).unwrap();
        let topic = plain_topic("orders", "orders-replies", "http://a", 1);
        let forbidden = Arc::new(ArcSwap::from_pointee(HashSet::from(["x-responses".to_owned()])));
        let topics = ReplyTopics::new(&topic, "orders-replies".into(), forbidden, metrics.topic("orders", "a"));
        for (named, to) in [
            ("orders-replies-results", "orders-replies-results"),
            ("other-responses", "other-responses"),
            ("x-responses", "orders-replies"),
            ("other-results", "orders-replies"),
            ("__consumer_offsets", "orders-replies"),
        ] {
            assert_eq!(&*topics.destination(Some(named), None).topic, to, "{named}");
        }
    }
}
