//! What every record of the `native` format has in common: its version, headers of ours before those of HTTP, and numbers as text.

use std::borrow::Cow;

use bytes::Bytes;

use crate::wire::headers;
use crate::wire::http::{self, MAX_HEADERS};
use crate::wire::message::{Fields, RawRecord};

/// The format's version.
pub const VERSION: &[u8] = b"1";
/// Of a request whose body lies elsewhere. Who knows version 1 alone would take its body for an empty one.
pub const VERSION_ELSEWHERE: &[u8] = b"2";

/// A null header, to be read as an empty one.
static NULL: Bytes = Bytes::new();

/// The headers that lead, written in the order in which they are put.
pub struct Own(pub Fields);

impl Own {
    pub fn put(&mut self, name: &'static str, value: impl Into<Bytes>) {
        self.0.push((Cow::Borrowed(name), value.into()));
    }

    pub fn put_some(&mut self, name: &'static str, value: Option<impl Into<Bytes>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    pub fn and(mut self, fields: Fields) -> Fields {
        self.0.extend(headers::end_to_end(fields, &[]));
        self.0
    }
}

/// Checks what makes the rest of the record worth reading.
pub fn check_frame(record: &RawRecord) -> Result<(), String> {
    check_frame_of(record, VERSION)
}

/// The same of a record that must have another version.
pub fn check_frame_of(record: &RawRecord, expected: &[u8]) -> Result<(), String> {
    if record.headers.len() > MAX_HEADERS {
        return Err(format!("more than {MAX_HEADERS} headers"));
    }
    match record.header(headers::KHP_VERSION) {
        Some(version) if version != expected => Err("unknown khp-version".into()),
        _ => Ok(()),
    }
}

pub fn http_fields(record: &RawRecord) -> Result<Fields, String> {
    let fields = record.headers.iter();
    http::read_fields(fields.map(|(name, value)| (&name[..], value.as_ref().unwrap_or(&NULL))))
}

/// A decimal number.
pub fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
