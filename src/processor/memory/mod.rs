//! Requests that run once for each key: what came of them is remembered in a topic, and read from it when a partition is assigned.
//!
//! The proxy gives all requests with one key to one partition, so one worker decides. What it decides by is in memory, without bodies.
//!
//! - [`identity`]: which requests run once, and by which key.
//! - [`index`]: the keys of one partition. Pure.
//! - [`partition`]: what is known and what runs in one partition.
//! - [`restore`]: reads the memory of a partition; [`restores`]: how many are read at a time; [`reader`]: ranges of several partitions, up
//!   to their ends.
//! - [`worker`]: the partitions of one worker, and what becomes of a request that comes.
//! - [`claim`]: the right to run a request, and what is remembered of its end.
//! - [`writer`]: from a mark to Kafka's acknowledgement of it.
//! - [`recall`]: reads remembered answers.
//! - [`replay`]: what a request gets that came with the key of an earlier one.
//! - [`keeping`]: an answer that streams and is remembered; [`shelf`]: what is kept of its body, and where it lies. Pure.
//! - [`answers`]: writes the bodies of answers that are larger than a record; [`stored`]: reads them again.
//! - [`metrics`]: what is counted.

pub mod answers;
pub mod claim;
pub mod identity;
pub mod index;
pub mod keeping;
pub mod metrics;
pub mod partition;
pub mod reader;
pub mod recall;
pub mod replay;
pub mod restore;
pub mod restores;
pub mod shelf;
pub mod stored;
pub mod worker;
pub mod writer;
