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
/// Restarts of all instances under load, behind nginx.
mod rolling_restarts;
/// Files, environment and the faults in them.
mod settings;
/// Signals: nothing that was accepted is dropped when an instance stops.
mod shutdown;
/// How many records of a topic are executed in a second.
mod topic_rate_limit;
/// Several workers on one topic.
mod workers;
