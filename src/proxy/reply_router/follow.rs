//! Follows the configuration: what it names is opened, at the start and when a reload changes it.

use std::sync::Arc;

use actix::Context;

use super::actor::ReplyRouter;
use crate::proxy::routing::topics::KnownTopic;

impl ReplyRouter {
    /// Opens what the configuration names, as far as it is not open, or being opened.
    pub(super) fn open_wanted(&mut self) {
        let wanted = self.wanted.clone();
        self.controls.require(&wanted.required_control);
        for topic in &wanted.streamed {
            if !self.controls.has(&topic.control) {
                self.controls.open(topic, &self.tasks);
            }
        }
        for topic in &wanted.request_topics {
            self.topics.retry_request(topic, &self.tasks);
        }
        for topic in &wanted.warmup {
            self.topics.retry_reply(topic, &self.tasks);
        }
    }

    /// Takes over what a reload has changed.
    pub(super) fn take_wanted(&mut self, ctx: &mut Context<Self>) {
        let now = self.parts.wanted.load_full();
        if Arc::ptr_eq(&now, &self.wanted) {
            return;
        }
        self.wanted = now;
        let named = |topic: &Arc<KnownTopic>| self.wanted.warmup.iter().any(|wanted| wanted.name == topic.name);
        self.warmup.retain(named);
        self.open_wanted();
        self.publish_once_positioned(ctx);
    }
}
