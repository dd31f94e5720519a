//! What operators configure, see and do.

/// Places for backend calls: each topic has its own, and borrows the rest.
mod call_places;
/// Health, metrics, status and who may see them.
mod management;
/// Many topics in one process.
mod many_topics;
/// Thousands of requests that wait at once.
mod many_waiting;
/// Every mode carries a request.
mod modes;
/// More requests than the service or its backend takes.
mod overload;
/// A topic that an operator pauses.
mod paused_topics;
/// Restarts under load, behind nginx.
mod rolling_restarts;
/// Settings: files, environment, and their faults.
mod settings;
/// Signals: an instance that stops finishes its requests.
mod shutdown;
/// A process that stood still goes on as if nothing had happened.
mod standstill;
/// The rate limit of a topic.
mod topic_rate_limit;
/// Several workers on one topic.
mod workers;
