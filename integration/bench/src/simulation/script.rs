//! How long Kafka, backends and load balancers take, and what happens in each scenario. Figures that were not measured are upper ends of
//! what their defaults allow.

use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A record that is produced until a consumer has it, at the least and at the most.
pub const CARRIED: (Duration, Duration) = (ms(2), ms(8));
/// From a broker's end until its partitions have other leaders: `broker.session.timeout.ms`, 9 s by default in KRaft.
pub const ELECTION: Duration = ms(9_000);
/// Until a client knows of them: `topic.metadata.refresh.interval.ms` and `reconnect.backoff.max.ms`, at the most.
pub const NOTICED: Duration = ms(1_000);
/// From a change of the group until its partitions are assigned anew: two rounds of cooperative-sticky, each a heartbeat (3 s) at the most.
pub const REBALANCE: Duration = ms(6_000);
/// Until a member that was killed is missed: `session.timeout.ms` of the service.
pub const SESSION: Duration = ms(10_000);
/// Until a load balancer has taken a proxy out that says it is not ready.
pub const TAKEN_OUT: (Duration, Duration) = (ms(500), ms(3_000));
/// `pre_stop`.
pub const PRE_STOP: Duration = ms(5_000);
/// From a process's end to the readiness of the one that follows it.
pub const START: Duration = ms(4_000);
/// `max_concurrent_requests` of a processor, the default.
pub const CALLS: usize = 100;
/// `max_pending` of a proxy, the default.
pub const MAX_PENDING: usize = 10_000;
/// Processes that restart at once.
pub const AT_ONCE: usize = 15;
/// From one such batch to the next.
pub const BETWEEN: Duration = ms(15_000);
/// Everything runs before something happens.
pub const QUIET: Duration = ms(30_000);
/// And after all that has happened.
pub const AFTER: Duration = ms(90_000);

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Nothing,
    /// All processors are restarted, batch by batch.
    Processors,
    /// All proxies are.
    Proxies,
    /// One broker of all is lost.
    Broker,
    /// A batch of processors is killed.
    Killed,
    /// Processors and proxies are restarted, and a broker is lost meanwhile.
    All,
}

impl Scenario {
    pub const ALL: [Scenario; 6] = [
        Scenario::Nothing,
        Scenario::Processors,
        Scenario::Proxies,
        Scenario::Broker,
        Scenario::Killed,
        Scenario::All,
    ];

    /// As the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Nothing => "nothing",
            Scenario::Processors => "rolling restart of all processors",
            Scenario::Proxies => "rolling restart of all proxies",
            Scenario::Broker => "one broker is lost",
            Scenario::Killed => "15 processors are killed at once",
            Scenario::All => "both restarts, and a broker is lost",
        }
    }

    pub fn restarts_processors(self) -> bool {
        matches!(self, Scenario::Processors | Scenario::All)
    }

    pub fn restarts_proxies(self) -> bool {
        matches!(self, Scenario::Proxies | Scenario::All)
    }

    pub fn loses_a_broker(self) -> bool {
        matches!(self, Scenario::Broker | Scenario::All)
    }
}
