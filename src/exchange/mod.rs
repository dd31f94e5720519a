//! What this instance saw of each request: one record, made when the request ends here, and told to whoever watches.
//!
//! A proxy's record goes from the head of a request to the last byte of its answer; a processor's from the intake of a record to
//! Kafka's acknowledgement of its reply. Metrics, the access log, traces and the console all show these records, and nothing else.
//!
//! - [`record`]: such a record, and its parts.
//! - [`role`]: as what an instance sees it; [`phase`]: what a request's time is divided into.
//! - [`under_way`]: a record that is still written. However its request ends, it is told once.
//! - [`trace`]: the trace that it belongs to, and which traces are recorded.
//! - [`sink`]: where the records go.
//! - [`metrics`]: what is counted of them, and [`exemplars`]: one that stands for many; [`access_log`]: the line that is written of each.

pub mod access_log;
pub mod exemplars;
pub mod metrics;
pub mod phase;
pub mod record;
pub mod role;
pub mod sink;
pub mod trace;
pub mod under_way;

pub use phase::Phase;
pub use record::{Attempt, ByKey, Ending, Exchange, Id, RecordPosition};
pub use role::Role;
pub use sink::{Exchanges, Watcher};
pub use trace::{Sampler, Trace};
pub use under_way::UnderWay;
