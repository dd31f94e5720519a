//! Answers that come in pieces, from the router to the client's socket.
//!
//! - [`places`]: how many there may be, and which requests may be answered so.
//! - [`pipe`]: the bytes of one answer, between the router and the body.
//! - [`body`]: the body of the answer that the client gets.
//! - [`outcome`]: how such an answer ends.
//! - [`metrics`]: what is counted of them.

pub mod body;
pub mod metrics;
pub mod outcome;
pub mod pipe;
pub mod places;

use std::sync::Arc;

use crate::exchange::RecordPosition;
use crate::proxy::routing::topics::KnownTopic;
use crate::proxy::stream::pipe::Outlet;
use crate::proxy::stream::places::Offer;
use crate::wire::stream::StreamHead;
use crate::wire::trace_parent::TraceParent;

/// An answer whose first piece has come.
pub struct Streamed {
    pub head: StreamHead,
    /// Where that lies.
    pub first: RecordPosition,
    /// The span that wrote it, where that is told.
    pub writer: Option<TraceParent>,
    pub outlet: Outlet,
    /// Held until the answer ends.
    pub offer: Offer,
    /// The body tells the router what the client has taken whenever it is this many bytes more.
    pub report_every: u64,
    /// The topic that its end is counted for.
    pub request_topic: Arc<KnownTopic>,
}
