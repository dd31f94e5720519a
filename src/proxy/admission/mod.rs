//! Whether a request is taken at all.
//!
//! - [`in_flight`]: how many may be in flight, in all and for each topic.
//! - [`bytes`]: how many bytes may be held.
//! - [`pace`]: whether a queue moves fast enough for one more.
//! - [`limit`]: how many a topic carries, when that is in doubt.
//! - [`span`]: what happened in a queue, tick by tick.
//! - [`rate_limit`]: how often one client may ask.
//! - [`consumers`]: whether anybody consumes the topic.

pub mod bytes;
pub mod consumers;
pub mod in_flight;
pub mod limit;
pub mod pace;
pub mod rate_limit;
pub mod span;
