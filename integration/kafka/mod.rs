//! What happens to the service when Kafka changes.

/// One of three brokers is lost, or all of them.
mod broker_failover;
/// The only broker is killed or hangs, and comes back.
mod broker_outage;
/// Kafka takes a right away and gives it back.
mod denied_rights;
/// Static members, and the group protocol of KIP-848.
mod group_membership;
/// A request topic that no group consumes.
mod no_consumers;
/// Processors join and leave under load.
mod rebalance;
/// Records larger than their topic allows.
mod record_limits;
/// Topics that are deleted, and created again.
mod recreated_topics;
/// Topics that change under load.
mod topic_changes;
