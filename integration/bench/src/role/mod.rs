//! The parts that run as processes of their own.

/// A backend that answers with the request's body.
mod backend;
/// As much of HTTP/1.1 as the load and the backend need.
mod framing;
/// A plain HTTP forwarder.
mod hop;
/// HTTP clients in closed loops.
mod load;
/// A ping-pong of librdkafka alone.
mod raw;
/// A runtime of one thread.
mod single_thread;
/// Streams: what the backend writes, what a client checks of it, and the same without HTTP.
mod stream;
/// Waits to some ten µs.
mod timer;

pub use self::load::request;
pub use self::raw::Topics;

use crate::error::Result;
use crate::simulation::Simulate;

/// What this process does where it is not the one that measures.
#[derive(clap::Subcommand)]
pub enum Role {
    /// Answers every HTTP request with its own body
    Backend(backend::Backend),
    /// Forwards HTTP requests: the system `hop`
    Hop(hop::Hop),
    /// A closed loop of HTTP clients
    Load(load::Load),
    /// A closed loop of records: one half of the system `raw`
    RawRequester(raw::Requester),
    /// Hundreds of proxies and processors in simulated time, through restarts and the loss of a broker
    Simulate(Simulate),
    /// Answers records with records: the other half of the system `raw`
    RawEchoer(raw::Echoer),
    /// Clients of streams
    StreamLoad(stream::client::StreamLoad),
    /// Records one way: the system `raw` of streams
    RawPieces(stream::raw::RawPieces),
}

impl Role {
    pub fn run(self) -> Result<()> {
        match self {
            Role::Backend(backend) => backend.run(),
            Role::Hop(hop) => hop.run(),
            Role::Load(load) => load.run(),
            Role::RawRequester(requester) => requester.run(),
            Role::Simulate(simulation) => simulation.run(),
            Role::RawEchoer(echoer) => echoer.run(),
            Role::StreamLoad(load) => load.run(),
            Role::RawPieces(pieces) => pieces.run(),
        }
    }
}
