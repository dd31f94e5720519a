//! Which requests run once, and by which key.

use bytes::Bytes;

use crate::settings::Memory;
use crate::wire::Request;
use crate::wire::idempotency::identity::{BodyDigest, Fingerprint};
use crate::wire::idempotency::{Idempotency, Store};

/// How long a request is remembered by its correlation id.
const DEDUPLICATED_MS: u64 = 10 * 60 * 1000;

/// By what a request is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key of its memory record.
    pub key: Bytes,
    /// The same key with another one is another request.
    pub fingerprint: Fingerprint,
    pub ttl_ms: u64,
    pub store: Store,
    /// A client has given the key. Otherwise it is the correlation id, which repeats only where a record does.
    pub of_client: bool,
}

impl Identity {
    /// `None`: the request runs as often as it comes.
    pub fn of(request: &Request, memory: &Memory) -> Option<Self> {
        match (request.idempotency, &request.key) {
            (
                Some(Idempotency {
                    fingerprint,
                    ttl_ms,
                    store,
                }),
                Some(key),
            ) => Some(Identity {
                key: key.clone(),
                fingerprint,
                ttl_ms: ttl_ms.min(memory.retention.as_millis() as u64),
                store,
                of_client: true,
            }),
            _ if memory.deduplicate => Some(Identity {
                key: [b"id:", &request.correlation_id[..]].concat().into(),
                fingerprint: BodyDigest::default().fingerprint("", ""),
                ttl_ms: DEDUPLICATED_MS,
                store: Store::All,
                of_client: false,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn request(keyed: bool) -> Request {
        let idempotency = Idempotency {
            fingerprint: Fingerprint([1; 16]),
            ttl_ms: u64::MAX,
            store: Store::Success,
        };
        Request {
            correlation_id: Bytes::from_static(b"id"),
            key: Some(Bytes::from_static(b"k")),
            idempotency: keyed.then_some(idempotency),
            ..Request::default()
        }
    }

    #[test]
    fn a_clients_key_comes_first_then_the_correlation_id() {
        let memory = |deduplicate| Memory {
            deduplicate,
            retention: Duration::from_secs(60),
            ..Memory::default()
        };
        let keyed = Identity::of(&request(true), &memory(true)).unwrap();
        assert_eq!(
            (&keyed.key[..], keyed.ttl_ms, keyed.of_client),
            (&b"k"[..], 60_000, true)
        );
        let id = Identity::of(&request(false), &memory(true)).unwrap();
        assert_eq!(
            (&id.key[..], id.ttl_ms, id.of_client),
            (&b"id:id"[..], DEDUPLICATED_MS, false)
        );
        assert_eq!(Identity::of(&request(false), &memory(false)), None);
    }
}
