//! The topics that the configuration names, as the router is to have them open.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::proxy::routing::topics::KnownTopic;
use crate::settings;

/// What the router is to have open. Read by each router at its start, and from then on once a second; written by a reload.
pub type SharedWanted = Arc<ArcSwap<Wanted>>;

/// The topics of one configuration.
pub struct Wanted {
    /// What they come from.
    pub settings: settings::Proxy,
    /// Opened before requests come.
    pub request_topics: Vec<Arc<KnownTopic>>,
    /// Reply topics that are read before requests come.
    pub warmup: Vec<Arc<KnownTopic>>,
    /// The request topics whose answers may come in pieces.
    pub streamed: Vec<Arc<KnownTopic>>,
    /// The control topics without which the process is not ready.
    pub required_control: BTreeSet<Arc<str>>,
}

impl Wanted {
    /// `None`: `configured` does not know one of them.
    pub fn new(own: &settings::Proxy, configured: impl Fn(&str) -> Option<Arc<KnownTopic>>) -> Option<Self> {
        let streamed = own.streamed_topics();
        let required = streamed.iter().filter(|(_, required)| **required);
        Some(Wanted {
            settings: own.clone(),
            required_control: required.map(|(topic, _)| own.control_topic_of(topic).into()).collect(),
            request_topics: own
                .request_topics()
                .into_iter()
                .map(&configured)
                .collect::<Option<_>>()?,
            warmup: own.reply_topics().into_iter().map(&configured).collect::<Option<_>>()?,
            streamed: streamed.into_keys().map(&configured).collect::<Option<_>>()?,
        })
    }
}
