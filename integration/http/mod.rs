//! What a client and a backend see of HTTP.

/// Clients and backends of several languages, as they come.
mod client_programs;
/// A client that asks too often is refused, and the others are not.
mod client_rate_limit;
/// A connection whose client sends too much, too slowly or ambiguously ends with an answer.
mod connections;
/// Generated requests are seen and answered alike with the tunnel and without it.
mod differential;
/// A client that leaves is forgotten at once.
mod disconnects;
/// Every row of the README's table of errors is what the service answers.
mod error_table;
/// The headers that a gateway adds to a request, and the names that never pass.
mod forwarding;
/// A backend's response reaches the client unchanged but for its framing.
mod responses;
/// Methods, targets, headers, bodies and statuses cross Kafka unchanged.
mod round_trip;
/// A request's target reaches the backend byte for byte, or is refused.
mod targets;
