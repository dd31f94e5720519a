//! A client's connection between the socket and the HTTP parser: what actix-http does not see, or does not wait for.
//!
//! - [`server`]: the server of the proxy's port.
//! - [`door`]: what becomes of a new connection: TLS, and the version of HTTP.
//! - [`tls`]: the handshake, with certificates that change while the process runs.
//! - [`peer`]: who is at the other end of TLS.
//! - [`h2`]: one connection of HTTP/2.
//! - [`io`]: the bytes of a connection, plain or inside TLS.
//! - [`stream`]: the stream that actix-http reads.
//! - [`pipeline`]: what the stream and the app tell each other about requests and answers.
//! - [`places`]: how many connections may be open.
//! - [`framing`]: where requests begin and end on it.

pub mod door;
pub mod framing;
pub mod h2;
pub mod io;
pub mod peer;
pub mod pipeline;
pub mod places;
pub mod server;
pub mod stream;
pub mod tls;
