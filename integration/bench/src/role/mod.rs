//! The parts that run as processes of their own.

mod backend;
mod framing;
mod hop;
mod load;
mod raw;

pub use self::load::request;
pub use self::raw::Topics;

/// A line of a server that takes work; the port follows.
pub const READY: &str = "ready";

/// What this process is, when it is not the one that measures.
#[derive(clap::Subcommand)]
pub enum Role {
    /// Answers every HTTP request with its own body
    Backend(backend::Backend),
    /// Forwards HTTP requests: what is measured as `hop`
    Hop(hop::Hop),
    /// A closed loop of HTTP clients
    Load(load::Load),
    /// A closed loop of records: the one half of `raw`
    RawRequester(raw::Requester),
    /// Answers records with records: the other half of `raw`
    RawEchoer(raw::Echoer),
}

impl Role {
    pub fn run(self) -> crate::Result<()> {
        match self {
            Role::Backend(backend) => backend.run(),
            Role::Hop(hop) => hop.run(),
            Role::Load(load) => load.run(),
            Role::RawRequester(requester) => requester.run(),
            Role::RawEchoer(echoer) => echoer.run(),
        }
    }
}

/// Runs a future, and what it spawns, on this thread alone.
fn on_one_thread<T>(future: impl Future<Output = crate::Result<T>>) -> crate::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, future)
}
