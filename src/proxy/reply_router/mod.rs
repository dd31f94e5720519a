//! The actor that pairs each reply record with the HTTP request that waits for it.
//!
//! - [`messages`]: what is sent to it.
//! - [`slot`]: where handlers and the producer find the present router.
//! - [`actor`]: the actor, which owns everything below; it counts the replies that nobody waits for any more.
//! - [`pending`]: the correlation table, one entry for each request in flight.
//! - [`endings`]: requests that end without an answer.
//! - [`streams`]: the answers that come in pieces.
//! - [`control`]: the control topics, and what is written there.
//! - [`control_trouble`]: why a control topic cannot be used.
//! - [`liveness`]: which processors that stream are gone; a pure machine.
//! - [`replies`]: what becomes of a record that was read.
//! - [`steering`]: what is written to the control topics, and when.
//! - [`strays`]: calls that were cancelled a moment ago.
//! - [`seal`]: seals requests and opens their replies.
//! - [`topics`]: which topics are open, opening or failed.
//! - [`topic_check`]: what the check of all open topics changes.
//! - [`follow`]: what the configuration names is opened.
//! - [`let_go`]: which topics are given up because nobody names them any more.
//! - [`search`]: when to search a reply topic for replies on other partitions; a pure machine.
//! - [`search_replies`]: begins and ends such searches.
//! - [`cadence`]: when to judge by what happened since the last tick.
//! - [`topic_tasks`]: the calls of Kafka that block, each a task beside the actor.

pub mod actor;
#[cfg(test)]
mod both_ends_tests;
mod cadence;
#[cfg(test)]
mod capacity_tests;
mod control;
pub mod control_trouble;
mod endings;
mod follow;
mod let_go;
mod liveness;
pub mod messages;
pub mod pending;
mod replies;
mod seal;
mod search;
mod search_replies;
pub mod slot;
mod steering;
mod strays;
#[cfg(test)]
mod stream_properties;
pub mod streams;
mod topic_check;
mod topic_tasks;
mod topics;
