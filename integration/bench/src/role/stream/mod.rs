//! Streams: what the backend writes, what a client checks of it, and the same without HTTP.

/// A request for a stream, and its answer as it comes.
mod answer;
/// The backend's side.
pub mod backend;
/// The client's side.
pub mod client;
/// A clock that all processes share.
mod clock;
/// The bytes of a large body.
mod content;
/// The events of a stream.
mod events;
/// Clients that leave.
mod leave;
/// Records of librdkafka alone.
pub mod raw;
/// Large bodies, down and up.
mod transfer;
