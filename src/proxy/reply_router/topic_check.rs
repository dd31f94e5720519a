//! The look at all open topics, every two seconds: which are gone, recreated, grown, or not to be read. Part of the router's state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use actix::{AsyncContext, Context, Message};

use super::topics::{Serving, State, TopicStates};
use super::{ReplyRouter, RouterParts};
use crate::kafka::client::context::is_denied;
use crate::kafka::cluster::describe::{self, Found};
use crate::kafka::reply_stream::{OpenTopic, TopicChange};

/// What a look at all open topics found.
#[derive(Message, Default)]
#[rtype(result = "()")]
pub struct TopicChanges {
    replies: Vec<TopicChange>,
    /// Whether Kafka lets us read a reply topic; those of which that is known.
    readable: Vec<(Arc<str>, bool)>,
    /// Those that something is known of; `None`: Kafka does not know them.
    requests: Vec<(Arc<str>, Option<Found>)>,
}

impl TopicStates {
    /// Looks at all open topics, off the Arbiter.
    pub(super) fn look_after(&mut self, parts: &RouterParts, ctx: &mut Context<ReplyRouter>) {
        self.end_searches(parts);
        let open = self.replies.values().filter_map(State::open);
        let replies: Vec<OpenTopic> = open.map(|reading| reading.topic.clone()).collect();
        let requests: Vec<Arc<str>> = self
            .requests
            .iter()
            .filter_map(|(name, state)| state.open().map(|_| name.clone()))
            .collect();
        if self.looking || (replies.is_empty() && requests.is_empty()) {
            return;
        }
        self.looking = true;
        let (stream, suspects, router) = (parts.stream.clone(), self.suspects.clone(), ctx.address());
        actix::spawn(async move {
            let look = move || {
                let names = replies.iter().map(|topic| &topic.name).chain(&requests);
                let found = stream.look(names.map(|name| &**name)).unwrap_or_else(|error| {
                    tracing::debug!(%error, "topics not looked at");
                    HashMap::new()
                });
                let change = |topic: &OpenTopic| {
                    let now = known(found.get(&*topic.name))?;
                    stream
                        .check(topic, now, suspects.contains(&topic.name))
                        .unwrap_or_else(|error| {
                            tracing::debug!(%error, "topic not looked at");
                            None
                        })
                };
                let readable = |topic: &OpenTopic| Some((topic.name.clone(), is_readable(found.get(&*topic.name)?)?));
                TopicChanges {
                    readable: replies.iter().filter_map(readable).collect(),
                    replies: replies.iter().filter_map(change).collect(),
                    requests: requests
                        .iter()
                        .filter_map(|name| Some((name.clone(), known(found.get(&**name))?)))
                        .collect(),
                }
            };
            router.do_send(tokio::task::spawn_blocking(look).await.unwrap_or_default());
        });
    }

    /// Takes in what a look found; returns the reply topics whose replies under way are lost.
    pub(super) fn changed(
        &mut self,
        changes: TopicChanges,
        parts: &RouterParts,
        ctx: &mut Context<ReplyRouter>,
    ) -> Vec<Arc<str>> {
        self.looking = false;
        let before = std::mem::take(&mut self.suspects);
        let mut lost = Vec::new();
        for (name, readable) in changes.readable {
            self.reply_topic_is_readable(name, readable);
        }
        let denied = parts.warmup.iter().any(|warm| self.denied.contains(&warm.name));
        parts.metrics.replies_denied.set(denied.into());
        for change in changes.replies {
            match change {
                TopicChange::Grown(open) => {
                    tracing::info!(topic = %open.name, partitions = open.partitions.len(), "reply topic has more partitions; reading them");
                    self.replies.insert(open.name.clone(), State::Open(open.into()));
                }
                TopicChange::Identified(name, id) => {
                    if let Some(State::Open(reading)) = self.replies.get_mut(&name) {
                        reading.topic.identify(id);
                    }
                }
                TopicChange::Recreated(open) => {
                    tracing::warn!(topic = %open.name, "reply topic was recreated; reading it from its start");
                    lost.push(open.name.clone());
                    self.replies.insert(open.name.clone(), State::Open(open.into()));
                }
                TopicChange::Missing(name) => drop(self.suspects.insert(name)),
                TopicChange::Deleted(name) => {
                    tracing::warn!(topic = %name, "reply topic was deleted; the next request that names it creates it again where that is allowed");
                    self.replies.remove(&name);
                    if let Some(warm) = parts.warmup.iter().find(|warm| warm.name == name) {
                        self.open_reply(warm, parts, ctx);
                    }
                    lost.push(name);
                }
            }
        }
        for (name, now) in changes.requests {
            self.request_topic_is_now(name, now, &before);
        }
        lost
    }

    fn reply_topic_is_readable(&mut self, name: Arc<str>, readable: bool) {
        if readable {
            if self.denied.remove(&name) {
                tracing::info!(topic = %name, "Kafka lets this service read replies again");
            }
        } else if self.denied.insert(name.clone()) {
            tracing::error!(topic = %name, "Kafka refuses to let this service read replies: grant its user READ on this topic");
        }
    }

    /// What is in flight there goes on waiting: a processor may hold it already.
    fn request_topic_is_now(&mut self, name: Arc<str>, now: Option<Found>, missing_before: &HashSet<Arc<str>>) {
        let Some(State::Open(Serving { id, .. })) = self.requests.get_mut(&name) else {
            return;
        };
        match now {
            Some(now) if id.is_none() || now.id.is_none() || *id == now.id => *id = id.or(now.id),
            Some(_) => {
                tracing::warn!(topic = %name, "request topic was recreated; requests that no processor had read are lost and end at their deadline");
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

/// What a look says of one topic, unless that is nothing.
fn known(topic: Option<&describe::Topic>) -> Option<Option<Found>> {
    match topic? {
        Ok(found) => Some(*found),
        Err(error) => {
            tracing::debug!(%error, "topic not looked at");
            None
        }
    }
}

/// Whether Kafka lets us read a topic, where that is known.
fn is_readable(topic: &describe::Topic) -> Option<bool> {
    match topic {
        Ok(found) => Some(found.is_none_or(|found| found.readable)),
        Err(error) => is_denied(error).then_some(false),
    }
}
