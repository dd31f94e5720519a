//! What one pump is to do.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::ahead::AheadLimits;
use crate::kafka::cluster::admin::TopicAdmin;

/// What one pump is to do. Made once for each worker; every generation of the worker starts its pump from it.
#[derive(Clone)]
pub struct PumpPlan {
    /// The request topic, the only one that the pump consumes.
    pub topic: Arc<str>,
    /// Topics that the worker writes to. The pump creates them beside the request topic, where that is allowed.
    pub also: Vec<String>,
    /// The consumer's configuration, its group included.
    pub config: ClientConfig,
    /// Creates topics.
    pub admin: TopicAdmin,
    /// How many records of one partition may be between intake and commit.
    pub window: usize,
    /// How long a revocation, or a drain, waits for calls under way.
    pub revoke_timeout: Duration,
    /// Set for at-most-once delivery: how far commits may run ahead of the work.
    pub ahead: Option<AheadLimits>,
    /// Records wait for each other, so no call may run on in a partition that has gone to another member.
    pub ordered: bool,
}
