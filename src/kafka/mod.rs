//! Everything that speaks to librdkafka: the only place where its keys, clients and threads are known.
//!
//! - [`config`]: the types that clients are configured with.
//! - [`client`]: what every client shares: its properties and how it logs.
//! - [`codes`]: the table of error codes: which are final, which pass.
//! - [`cluster`]: what the cluster is asked: topics, groups, limits, and whether it is there.
//! - [`group_pump`]: the processor's consumer, a thread that feeds one worker.
//! - [`producer`]: the producers, and the gate that forms batches.
//! - [`reply_stream`]: the proxy's consumer of reply topics.
//! - [`fetch_queue`]: fetched records as they come, and what could not be read, with its place.
//! - [`detour`]: the way around a batch that cannot be unpacked.
//! - [`partitioner`]: which partition a key belongs to.
//! - [`range_reader`]: reads a range of one partition; [`range_readers`]: several of them, kept for the next range.
//! - [`record`]: librdkafka's messages made into our records, and back.
//! - [`topic_name`]: which names are legal, and which are internal.

pub mod client;
pub mod cluster;
pub mod codes;
pub mod config;
pub mod detour;
pub mod fetch_queue;
pub mod group_pump;
pub mod partitioner;
pub mod producer;
pub mod range_reader;
pub mod range_readers;
pub mod record;
pub mod reply_stream;
pub mod topic_name;
