//! Requests that run once for each `Idempotency-Key`: what their records say, and what is remembered of them.
//!
//! - [`identity`]: whose key it is, and which request came with it first.
//! - [`fields`]: what a request's record says.
//! - [`memory`]: a record of the topic that remembers.

pub mod fields;
pub mod identity;
pub mod memory;

use crate::wire::idempotency::identity::Fingerprint;

/// Which answers below 500 are kept. One of 500 and more never is: its request may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Store {
    /// Those below 400.
    Success,
    /// Those of 400 and more, too.
    #[default]
    All,
}

impl Store {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Store::Success => "success",
            Store::All => "all",
        }
    }

    /// Reads what `as_str` writes.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        [Store::Success, Store::All]
            .into_iter()
            .find(|store| store.as_str().as_bytes() == text)
    }

    /// Whether an answer with this status is kept.
    pub const fn keeps(self, status: u16) -> bool {
        match self {
            Store::Success => status < 400,
            Store::All => status < 500,
        }
    }
}

/// A request that runs once. Its key is that of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    pub fingerprint: Fingerprint,
    /// How long it is remembered, in ms.
    pub ttl_ms: u64,
    pub store: Store,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_answers_are_kept() {
        for (status, success, all) in [
            (200, true, true),
            (303, true, true),
            (404, false, true),
            (500, false, false),
        ] {
            assert_eq!(
                (Store::Success.keeps(status), Store::All.keeps(status)),
                (success, all),
                "{status}"
            );
        }
        for store in [Store::Success, Store::All] {
            assert_eq!(Store::from_text(store.as_str().as_bytes()), Some(store));
        }
        assert_eq!(Store::from_text(b"some"), None);
    }
}
