//! What a run finds, as `bench.json` holds it.

use serde::{Deserialize, Serialize};

use crate::options::{Options, System};
use crate::outcome::Outcome;
use crate::process::Used;

/// Everything that a run finds.
#[derive(Debug, Serialize)]
pub struct Run {
    pub machine: Machine,
    pub options: Options,
    /// The replication factor of every topic. It is 1: a run has one broker.
    pub replication_factor: u32,
    pub memory: Memory,
    /// The medians of the repeats.
    pub rows: Vec<Row>,
    pub ratios: Vec<Ratio>,
    pub points: Vec<Point>,
}

/// The machine on which it ran.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
}

/// Memory and start-up time of the first proxy and the first processor.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Memory {
    pub proxy_idle_mib: f64,
    pub processor_idle_mib: f64,
    /// The proxy's topics existed when it started.
    pub proxy_ready_seconds: f64,
    /// The processor's group was new.
    pub processor_ready_seconds: f64,
    /// How many connections waited while `kib_per_waiting` was measured.
    pub waiting: usize,
    /// The resident memory of a proxy for each connection whose request waits for a reply. The bodies are in Kafka.
    pub kib_per_waiting: f64,
}

/// One measured interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    /// Which of the repeats it belongs to.
    pub round: usize,
    pub system: System,
    pub proxies: usize,
    pub connections: usize,
    /// Requests per second that were to be sent; `None`: as many as were answered.
    pub rate: Option<f64>,
    pub outcome: Outcome,
    pub used: Vec<Used>,
}

/// The medians of all points with the same load, each figure by itself. Latencies are in µs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub system: System,
    pub proxies: usize,
    pub connections: usize,
    /// Requests per second that were to be sent; `None`: as many as were answered.
    pub rate: Option<f64>,
    pub per_second: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    /// The errors of all repeats together.
    pub errors: u64,
    pub used: Vec<Used>,
    /// Set for actix-khp where raw and hop were measured with the same load.
    pub limit: Option<Limit>,
}

impl Row {
    /// CPU time per request, in µs, of the processes whose names begin with `name`.
    pub fn cpu(&self, name: &str) -> f64 {
        cpu(&self.used, name)
    }
}

/// CPU time per request, in µs, of the processes whose names begin with `name`.
pub fn cpu(used: &[Used], name: &str) -> f64 {
    let of_name = used.iter().filter(|used| used.name.starts_with(name));
    of_name.map(|used| used.cpu_us_per_request).sum()
}

/// The figures of actix-khp, divided by those of another system under the same load. Each is the median of the rounds' own ratios: what slows
/// the machine for a while slows both.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    pub than: System,
    pub proxies: usize,
    pub connections: usize,
    pub rate: Option<f64>,
    pub per_second: f64,
    /// The ratio of the round where it was lowest.
    pub per_second_lowest: f64,
    pub per_second_highest: f64,
    pub p50: f64,
    pub p99: f64,
    /// CPU time per request of the proxies; `None`: the other has none.
    pub proxy_cpu: Option<f64>,
    pub processor_cpu: Option<f64>,
}

/// The throughput that Kafka and a plain hop allow together, in requests per second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Limit {
    /// 1/(1/raw + 1/hop).
    pub per_second: f64,
    /// The throughput of actix-khp divided by `per_second`.
    pub ratio: f64,
    /// Requests in flight ÷ (raw's mean latency + hop's median with the fewest connections, where none queue).
    pub by_latency: f64,
    /// Cores ÷ (CPU time per request of all processes of raw and of hop).
    pub by_cpu: f64,
}
