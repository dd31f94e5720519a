//! How an answer that comes in pieces ends.

use crate::wire::stream::StreamError;

/// How an answer that comes in pieces ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The client has all of it.
    Complete,
    /// The client left before the end.
    ClientLeft,
    /// Whoever answers ended it early, and says why.
    Cut(StreamError),
    /// A piece is missing.
    Gap,
    /// More came than window and credit allow.
    OverWindow,
    /// It is longer or shorter than its Content-Length.
    BadLength,
    /// A piece could not be read.
    Malformed,
    /// Nothing came for too long.
    Idle,
    /// It took too long in all.
    TooLong,
    /// The process that answers is gone.
    ProcessorDead,
    /// The reply topic is gone, or the router that read it.
    RepliesLost,
    /// The drain limit of this process.
    ProxyDraining,
}

impl Outcome {
    /// The label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::ClientLeft => "client-left",
            Outcome::Cut(error) => error.as_str(),
            Outcome::Gap => "gap",
            Outcome::OverWindow => "over-window",
            Outcome::BadLength => "bad-length",
            Outcome::Malformed => "malformed",
            Outcome::Idle => "idle",
            Outcome::TooLong => "too-long",
            Outcome::ProcessorDead => "processor-dead",
            Outcome::RepliesLost => "replies-lost",
            Outcome::ProxyDraining => "proxy-draining",
        }
    }

    /// Whoever writes the pieces broke the rules.
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Outcome::Gap | Outcome::OverWindow | Outcome::BadLength | Outcome::Malformed
        )
    }
}
