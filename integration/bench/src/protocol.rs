//! The lines that a role prints for the process that started it.

/// A server takes work from here on. Its port follows on the same line.
pub const READY: &str = "ready";

/// The measured interval of a load has begun.
pub const BEGIN: &str = "begin";

/// The measured interval has ended. The next line is an `Outcome` in JSON; then the load waits to be killed.
pub const END: &str = "end";
