//! What became of the pieces of bodies: from the producer's polling thread to the uploads.

use prometheus::IntGauge;
use tokio::sync::mpsc;

use crate::kafka::producer::{Delivered, DeliveryListener};

/// Hears of every piece, and tells its upload.
pub struct Pieces {
    /// Bytes that are not acknowledged yet, of all uploads.
    pub unacknowledged: IntGauge,
}

/// Travels with a piece.
pub struct Ticket {
    pub seq: u64,
    /// Of the body.
    pub bytes: usize,
    /// Holds at most one entry for each piece; the upload's window bounds those.
    pub to: mpsc::UnboundedSender<Acknowledged>,
}

/// A piece is in Kafka, or is not.
pub struct Acknowledged {
    pub seq: u64,
    pub bytes: usize,
    pub outcome: Delivered,
}

impl DeliveryListener for Pieces {
    type Ticket = Box<Ticket>;

    fn delivered(&self, ticket: Box<Ticket>, outcome: Delivered) {
        let Ticket { seq, bytes, to } = *ticket;
        self.unacknowledged.sub(bytes as i64);
        // Err: the upload was given up.
        let _ = to.send(Acknowledged { seq, bytes, outcome });
    }
}
