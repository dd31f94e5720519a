//! The last words on a record: its reply, its dead letter, or that there is none.

use std::time::Instant;

use crate::error::RequestError;
use crate::exchange::Ending;
use crate::processor::backend::outcome::BackendError;
use crate::processor::record::RecordProcessor;
use crate::processor::record::error_reply::error_response;
use crate::processor::record::outbox::{Content, Parcel};
use crate::processor::record::processed::Processed;
use crate::processor::record::reply_topics::Destination;
use crate::processor::record::seen;
use crate::settings::Delivery;
use crate::wire::correlation::id_text;
use crate::wire::dead_letter::{Cause, DeadLetter};
use crate::wire::{Format, RawRecord, ReplyError, Request, Response, WireError};

impl RecordProcessor {
    /// Nobody reads the answer: the record is committed, without a reply and without a dead letter.
    pub(super) fn cancelled(&self) -> Processed<'_> {
        self.caller.metrics.finished("cancelled");
        Processed::PassedOver("cancelled")
    }

    /// Nobody waits for the record any more: it is committed at once, without a reply.
    pub(super) fn expire(&self) -> Processed<'_> {
        self.caller.metrics.expired.inc();
        self.caller.metrics.finished("expired");
        Processed::PassedOver("expired")
    }

    /// A record repeats what was executed a moment ago. True: it is not executed again.
    pub(super) fn is_passed_over(&self) -> bool {
        self.caller.metrics.repeated.inc();
        let passed_over = self.caller.topic.delivery == Delivery::AtMostOnce;
        if passed_over {
            self.caller.metrics.finished("repeated");
        }
        passed_over
    }

    /// Gives up a record that cannot be worked on: the waiting client, where it can be known, gets 500 at once; the record is
    /// dead-lettered where there is a topic for that. A native record without a reply topic wants no reply.
    pub(super) fn give_up<'p>(
        &'p self,
        record: &RawRecord,
        cause: &str,
        code: ReplyError,
        reply_to: Option<WireError>,
    ) -> Processed<'p> {
        let correlation_id = reply_to
            .as_ref()
            .and_then(|to| to.correlation_id.as_deref())
            .map(id_text);
        tracing::warn!(topic = %record.topic, partition = record.partition, offset = record.offset, correlation_id, cause, "record passed over");
        self.caller.metrics.finished(code.as_str());
        let mut parcels: Vec<_> = self.dead_letter(record, cause, code, 0).into_iter().collect();
        let format = Format::of(record);
        let reply = reply_to.and_then(|to| {
            let named = to.reply_topic.as_deref();
            let id = to
                .correlation_id
                .filter(|_| named.is_some() || format == Format::Json)?;
            let destination = self.reply_topics.destination(named, to.reply_partition);
            let reply = format.encode_response(error_response(id, code));
            let content = Content::Reply {
                record: self.seal.seal(record, reply, &destination.topic)?,
                until: Some(Instant::now() + self.caller.topic.timeout),
            };
            Some(Parcel { destination, content })
        });
        let status = reply.as_ref().map(|_| RequestError::from(code).status().as_u16());
        parcels.extend(reply);
        Processed::Answered(parcels, seen::given_up(status, code))
    }

    /// Logs that the backend gave no usable answer, and makes the dead letter where one is due.
    pub(super) fn no_answer(
        &self,
        record: &RawRecord,
        request: &Request,
        error: &BackendError,
        attempts: u32,
    ) -> Option<Parcel> {
        let topic = &self.caller.topic;
        tracing::warn!(topic = %topic.request_topic, backend = %topic.backend_url, partition = record.partition,
            offset = record.offset, correlation_id = id_text(&request.correlation_id), attempts, %error, "no answer from the backend");
        match error {
            BackendError::Unreachable(_)
            | BackendError::Timeout(_)
            | BackendError::Reset(_)
            | BackendError::NotHttp(_)
            | BackendError::Body { .. } => self.dead_letter(record, &error.to_string(), error.reply_error(), attempts),
            BackendError::TooLarge(_) | BackendError::BadMessage(_) => None,
        }
    }

    /// Encodes the reply, in the format of its request and in a size that its topic takes. Nobody waits for it after `until`.
    pub(super) fn answer(
        &self,
        record: &RawRecord,
        response: Response,
        dead_letter: Option<Parcel>,
        destination: Destination,
        until: Option<Instant>,
    ) -> Processed<'_> {
        let format = Format::of(record);
        let correlation_id = response.correlation_id.clone();
        let mut ending = Ending {
            status: Some(response.status),
            code: response.error.map(ReplyError::as_str),
        };
        let sealed = |response| {
            let mut reply = format.encode_response(response);
            destination.mark(&mut reply);
            self.seal.seal(record, reply, &destination.topic)
        };
        let mut reply = sealed(response);
        let limit = self.outbox.limits.of(&destination.topic);
        if reply.as_ref().is_some_and(|reply| reply.encoded_size() > limit) {
            let too_large = error_response(correlation_id, ReplyError::ResponseTooLarge);
            ending = seen::given_up(Some(too_large.status), ReplyError::ResponseTooLarge);
            reply = sealed(too_large);
        }
        self.caller
            .metrics
            .finished(&ending.status.unwrap_or_default().to_string());
        let content = reply.map(|record| Content::Reply { record, until });
        let reply = content.map(|content| Parcel { destination, content });
        Processed::Answered(dead_letter.into_iter().chain(reply).collect(), ending)
    }

    /// The record as a dead letter, where there is a topic for them.
    pub(super) fn dead_letter(
        &self,
        record: &RawRecord,
        exception: &str,
        error: ReplyError,
        attempts: u32,
    ) -> Option<Parcel> {
        let topic = self.dead_letter_topic.as_ref()?;
        let cause = Cause {
            group: &self.caller.topic.consumer_group,
            exception,
            error,
            attempts,
        };
        let mut letter = DeadLetter::new(record, &cause);
        letter.fit(self.outbox.limits.of(topic));
        Some(Parcel {
            destination: Destination::any_partition(topic),
            content: Content::DeadLetter(letter),
        })
    }
}
