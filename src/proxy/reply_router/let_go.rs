//! Topics that only clients name, and that nobody names any more: their state goes when they are known no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::topic_tasks::TopicTasks;
use super::topics::{FAILURE_REMEMBERED, TopicState, TopicStates};
use crate::proxy::routing::topics::{KnownTopic, KnownTopics};

impl TopicStates {
    /// Forgets failures that are old, and lets go the topics that are not known any more, unless a request waits for a reply there.
    pub(super) fn let_go(&mut self, known: &KnownTopics, is_used: impl Fn(&str) -> bool, tasks: &TopicTasks) {
        if self.is_checking {
            // It could open a topic again that is let go meanwhile.
            return;
        }
        let failed = old_failures(&self.requests).chain(old_failures(&self.replies));
        failed.for_each(|name| known.forget(name));
        let is_over = |name: &str| !known.has(name) && !is_used(name);
        // One that was forgotten and named again is another entry, whose queues are its own.
        let is_same = |topic: &Arc<KnownTopic>| {
            known
                .configured(&topic.name)
                .is_some_and(|now| Arc::ptr_eq(&now, topic))
        };
        self.requests.retain(|name, state| match state {
            TopicState::Open(open) => is_same(&open.topic),
            TopicState::Failed(_) => known.has(name),
            TopicState::Opening | TopicState::Closing => true,
        });
        self.replies.retain(|name, state| match state {
            TopicState::Opening | TopicState::Closing => true,
            TopicState::Failed(_) => !is_over(name),
            TopicState::Open(_) => {
                if is_over(name) {
                    tracing::debug!(topic = %name, "reply topic let go");
                    tasks.close_reply(name.clone());
                    *state = TopicState::Closing;
                }
                true
            }
        });
        self.logged_failures.retain(|name, _| known.has(name));
        self.suspects.retain(|name| known.has(name));
        self.denied.retain(|name| known.has(name));
    }
}

fn old_failures<T>(states: &HashMap<Arc<str>, TopicState<T>>) -> impl Iterator<Item = &Arc<str>> {
    let is_old = |since: Instant| since.elapsed() > FAILURE_REMEMBERED;
    states
        .iter()
        .filter_map(move |(name, state)| matches!(state, TopicState::Failed(since) if is_old(*since)).then_some(name))
}
