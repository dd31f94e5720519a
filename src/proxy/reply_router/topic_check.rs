//! The check of all open topics, every two seconds: which are gone, recreated, grown, or not to be read.

use std::collections::HashSet;
use std::sync::Arc;

use super::messages::TopicChanges;
use super::topic_tasks::TopicTasks;
use super::topics::{OpenRequestTopic, TopicState, TopicStates};
use crate::kafka::cluster::describe::Found;
use crate::kafka::reply_stream::{OpenTopic, TopicChange};
use crate::proxy::routing::topics::KnownTopic;

impl TopicStates {
    /// Begins a check of all open topics, and of `controls`, unless one is under way.
    pub(super) fn check(&mut self, controls: Vec<Arc<str>>, tasks: &TopicTasks) {
        let open = self.replies.values().filter_map(TopicState::open);
        let replies: Vec<OpenTopic> = open.map(|open| open.topic.clone()).collect();
        let requests: Vec<Arc<str>> = self
            .requests
            .iter()
            .filter_map(|(name, state)| state.open().map(|_| name.clone()))
            .collect();
        if self.is_checking || (replies.is_empty() && requests.is_empty() && controls.is_empty()) {
            return;
        }
        self.is_checking = true;
        tasks.check((requests, controls), replies, self.suspects.clone());
    }

    /// Takes in what a check found; returns the reply topics whose replies under way are lost. Those of `warmup` are opened again.
    pub(super) fn checked(
        &mut self,
        changes: TopicChanges,
        warmup: &[Arc<KnownTopic>],
        tasks: &TopicTasks,
    ) -> Vec<Arc<str>> {
        self.is_checking = false;
        let missing_before = std::mem::take(&mut self.suspects);
        for (name, readable) in changes.readable {
            self.reply_topic_is_readable(name, readable);
        }
        let mut lost = Vec::new();
        for change in changes.replies {
            lost.extend(self.reply_topic_changed(change, warmup, tasks));
        }
        for (name, now) in changes.requests {
            self.request_topic_is_now(name, now, &missing_before);
        }
        lost
    }

    /// Returns the topic's name if its replies under way are lost.
    fn reply_topic_changed(
        &mut self,
        change: TopicChange,
        warmup: &[Arc<KnownTopic>],
        tasks: &TopicTasks,
    ) -> Option<Arc<str>> {
        match change {
            TopicChange::Grown(open) => {
                tracing::info!(topic = %open.name, partitions = open.partitions.len(), "reply topic has more partitions; reading them");
                self.replies.insert(open.name.clone(), TopicState::Open(open.into()));
                None
            }
            TopicChange::Identified(name, id) => {
                if let Some(TopicState::Open(open)) = self.replies.get_mut(&name) {
                    open.topic.identify(id);
                }
                None
            }
            TopicChange::Recreated(open) => {
                tracing::warn!(event = "topic", topic = %open.name, "reply topic was recreated; reading it from its start");
                let name = open.name.clone();
                self.replies.insert(name.clone(), TopicState::Open(open.into()));
                Some(name)
            }
            TopicChange::Missing(name) => {
                self.suspects.insert(name);
                None
            }
            TopicChange::Deleted(name) => {
                tracing::warn!(topic = %name, "reply topic was deleted; the next request that names it creates it again where that is allowed");
                self.replies.remove(&name);
                if let Some(warm) = warmup.iter().find(|warm| warm.name == name) {
                    self.open_reply(warm, tasks);
                }
                Some(name)
            }
        }
    }

    fn reply_topic_is_readable(&mut self, name: Arc<str>, readable: bool) {
        if readable {
            if self.denied.remove(&name) {
                tracing::info!(event = "rights", topic = %name, "Kafka lets this service read replies again");
            }
        } else if self.denied.insert(name.clone()) {
            tracing::error!(event = "rights", topic = %name, "Kafka refuses to let this service read replies: grant its user READ on this topic");
        }
    }

    /// Requests in flight on a topic that is gone go on waiting: a processor may have read them already.
    fn request_topic_is_now(&mut self, name: Arc<str>, now: Option<Found>, missing_before: &HashSet<Arc<str>>) {
        let Some(TopicState::Open(OpenRequestTopic { id, partitions, .. })) = self.requests.get_mut(&name) else {
            return;
        };
        match now {
            Some(now) if id.is_none() || now.id.is_none() || *id == now.id => {
                *id = id.or(now.id);
                *partitions = Some(now.partitions);
            }
            Some(_) => {
                tracing::warn!(event = "topic", topic = %name, "request topic was recreated; requests that no processor had read are lost and end at their deadline");
                self.request_topic_is_gone(&name);
            }
            None if missing_before.contains(&name) => {
                tracing::warn!(topic = %name, "request topic was deleted; the next request to it creates it again where that is allowed");
                self.request_topic_is_gone(&name);
            }
            None => drop(self.suspects.insert(name)),
        }
    }
}
