//! What can fail in a run.

/// Any failure ends the run; its text is shown to whoever started it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
