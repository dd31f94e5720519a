//! What becomes of a record that was read: a reply that is whole, a piece of one, or neither.

use std::time::Instant;

use actix::StreamHandler;

use super::actor::ReplyRouter;
use super::messages::{Answer, Reply};
use super::pending::{NotGiven, Waiting};
use super::seal::open;
use super::streams::{OpenStream, Taken, report_every};
use crate::error::RequestError;
use crate::exchange::RecordPosition;
use crate::kafka::reply_stream::ReplyRecord;
use crate::proxy::stream::Streamed;
use crate::proxy::stream::outcome::Outcome;
use crate::proxy::stream::pipe::pipe;
use crate::wire::beside::InstanceId;
use crate::wire::stream::{self, Then};
use crate::wire::{CorrelationId, RawRecord, trace_parent};

impl ReplyRouter {
    fn read(&mut self, ReplyRecord { id, record }: ReplyRecord) {
        let place = stream::place_in_stream(&record);
        // The last piece ends the call by itself.
        let call = place.and_then(|_| stream::goes_on(&record));
        let given = match place {
            None => self.claim(id, record).map(|(waiting, record)| waiting.reply(record)),
            Some(_) if self.streams.of(id).is_some() => self.next_piece(id, record),
            // Its first piece was not read, or nobody waits for it any more.
            Some(stream::Place::Later) => Err(NotGiven::Late),
            Some(stream::Place::First) => self
                .claim(id, record)
                .map(|(waiting, record)| self.first_piece(waiting, record)),
        };
        match given {
            Ok(()) => {}
            Err(NotGiven::Late) => {
                self.parts.metrics.late_replies.inc();
                self.stray_piece(id, call);
            }
            Err(NotGiven::NotBelieved) => self.parts.metrics.unbelieved_replies.inc(),
            Err(NotGiven::Misplaced) => self.parts.metrics.misplaced_replies.inc(),
        }
    }

    /// Takes out the request that a reply is for.
    fn claim(&mut self, id: CorrelationId, record: RawRecord) -> Result<(Waiting, RawRecord), NotGiven> {
        let (sealing, logged) = (&self.parts.sealing.load(), &mut self.unbelieved_logged);
        self.pending.claim(id, record, |waiting, reply| {
            let topics = (&*waiting.request_topic.name, &*waiting.reply_topic.name);
            open(sealing, logged, topics, reply)
        })
    }

    /// The answer begins: its client gets the head, and the rest as it comes.
    fn first_piece(&mut self, mut waiting: Waiting, record: RawRecord) {
        let piece = match stream::decode_piece(&record) {
            Ok(piece) => piece,
            Err(reason) => return self.not_a_piece(waiting, &record, &reason),
        };
        if piece.then == Then::End {
            return waiting.reply(record);
        }
        let (Some(offer), Some(head)) = (waiting.offer.take(), piece.head.clone()) else {
            return self.not_a_piece(waiting, &record, "its request takes no answer in pieces");
        };
        let (now, window) = (Instant::now(), self.parts.streams.window);
        let (inlet, outlet) = pipe(&self.parts.metrics.streams.buffered, &self.parts.streams.budget);
        let mut stream = OpenStream::begin(&waiting, offer.terms.clone(), &piece, window, inlet, now);
        let fault = stream.take(piece, now);
        waiting.queue.answered(waiting.sent.elapsed());
        let streamed = Streamed {
            head,
            first: RecordPosition::of_record(&record),
            writer: trace_parent::of_reply(&record),
            outlet,
            offer,
            report_every: report_every(window),
            request_topic: waiting.request_topic.clone(),
        };
        let (sent, answer) = (waiting.sent, Answer::Stream(Box::new(streamed)));
        let is_gone = waiting.reply_tx.send(Ok(Reply { sent, answer })).is_err();
        let is_over = stream.is_over();
        if let Some(instance) = stream.instance {
            self.processors.begin(instance, (&record.topic, record.partition), now);
        }
        let id = stream.id;
        self.streams.0.insert(id.low64(), stream);
        if is_gone || matches!(fault, Taken::Fault(_)) {
            self.cancel_stream(id);
        }
        if is_gone || is_over {
            // Its client hears the rest from the pipe, or nobody does.
            self.remove_stream(id);
        }
    }

    /// The client hears that there is no answer, rather than take a part of one for whole.
    fn not_a_piece(&self, waiting: Waiting, record: &RawRecord, reason: &str) {
        self.parts.metrics.malformed_replies.inc();
        tracing::warn!(topic = %record.topic, partition = record.partition, offset = record.offset, correlation_id = waiting.id_text(), reason,
            "a streamed answer cannot be begun; its client gets 502");
        self.cancel_request(&waiting);
        waiting.answer(Err(RequestError::ReplyLost));
    }

    fn next_piece(&mut self, id: CorrelationId, record: RawRecord) -> Result<(), NotGiven> {
        let now = Instant::now();
        let Some(stream) = self.streams.of(id) else {
            return Err(NotGiven::Late);
        };
        if stream.request_topic.name == record.topic {
            return Err(NotGiven::Late);
        }
        if !stream.awaits(&record) {
            return Err(NotGiven::Misplaced);
        }
        let topics = (&*stream.request_topic.name, &*stream.reply_topic.name);
        let (sealing, logged) = (&self.parts.sealing.load(), &mut self.unbelieved_logged);
        let record = open(sealing, logged, topics, record).ok_or(NotGiven::NotBelieved)?;
        let (taken, goes_on) = match stream::decode_piece(&record) {
            Ok(piece) => {
                let (call, goes_on) = (piece.stream, piece.then == Then::More);
                let taken = stream.take(piece, now);
                if taken == Taken::Other {
                    self.drop_piece(id, goes_on.then_some(call));
                    return Ok(());
                }
                (taken, goes_on)
            }
            Err(_) => {
                stream.end(Outcome::Malformed);
                (Taken::Fault(Outcome::Malformed), true)
            }
        };
        let instance = stream.instance;
        // It was cut off before, and its call goes on.
        let is_unread = goes_on && !stream.is_open();
        let (is_fault, is_over) = (matches!(taken, Taken::Fault(_)), stream.is_over());
        if let Some(instance) = instance {
            self.processors.heard(instance, now);
        }
        if is_fault || is_unread {
            self.cancel_stream(id);
        }
        if is_over {
            self.remove_stream(id);
        }
        Ok(())
    }
}

impl StreamHandler<Vec<ReplyRecord>> for ReplyRouter {
    fn handle(&mut self, batch: Vec<ReplyRecord>, _: &mut Self::Context) {
        self.parts.progress.touch();
        for run in batch.chunk_by(|a, b| a.record.partition == b.record.partition && a.record.topic == b.record.topic) {
            let (topic, partition) = (&run[0].record.topic, run[0].record.partition);
            if self.topics.reply_came(topic, partition) {
                self.pending.await_on_any_partition(topic);
                self.streams.await_on_any_partition(topic);
            }
        }
        for reply in batch {
            self.read(reply);
        }
        self.show_entries();
    }
    // finished(): the default stops the actor, which is right: no replies can come any more.
}

impl StreamHandler<InstanceId> for ReplyRouter {
    fn handle(&mut self, instance: InstanceId, _: &mut Self::Context) {
        self.processors.heard(instance, Instant::now());
    }
    // finished(): as above.
}
