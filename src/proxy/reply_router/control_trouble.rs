//! Why a control topic cannot be used, and which of those the process is not ready without.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::kafka::cluster::admin::TopicError;

/// The control topics without which the process is not ready, and that cannot be used. Read by readiness.
#[derive(Clone, Default)]
pub struct MissingControl(Arc<ArcSwap<BTreeSet<Arc<str>>>>);

impl MissingControl {
    /// At the start, all that are required.
    pub fn new(required: impl IntoIterator<Item = Arc<str>>) -> Self {
        MissingControl(Arc::new(ArcSwap::from_pointee(required.into_iter().collect())))
    }

    /// The names of those topics.
    pub fn names(&self) -> Arc<BTreeSet<Arc<str>>> {
        self.0.load_full()
    }

    pub(super) fn show(&self, names: BTreeSet<Arc<str>>) {
        self.0.store(Arc::new(names));
    }
}

/// Why a control topic cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    #[error("Kafka refuses to let this service write to it: grant its user WRITE on this topic")]
    NotWritable,
    #[error("it is gone")]
    Gone,
    #[error(transparent)]
    NotOpened(#[from] TopicError),
}
