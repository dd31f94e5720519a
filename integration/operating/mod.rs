//! What operators configure, see and do.

/// Health, metrics, status and who may see them.
mod management;
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
/// The rate limit of a topic.
mod topic_rate_limit;
/// Several workers on one topic.
mod workers;
