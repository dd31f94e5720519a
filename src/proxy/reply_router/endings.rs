//! Requests that end without an answer: Kafka did not take them, their client left, their replies are lost, or the process ends.

use std::time::Instant;

use actix::Handler;

use super::actor::ReplyRouter;
use super::messages::{Drain, Forget, RequestLost, refusal};
use super::pending::Waiting;
use crate::error::RequestError;
use crate::kafka::codes::CodeClass;
use crate::kafka::producer::Undelivered;
use crate::proxy::stream::outcome::Outcome;

impl ReplyRouter {
    /// Kafka did not take a request's record.
    fn not_taken(&mut self, key: u64, why: Undelivered) {
        let Some(waiting) = self.pending.remove(key) else {
            return;
        };
        let topic = &waiting.request_topic.name;
        tracing::warn!(%topic, correlation_id = waiting.id_text(), code = %why.code, not_persisted = why.not_persisted, "Kafka did not take a request");
        let class = CodeClass::from(why.code);
        if class.is_not_found() {
            self.topics.request_topic_is_gone(topic);
        }
        if class == CodeClass::TooLarge {
            self.parts.limits.ask_again();
        }
        waiting.answer(Err(if why.not_persisted {
            refusal(class)
        } else {
            RequestError::ReplyLost
        }));
    }

    /// Nobody waits for a request any more: its deadline passed, or its client left before.
    fn given_up(&mut self, waiting: &Waiting) {
        let now = Instant::now();
        if now >= waiting.deadline {
            waiting.queue.waited_in_vain();
        }
        self.topics.unanswered(waiting, now, &self.tasks);
        self.cancel_request(waiting);
    }

    /// Ends the requests that wait for a reply on a topic that is gone or another one now.
    pub(super) fn lose_replies_of(&mut self, topic: &str) {
        let lost = self.pending.extract(|waiting| &*waiting.reply_topic.name == topic);
        let count = lost.len();
        lost.into_iter()
            .for_each(|waiting| waiting.answer(Err(RequestError::ReplyLost)));
        if count > 0 {
            tracing::warn!(event = "lost", topic, count, "requests in flight lost their replies");
        }
        self.cut_streams(|stream| &*stream.reply_topic.name == topic, Outcome::RepliesLost);
    }
}

impl Handler<Forget> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, Forget(id): Forget, _: &mut Self::Context) {
        match self.pending.remove(id.low64()) {
            Some(waiting) => self.given_up(&waiting),
            None if self.leave_stream(id) => {}
            None => self.parked.retain(|forward| forward.id != id),
        }
        self.show_entries();
    }
}

impl Handler<RequestLost> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, lost: RequestLost, _: &mut Self::Context) {
        self.not_taken(lost.key, lost.why);
        self.show_entries();
    }
}

impl Handler<Drain> for ReplyRouter {
    type Result = usize;
    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> usize {
        let left = self.pending.len() + self.parked.len() + self.streams.0.len();
        for waiting in self.pending.extract(|_| true) {
            self.cancel_request(&waiting);
            waiting.answer(Err(RequestError::ReplyLost));
        }
        self.parked
            .drain(..)
            .for_each(|forward| forward.refuse(RequestError::Draining));
        self.cut_streams(|_| true, Outcome::ProxyDraining);
        self.show_entries();
        left
    }
}
