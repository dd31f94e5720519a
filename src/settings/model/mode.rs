//! Which roles a process plays.

/// Which roles a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// HTTP in, Kafka out, and the answer back.
    Proxy,
    /// Kafka in, a backend call, and the answer back on Kafka.
    Processor,
    /// Both roles in one process.
    All,
    /// Both roles, an echo backend and librdkafka's mock cluster: nothing else is needed.
    Demo,
}

impl Mode {
    /// Does this process take HTTP requests?
    pub fn is_proxy(self) -> bool {
        self != Mode::Processor
    }
    /// Does this process consume request topics?
    pub fn is_processor(self) -> bool {
        self != Mode::Proxy
    }
}
