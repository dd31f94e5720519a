//! What one pump is to do.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use prometheus::IntCounter;
use rdkafka::ClientConfig;

use super::ahead::AheadLimits;
use super::identity::TopicIds;
use super::window::ByteBudget;
use crate::kafka::cluster::admin::TopicAdmin;
use crate::kafka::config::{Purpose, Start};

/// What one pump is to do. Made once for each worker; every generation of the worker starts its pump from it.
#[derive(Clone)]
pub struct PumpPlan {
    /// The request topic, the only one that the pump consumes.
    pub topic: Arc<str>,
    /// Topics that the worker writes to. The pump creates them beside the request topic, where that is allowed.
    pub also: Vec<(String, Purpose)>,
    /// The consumer's configuration, its group included.
    pub config: ClientConfig,
    /// Creates topics.
    pub admin: TopicAdmin,
    /// Where a new group begins.
    pub start: Start,
    /// Set by the first generation that has partitions: the group is not new any more, even where Kafka has forgotten its commits together
    /// with a topic that was deleted.
    pub has_begun: Arc<AtomicBool>,
    /// Tells when another topic stands behind the request topic's name.
    pub topic_ids: TopicIds,
    /// How many records of one partition may be between intake and commit.
    pub window: usize,
    /// How long a revocation, or a drain, waits for calls under way.
    pub revoke_timeout: Duration,
    /// Set for at-most-once delivery: how far commits may run ahead of the work.
    pub ahead: Option<AheadLimits>,
    /// Bytes of records that all pumps of the process may hold.
    pub budget: ByteBudget,
    /// Bytes of one record. A larger one is cut before it is copied.
    pub max_record: usize,
    /// Batches that cannot be unpacked.
    pub poisoned: IntCounter,
    /// Records wait for each other, so no call may run on in a partition that has gone to another member.
    pub ordered: bool,
}
