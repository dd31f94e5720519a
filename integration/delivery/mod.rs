//! What becomes of a request between its record and its answer.

/// A backend that fails: the client's answer, and the dead letter.
mod backend_failures;
/// The circuit breaker: a failing backend is not called.
mod breaker;
/// The circuit breaker in pause mode: records wait while their backend is out.
mod breaker_pause_mode;
/// Clocks of proxy and processor that disagree.
mod clock_skew;
/// The records that a processor writes to the dead letter topic.
mod dead_letter_records;
/// No client waits beyond its deadline, and no expired request is executed.
mod deadline;
/// `at-least-once` and `at-most-once`.
mod delivery_modes;
/// The `dlq` commands list, show and redrive dead letters.
mod dlq_commands;
/// A redrive moves each dead letter once, even where it is killed.
mod dlq_redrive;
/// What was done behind a slow record stays done.
mod done_again;
/// Records that another program than the proxy wrote.
mod foreign_records;
/// kill -9, as clients see it.
mod killed_services;
/// Replies that cannot be read.
mod malformed_replies;
/// Requests that cannot be read.
mod malformed_requests;
/// Records that must wait for each other do.
mod ordering;
/// kill -9, as records see it.
mod records_survive_kills;
/// Which calls of a backend are repeated, when and how often.
mod retries;
/// Replies that Kafka does not take.
mod undelivered_replies;
