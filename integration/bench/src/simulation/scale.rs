//! How large a simulation is.

use clap::Args;

/// How large it is.
#[derive(Debug, Clone, Args)]
pub struct Scale {
    #[arg(long, default_value_t = 300)]
    pub proxies: usize,
    #[arg(long, default_value_t = 300)]
    pub processors: usize,
    /// Requests per second, in all
    #[arg(long, default_value_t = 10_000.0)]
    pub rate: f64,
    /// Milliseconds that a backend takes, on average
    #[arg(long, default_value_t = 50)]
    pub backend: u64,
    /// Seconds that a client waits
    #[arg(long, default_value_t = 30)]
    pub timeout: u64,
    /// Brokers, each the leader of as many partitions as any other
    #[arg(long, default_value_t = 6)]
    pub brokers: usize,
    /// Runs with the same seed are the same
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
