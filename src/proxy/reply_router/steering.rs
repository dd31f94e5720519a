//! What is written to the control topics, and when: credit, cancels, and that this process lives. And which streams end by themselves.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use actix::Handler;
use bytes::Bytes;

use super::actor::ReplyRouter;
use super::messages::Progress;
use super::pending::Waiting;
use super::streams::OpenStream;
use crate::proxy::stream::outcome::Outcome;
use crate::wire::CorrelationId;
use crate::wire::control::Control;
use crate::wire::stream::StreamId;

impl ReplyRouter {
    /// Nobody waits for the answer to this request.
    pub(super) fn cancel_request(&self, waiting: &Waiting) {
        let cancel = Control::Cancel {
            correlation_id: waiting.id_on_wire(),
            stream: None,
        };
        self.controls.send(&waiting.request_topic.control, cancel, &self.tasks);
    }

    /// Nobody reads the answer to this request any more.
    pub(super) fn cancel_stream(&mut self, id: CorrelationId) {
        let Some(stream) = self.streams.of(id) else {
            return;
        };
        let (call, topic) = (stream.stream, stream.request_topic.control.clone());
        if stream.is_out_of_credit() {
            self.strays.say_again(topic, id, call, Instant::now());
        }
        self.cancel_call(id, call);
    }

    /// Nobody reads what this call answers; the request has an answer under way. One that was cancelled a moment ago is not cancelled again.
    fn cancel_call(&mut self, id: CorrelationId, call: StreamId) {
        if let Some(stream) = self.streams.of(id)
            && self.strays.is_due(id, call, Instant::now())
        {
            let cancel = cancel_of(id, call);
            self.controls.send(&stream.request_topic.control, cancel, &self.tasks);
        }
    }

    fn give_credit(&mut self, id: CorrelationId, total: u64) {
        if let Some(stream) = self.streams.of(id) {
            let credit = Control::Credit {
                correlation_id: Bytes::copy_from_slice(&id.to_bytes()),
                stream: stream.stream,
                total,
            };
            self.controls.send(&stream.request_topic.control, credit, &self.tasks);
        }
    }

    /// A piece of a second answer came. `call`: it goes on.
    pub(super) fn drop_piece(&mut self, id: CorrelationId, call: Option<StreamId>) {
        self.parts.metrics.streams.dropped_pieces.inc();
        if let Some(call) = call {
            self.cancel_call(id, call);
        }
    }

    /// A piece came that nobody reads: its client had another router, or another answer. Its call is cancelled as long as it goes on. Which
    /// control topic it listens to is not known.
    pub(super) fn stray_piece(&mut self, id: CorrelationId, call: Option<StreamId>) {
        let now = Instant::now();
        let Some(call) = call.filter(|call| !self.pending.has(id) && self.strays.is_due(id, *call, now)) else {
            return;
        };
        for topic in self.controls.usable() {
            self.controls.send(&topic, cancel_of(id, call), &self.tasks);
        }
    }

    /// A stream is over, or its client left.
    pub(super) fn remove_stream(&mut self, id: CorrelationId) -> Option<OpenStream> {
        let stream = self.streams.remove(id)?;
        self.let_go_of(&stream);
        Some(stream)
    }

    fn let_go_of(&mut self, stream: &OpenStream) {
        // What of it is still under way is no reason to cancel it.
        self.strays.is_due(stream.id, stream.stream, Instant::now());
        if let Some(instance) = stream.instance {
            self.processors.end(instance);
        }
    }

    /// The client of a stream left. False: there is no such stream.
    pub(super) fn leave_stream(&mut self, id: CorrelationId) -> bool {
        let Some(stream) = self.streams.of(id) else {
            return false;
        };
        if stream.is_open() {
            self.cancel_stream(id);
        }
        self.remove_stream(id);
        true
    }

