//! A client's connection between the socket and the HTTP parser: what actix-http does not see, or does not wait for.
//!
//! - [`server`]: the server of the proxy's port.
//! - [`stream`]: the stream that actix-http reads.
//! - [`exchange`]: what the stream and the app tell each other about the request under way.
//! - [`framing`]: where requests begin and end on it.

pub mod exchange;
pub mod framing;
pub mod server;
pub mod stream;
