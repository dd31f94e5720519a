//! What the record of a request says that runs once.

use crate::wire::frame::{Own, number};
use crate::wire::headers;
use crate::wire::idempotency::identity::Fingerprint;
use crate::wire::idempotency::{Idempotency, Store};
use crate::wire::message::RawRecord;

impl Idempotency {
    pub(in crate::wire) fn put(&self, own: &mut Own) {
        own.put(headers::KHP_IDEMPOTENCY_FINGERPRINT, self.fingerprint.to_text());
        own.put(headers::KHP_IDEMPOTENCY_TTL, self.ttl_ms.to_string());
        own.put(headers::KHP_IDEMPOTENCY_STORE, self.store.as_str());
    }

    /// `None`: the request may run as often as it comes.
    pub(in crate::wire) fn read(record: &RawRecord) -> Result<Option<Self>, String> {
        let Some(fingerprint) = record.header(headers::KHP_IDEMPOTENCY_FINGERPRINT) else {
            return Ok(None);
        };
        let illegal = |name: &str| format!("{name} is missing or not legal");
        let fingerprint =
            Fingerprint::from_text(fingerprint).ok_or_else(|| illegal(headers::KHP_IDEMPOTENCY_FINGERPRINT))?;
        let ttl_ms = record.header(headers::KHP_IDEMPOTENCY_TTL).and_then(|ttl| number(ttl));
        let store = match record.header(headers::KHP_IDEMPOTENCY_STORE) {
            None => Some(Store::default()),
            Some(text) => Store::from_text(text),
        };
        if record.key.as_ref().is_none_or(|key| key.is_empty()) {
            return Err(format!("{} without a key", headers::KHP_IDEMPOTENCY_FINGERPRINT));
        }
        Ok(Some(Idempotency {
            fingerprint,
            ttl_ms: ttl_ms.ok_or_else(|| illegal(headers::KHP_IDEMPOTENCY_TTL))?,
            store: store.ok_or_else(|| illegal(headers::KHP_IDEMPOTENCY_STORE))?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(key: Option<&'static str>, fields: &[(&'static str, &'static str)]) -> RawRecord {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        RawRecord {
            key: key.map(bytes),
            headers: fields
                .iter()
                .map(|(name, value)| (bytes(name), Some(bytes(value))))
                .collect(),
            ..RawRecord::empty(&"payments-requests".into())
        }
    }

    #[test]
    fn half_a_mark_is_malformed() {
        let fingerprint = (headers::KHP_IDEMPOTENCY_FINGERPRINT, "00112233445566778899aabbccddeeff");
        let ttl = (headers::KHP_IDEMPOTENCY_TTL, "1000");
        let read = |key, fields: &[_]| Idempotency::read(&record(key, fields));
        assert_eq!(read(Some("k"), &[]), Ok(None));
        assert_eq!(read(Some("k"), &[ttl]), Ok(None));
        let whole = read(Some("k"), &[fingerprint, ttl]).unwrap().unwrap();
        assert_eq!((whole.ttl_ms, whole.store), (1000, Store::All));
        for (key, fields) in [
            (None, vec![fingerprint, ttl]),
            (Some(""), vec![fingerprint, ttl]),
            (Some("k"), vec![fingerprint]),
            (Some("k"), vec![(headers::KHP_IDEMPOTENCY_FINGERPRINT, "short"), ttl]),
            (Some("k"), vec![fingerprint, (headers::KHP_IDEMPOTENCY_TTL, "-1")]),
            (
                Some("k"),
                vec![fingerprint, ttl, (headers::KHP_IDEMPOTENCY_STORE, "some")],
            ),
        ] {
            assert!(read(key, &fields).is_err(), "{key:?} {fields:?}");
        }
    }
}