    /// Cuts off the clients of these streams, and cancels the calls.
    pub(super) fn cut_streams(&mut self, ends: impl Fn(&OpenStream) -> bool, outcome: Outcome) {
        let ended = |stream: &&OpenStream| stream.is_open() && ends(stream);
        let ended: Vec<CorrelationId> = self.streams.0.values().filter(ended).map(|stream| stream.id).collect();
        for id in ended {
            self.cut_stream(id, outcome);
        }
    }

    fn cut_stream(&mut self, id: CorrelationId, outcome: Outcome) {
        self.cancel_stream(id);
        let is_over = self.streams.of(id).is_some_and(|stream| {
            stream.end(outcome);
            stream.is_over()
        });
        if is_over {
            self.remove_stream(id);
        }
    }

    /// Kafka or this process was not well until now: silence is nobody's fault.
    pub(super) fn excuse_silence(&mut self, now: Instant) {
        self.well_since = now;
        self.processors.excuse(now);
    }

    /// Gives again the credit and says again the cancels that may have been lost, and ends the streams that took too long and those of processors that are gone. Called
    /// each `span::TICK`.
    pub(super) fn watch_streams(&mut self, now: Instant) {
        if self.parts.kafka.is_down() || self.parts.producer.is_stuck() {
            self.excuse_silence(now);
        }
        for (topic, id, call) in self.strays.said_again(now) {
            self.controls.send(&topic, cancel_of(id, call), &self.tasks);
        }
        if self.streams.0.is_empty() {
            return;
        }
        for stream in self.streams.remove_over() {
            self.let_go_of(&stream);
        }
        let lost = |stream: &mut OpenStream| Some((stream.id, stream.lost_credit(now)?));
        let lost: Vec<_> = self.streams.0.values_mut().filter_map(lost).collect();
        for (id, total) in lost {
            self.give_credit(id, total);
        }
        let well_since = self.well_since;
        let overdue = |stream: &mut OpenStream| Some((stream.id, stream.overdue(now, well_since)?));
        let overdue: Vec<_> = self.streams.0.values_mut().filter_map(overdue).collect();
        for (id, outcome) in overdue {
            self.cut_stream(id, outcome);
        }
        for suspect in self.processors.suspects(now) {
            self.tasks.was_read(suspect);
        }
        for dead in self.processors.dead(now) {
            let of_dead = |stream: &OpenStream| stream.is_open() && stream.instance == Some(dead);
            let streams = self.streams.0.values().filter(|stream| of_dead(stream)).count();
            tracing::warn!(
                streams,
                "a processor that streams was not heard for 20 s; its answers are cut off"
            );
            self.cut_streams(of_dead, Outcome::ProcessorDead);
        }
    }

    /// Shows on each control topic in use that this process lives.
    pub(super) fn show_life(&self) {
        let accepting = self.pending.iter().filter(|waiting| waiting.offer.is_some());
        let accepting = accepting.map(|waiting| &waiting.request_topic.control);
        let streaming = self.streams.0.values().map(|stream| &stream.request_topic.control);
        let mut topics: HashSet<&Arc<str>> = HashSet::new();
        topics.extend(accepting.chain(streaming));
        let instance = self.parts.streams.instance;
        for topic in topics {
            self.controls.send(topic, Control::Alive { instance }, &self.tasks);
        }
    }
}

/// Nobody reads what this call of a request answers.
fn cancel_of(id: CorrelationId, call: StreamId) -> Control {
    Control::Cancel {
        correlation_id: Bytes::copy_from_slice(&id.to_bytes()),
        stream: Some(call),
    }
}

impl Handler<Progress> for ReplyRouter {
    type Result = ();
    fn handle(&mut self, Progress(id): Progress, _: &mut Self::Context) {
        let Some(stream) = self.streams.of(id) else {
            return;
        };
        let (credit, is_over) = (stream.progress(Instant::now()), stream.is_over());
        if let Some(total) = credit {
            self.give_credit(id, total);
        }
        if is_over {
            self.remove_stream(id);
        }
    }
}
