//! How many files a configuration may have open: each client, broker connection and backend call is a socket, and a socket is a file.

use std::fmt;

use crate::settings::Settings;

/// Listeners, event loops, wake-up pipes and the log.
const PROCESS: u64 = 100;
/// One Kafka client: a connection to each of three brokers and one to begin with, and the pipes that wake its threads. Measured with
/// one broker: 12.
const KAFKA_CLIENT: u64 = 20;
/// Kafka clients of a proxy: requests, replies, and administration.
const PROXY_CLIENTS: u64 = 3;
/// Kafka clients of a processor besides one consumer a worker: replies, administration, and lag.
const PROCESSOR_CLIENTS: u64 = 3;

/// The parts of the sum.
pub struct Needed {
    /// One for each request that may be in flight.
    clients: u64,
    /// With idle ones, there may be as many.
    max_connections: u64,
    /// One for each call that may be under way.
    backend_calls: u64,
    kafka_clients: u64,
}

/// What a configuration needs.
pub fn needed(settings: &Settings) -> Needed {
    let (mode, proxy, processor) = (settings.mode, &settings.proxy, &settings.processor);
    let workers: usize = processor.topics.iter().map(|topic| topic.workers).sum();
    let part = |has: bool, files: u64| if has { files } else { 0 };
    Needed {
        clients: part(mode.is_proxy(), proxy.max_pending.min(proxy.max_connections) as u64),
        max_connections: part(mode.is_proxy(), proxy.max_connections as u64),
        backend_calls: part(mode.is_processor(), processor.max_concurrent_requests as u64),
        kafka_clients: part(mode.is_proxy(), PROXY_CLIENTS)
            + part(mode.is_processor(), PROCESSOR_CLIENTS + workers as u64),
    }
}

impl Needed {
    /// Files in all.
    pub fn total(&self) -> u64 {
        PROCESS + self.clients + self.backend_calls + self.kafka_clients * KAFKA_CLIENT
    }
}

impl fmt::Display for Needed {
    /// A YAML comment, so that what `check` prints can still be loaded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Needed {
            clients,
            max_connections,
            backend_calls,
            kafka_clients,
        } = self;
        let total = self.total();
        writeln!(
            f,
            "# open files: {total} = {PROCESS} + {clients} clients (max_pending; with idle ones up to {max_connections}, max_connections) + {backend_calls} backend calls \
             (max_concurrent_requests) + {kafka_clients} Kafka clients x {KAFKA_CLIENT}"
        )
    }
}
