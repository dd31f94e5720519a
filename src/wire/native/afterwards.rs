//! What is known of a request only once it was encoded.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::{STREAM, put_place, version_of};
use crate::wire::beside::{BodyPlace, StreamOffer};
use crate::wire::clock::now_ms;
use crate::wire::frame::Own;
use crate::wire::headers;
use crate::wire::message::{Fields, Record};

/// Adds the reply partition to an encoded request: known only where replies are read, after encoding.
pub fn set_reply_partition(record: &mut Record, partition: i32) {
    let value = Bytes::copy_from_slice(&partition.to_be_bytes());
    record
        .headers
        .push((Cow::Borrowed(headers::KAFKA_REPLY_PARTITION), value));
}

/// Says in an encoded request that its body lies elsewhere.
pub fn set_place(record: &mut Record, place: BodyPlace) {
    replace(
        record,
        headers::KHP_VERSION,
        Bytes::from_static(version_of(Some(place))),
    );
    let mut own = Own(Fields::with_capacity(5));
    put_place(place, &mut own);
    record.headers.extend(own.0);
}

/// What an encoded request says that may be answered in several records. Written once for a process, and shared by all its requests.
#[derive(Debug, Clone)]
pub struct EncodedOffer {
    window: Bytes,
    instance: Bytes,
}

impl From<StreamOffer> for EncodedOffer {
    fn from(offer: StreamOffer) -> Self {
        EncodedOffer {
            window: offer.window.to_string().into(),
            instance: offer.instance.to_bytes(),
        }
    }
}

/// Adds to an encoded request that it may be answered in several records: whether it may is known only where replies are read.
pub fn set_offer(record: &mut Record, offer: &EncodedOffer) {
    let mut put = |name: &'static str, value: Bytes| record.headers.push((Cow::Borrowed(name), value));
    put(headers::KHP_ACCEPT, Bytes::from_static(STREAM));
    put(headers::KHP_WINDOW, offer.window.clone());
    put(headers::KHP_INSTANCE, offer.instance.clone());
}

/// Says anew how long the client still waits, where the record says it: for one that was not sent as soon as it was written. Its deadline
/// stays, so that deadline less timeout is when it was sent.
pub fn set_timeout(record: &mut Record, remaining: Duration) {
    replace(record, headers::KHP_TIMEOUT, remaining.as_millis().to_string().into());
}

/// Says anew until when the client waits, where the record says it: for one whose body took a time that does not count.
pub fn set_deadline(record: &mut Record, remaining: Duration) {
    let deadline_ms = now_ms() + remaining.as_millis() as i64;
    replace(record, headers::KHP_DEADLINE, deadline_ms.to_string().into());
    set_timeout(record, remaining);
}

fn replace(record: &mut Record, name: &str, value: Bytes) {
    let mut fields = record.headers.iter_mut();
    if let Some((_, old)) = fields.find(|(written, _)| written == name) {
        *old = value;
    }
}
