//! What operators configure, see and do.

/// The access log, phases, and the level of the log.
mod access_log;
/// Places for backend calls: each topic has its own, and borrows the rest.
mod call_places;
/// `check --connect`: what is wrong around the service.
mod check_connect;
/// Commands whose output is not read, or cannot be written.
mod command_output;
/// HEAD, 405, and what passes a gateway.
mod head_requests;
/// A log that cannot be written.
mod log_output;
/// Health, metrics, status and who may see them.
mod management;
/// Many topics in one process.
mod many_topics;
/// Thousands of requests that wait at once.
mod many_waiting;
/// Every mode carries a request.
mod modes;
/// How many files a process may open, and needs.
mod open_files;
/// More requests than the service or its backend takes.
mod overload;
/// Pacing after a standstill: what the topic carries is admitted again.
mod pacing;
/// A topic that an operator pauses.
mod paused_topics;
/// Another configuration while the service runs.
mod reload;
/// Restarts under load, behind nginx.
mod rolling_restarts;
/// What Prometheus gets.
mod scrapes;
/// What systemd and container engines learn of a process.
mod service_manager;
/// Settings: files, environment, and their faults.
mod settings;
/// Settings are the characters that were written.
mod settings_text;
/// Signals: an instance that stops finishes its requests.
mod shutdown;
/// A process that stood still goes on as if nothing had happened.
mod standstill;
/// A thread that is stuck.
mod stuck_threads;
/// `top`, and how far long commands are.
mod top;
/// The rate limit of a topic.
mod topic_rate_limit;
/// Traces of requests, over OTLP.
mod traces;
/// Several workers on one topic.
mod workers;
