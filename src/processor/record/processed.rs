//! What becomes of a record.

use crate::exchange::Ending;
use crate::processor::record::outbox::Parcel;
use crate::processor::stream::answer as stream;

/// What becomes of a record.
pub(super) enum Processed<'p> {
    /// It is done once Kafka has these.
    Answered(Vec<Parcel>, Ending),
    /// The first piece of its answer is on its way; it is done once Kafka has that.
    Streams(Box<stream::Answer<'p>>),
    /// Nobody waits for it any more, or it was executed already: it is done at once, without a reply. The word says why.
    PassedOver(&'static str),
    /// Its partition goes to another owner, who begins anew. At most once it is lost: its offset is committed.
    Released,
}
