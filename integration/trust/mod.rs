//! Who is trusted with what: clients, writers of records, backends, and whoever reaches the management port.

/// Who may ask, and what proves it.
mod auth;
/// TLS to backends.
mod backend_tls;
/// What one party may take.
mod bounds;
/// The login of the compose file.
mod compose_login;
/// More connections than there may be.
mod crowded;
/// Replies that somebody else wrote.
mod forged_replies;
/// Who says who the client is.
mod forwarded_headers;
/// Header fields that never go into Kafka, and those that a backend gets besides.
mod header_rules;
/// What a host is, and where a path may lead.
mod hosts_and_paths;
/// Logins to Kafka, and the rights of each role.
mod kafka_logins;
/// Records that are larger than anybody's honest ones.
mod large_records;
/// Who may ask the management API, and what it costs to guess its token.
mod management_access;
/// Batches that cannot be unpacked.
mod poisoned_batches;
/// Services that Kafka lets write nothing.
mod refused_producers;
/// Requests that were written again.
mod repeated_requests;
/// Records that only who has the key can read or write.
mod sealed_records;
/// Secrets that are read again while the process runs.
mod secrets;
/// TLS on the proxy's port, and HTTP/2.
mod tls;
/// Who may name topics.
mod topic_names;
