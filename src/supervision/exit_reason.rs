//! How an actor's life ended.

use std::fmt;

/// How an actor's life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// It stopped of its own accord: its input ended.
    Stopped,
    /// It panicked, with this message.
    Panicked(String),
    /// It showed no progress and was given up.
    Stalled,
    /// Its Arbiter's thread was gone.
    ArbiterGone,
}

impl ExitReason {
    /// All values of `label`.
    pub const LABELS: [&str; 3] = ["panic", "error", "stalled"];

    /// The `reason` label of `actor_restarts_total`.
    pub fn label(&self) -> &'static str {
        match self {
            ExitReason::Panicked(_) => "panic",
            ExitReason::Stalled => "stalled",
            ExitReason::Stopped | ExitReason::ArbiterGone => "error",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Stopped => f.write_str("stopped, its input ended"),
            ExitReason::Panicked(message) => write!(f, "panicked: {message}"),
            ExitReason::Stalled => f.write_str("stalled, no sign of progress"),
            ExitReason::ArbiterGone => f.write_str("its thread is gone"),
        }
    }
}
