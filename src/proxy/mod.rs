//! The proxy: HTTP in, one record on a request topic, and the reply back to the client that waits.

pub mod connection;
pub mod consumers;
pub mod framing;
pub mod http;
pub mod in_flight;
pub mod instance;
pub mod metrics;
pub mod pace;
pub mod rate_limit;
pub mod reply_router;
pub mod request;
pub mod role;
pub mod routes;
pub mod server;
pub mod topics;
