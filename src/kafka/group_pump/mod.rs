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
//! - [`pump`]: the thread and its loop.
//! - [`request_topic`]: waits until the topic exists, before the loop.
//! - [`consumer`]: the group consumer, and the calls of librdkafka that rdkafka does not wrap.
//! - [`context`]: what librdkafka calls back.
//! - [`rebalance`]: what the group asks of this member, as values.
//! - [`assignment`]: the partitions that this member has, and how they come and go.
//! - [`partition`]: one of them: its queue, its window and its records under way.
//! - [`offsets`]: which offset of a partition may be committed.
//! - [`ahead`]: records of a partition that wait for their commit, for at-most-once delivery.
//! - [`commits`]: those commits, for all partitions.
//! - [`caught_up`]: whether a record can have waited in a backlog.

mod ahead;
mod assignment;
pub mod backlog;
mod caught_up;
mod commits;
pub mod completion;
mod consumer;
mod context;
pub mod handle;
pub mod intake;
mod offsets;
mod partition;
pub mod plan;
mod pump;
mod rebalance;
mod request_topic;

pub use self::ahead::AheadLimits;
pub use self::plan::PumpPlan;
pub use self::pump::{PumpError, spawn};
