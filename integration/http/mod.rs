//! What a client and a backend see of HTTP.

/// What a backend sends that is no HTTP, or nearly none.
mod backend_framing;
/// Clients of several languages with their default settings.
mod client_programs;
/// A client that asks too often is refused, and the others are not.
mod client_rate_limit;
/// Connections whose client sends slowly or ambiguously, or does not read.
mod connections;
/// Generated requests are seen and answered alike with the service and without it.
mod differential;
/// A client that leaves is forgotten at once.
mod disconnects;
/// Every row of the documented table of errors.
mod error_table;
/// The headers that a gateway adds to a request, and the names that never pass.
mod forwarding;
/// Requests that a client sends before it has the answers to those before.
mod pipelines;
/// A backend's response reaches the client unchanged but for its framing.
mod responses;
/// Methods, targets, headers, bodies and statuses cross Kafka unchanged.
mod round_trip;
/// Bodies, heads and targets that are too large.
mod size_limits;
/// A request's target reaches the backend byte for byte, or is refused.
mod targets;
/// Offers to upgrade are passed over; only websocket is refused.
mod upgrades;
