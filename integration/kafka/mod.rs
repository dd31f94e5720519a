//! What the service does when Kafka changes.

/// Partitions that are added to a topic.
mod added_partitions;
/// One of three brokers is lost, or all of them.
mod broker_failover;
/// The only broker is killed or hangs, and is back later.
mod broker_outage;
/// What a broker or the network says against us is logged once for each broker and cause.
mod broker_troubles;
/// Kafka denies a right and grants it again.
mod denied_rights;
/// A broker that stands still for a few seconds.
mod frozen_broker;
/// Static members, and the group protocol of KIP-848.
mod group_membership;
/// Where a new group begins.
mod group_start;
/// A request topic that no group consumes.
mod no_consumers;
/// Processors that join and leave under load.
mod rebalance;
/// Records larger than their topic allows.
mod record_limits;
/// Request topics that are deleted and created again: every record of the new one is executed.
mod recreated_requests;
/// Topics that are deleted, and created again.
mod recreated_topics;
/// Topics that Kafka needs long to create.
mod slow_creation;
