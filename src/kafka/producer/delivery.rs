//! What becomes of a produced record, and who hears of it.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::util::IntoOpaque;
use rdkafka_sys as rdsys;

use crate::kafka::client::context::log_through_tracing;

/// What became of a produced record: its offset, or why there is none. The offset is negative where the broker did not tell it, as of a
/// repeat whose first copy it took long ago.
pub type Delivered = Result<i64, Undelivered>;

/// A record that Kafka did not acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct Undelivered {
    pub code: RDKafkaErrorCode,
    /// It is certain that no broker has it (`RD_KAFKA_MSG_STATUS_NOT_PERSISTED`).
    pub not_persisted: bool,
}

/// The outcome of a record that never left this process.
pub(super) fn not_sent(code: RDKafkaErrorCode) -> Delivered {
    Err(Undelivered {
        code,
        not_persisted: true,
    })
}

/// Hears what became of each record. It is called on the producer's polling thread or within the send. It must not block, and it must
/// not panic: a panic ends all delivery reports.
pub trait DeliveryListener: Send + Sync + 'static {
    /// What travels with a record and comes back with its report.
    type Ticket: IntoOpaque;
    /// Called once for each record, with the ticket it was sent with.
    fn delivered(&self, ticket: Self::Ticket, outcome: Delivered);
    /// How many records are on their whole way, to the answer. By default none, and batches never linger.
    fn in_flight(&self) -> usize {
        0
    }
    /// The batches of one client linger from now on, or no longer.
    fn lingers(&self, _lingers: bool) {}
}

/// The callbacks of a producing client: log lines go to tracing, delivery reports to the listener.
pub struct Context<L>(pub Arc<L>);

impl<L: DeliveryListener> ClientContext for Context<L> {
    log_through_tracing!();
}

impl<L: DeliveryListener> ProducerContext for Context<L> {
    type DeliveryOpaque = L::Ticket;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: L::Ticket) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, message)) => {
                // SAFETY: the message is valid for the time of this callback.
                let status = unsafe { rdsys::rd_kafka_message_status(message.ptr()) };
                Err(Undelivered {
                    code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
                    not_persisted: status == rdsys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED,
                })
            }
        };
        self.0.delivered(ticket, outcome);
    }
}
