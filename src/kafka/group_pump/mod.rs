//! The processor's consumer of one request topic: an OS thread, the pump, that owns a group consumer and feeds one worker.
//!
//! What others use:
//! - [`plan`]: what one pump is to do.
//! - [`handle`]: the worker's and the supervisor's end of a pump.
//! - [`intake`]: a record on its way to the worker.
//! - [`completion`]: a record's end, on its way back.
//! - [`backlog`]: what lies before the consumer in one partition.
//!
//! What the pump is made of:
//! - [`thread`]: the pump's thread, from the consumer's connection to its close.
//! - [`pump`]: its loop.
//! - [`request_topic`]: waits until the topic exists, before the loop.
//! - [`consumer`]: the group consumer, and the calls of librdkafka that rdkafka does not wrap.
//! - [`context`]: what librdkafka calls back.
//! - [`rebalance`]: what the group asks of this member, as values.
//! - [`assignment`]: the partitions that this member has, and how they come and go.
//! - [`partition`]: one of them: its queue, its window and its records under way.
//! - [`opening`]: finds out where intake begins in partitions that are assigned; [`positions`]: decides it.
//! - [`identity`]: whether the request topic still is the one that it was.
//! - [`offsets`]: which offset of a partition may be committed, and what is done beyond it.
//! - [`ahead`]: records of a partition that wait for their commit, for at-most-once delivery.
//! - [`commits`]: the commits of all partitions.
//! - [`commit_metadata`], [`done_set`]: what a commit says beside its offset.
//! - [`error`]: why a pump ends before it was told to.

mod ahead;
mod assignment;
pub mod backlog;
mod commit_metadata;
mod commits;
pub mod completion;
mod consumer;
mod context;
mod done_set;
mod error;
pub mod handle;
pub mod identity;
pub mod intake;
mod offsets;
mod opening;
mod partition;
pub mod plan;
mod positions;
mod pump;
mod rebalance;
mod request_topic;
mod thread;
pub mod window;

pub use self::ahead::{AheadLimits, CanBegin};
pub use self::error::PumpError;
pub use self::plan::PumpPlan;
pub use self::thread::spawn;
