//! The json format: a proxy that writes it, and its envelope.

use serde_json::Value;

use super::names::Topics;
use super::records::Record;
use super::spec::{Spec, proxy};

/// A proxy that writes json.
pub fn json_proxy(topics: &Topics) -> Spec {
    proxy(topics).set("wire_format", "json")
}

/// A record's value, parsed.
pub fn envelope(record: &Record) -> Value {
    serde_json::from_slice(record.value.as_deref().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {record:?}"))
}
