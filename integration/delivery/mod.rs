//! What becomes of a request between its record and its answer.

/// A backend that fails: the client's answer, and the record that is kept.
mod backend_failures;
/// The circuit breaker.
mod breaker;
/// Clocks of proxy and processor that disagree.
mod clock_skew;
/// The records that a processor writes to the dead letter topic.
mod dead_letter_records;
/// No client waits longer than its deadline, and no expired request is executed.
mod deadline;
/// At least once and at most once.
mod delivery_modes;
/// The `dlq` commands list, show and redrive dead letters.
mod dlq_commands;
/// A redrive moves each dead letter once, whatever ends the command.
mod dlq_redrive;
/// Records of any shape stop neither role.
mod hostile;
/// What clients see when a proxy or a processor is killed.
mod killed_services;
/// Malformed records are counted, kept and answered.
mod malformed;
/// Records that must wait for each other do.
mod ordering;
/// Processors that are killed lose no record and commit none that is unanswered.
mod records_survive_kills;
/// Which calls of a backend are repeated, when and how often.
mod retries;
/// Replies that Kafka does not take.
mod undelivered_replies;
