//! A client's connection between the socket and the HTTP parser: what actix-http does not see, or does not wait for.
//!
//! - [`server`]: the server of the proxy's port.
//! - [`stream`]: the stream that actix-http reads.
//! - [`framing`]: where requests begin and end on it.

pub mod framing;
pub mod server;
pub mod stream;
