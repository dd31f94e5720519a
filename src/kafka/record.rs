//! Converts librdkafka's messages to our records, and our headers to its own. The only place that reads a message's headers.

use std::ffi::CStr;
use std::sync::Arc;

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use rdkafka_sys as rdsys;

use crate::wire::{Arena, RawRecord};

/// Copies a consumed message out of librdkafka's buffers, into one allocation.
///
/// Headers are read through the C interface, as bytes: rdkafka's own reader panics on a name that is not UTF-8 (its `message.rs:284`), and
/// one foreign record must not kill a worker.
pub fn raw_record(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> RawRecord {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let (mut count, mut size) = (0, length(message.key()) + length(message.payload()));
    visit_headers(message, |name, value| {
        count += 1;
        size += name.len() + length(value);
    });
    let mut arena = Arena::with_capacity(size);
    let mut headers = Vec::with_capacity(count);
    visit_headers(message, |name, value| {
        headers.push((arena.copy(name), value.map(|value| arena.copy(value))))
    });
    RawRecord {
        topic: topic.clone(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(|key| arena.copy(key)),
        value: message.payload().map(|value| arena.copy(value)),
        headers,
    }
}

/// The first value of header `name`, if the message has one.
pub fn header<R>(message: &BorrowedMessage<'_>, name: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let mut read = Some(read);
    let mut found = None;
    visit_headers(message, |key, value| {
        if key == name
            && let (Some(value), Some(read)) = (value, read.take())
        {
            found = Some(read(value));
        }
    });
    found
}

fn visit_headers(message: &BorrowedMessage<'_>, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
    let mut headers = std::ptr::null_mut();
    // SAFETY: the message outlives this call, and so do the headers, which stay its own.
    let error = unsafe { rdsys::rd_kafka_message_headers(message.ptr(), &mut headers) };
    if error != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
        return;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: `headers` is valid as above; librdkafka answers NOENT past the last header.
        let error = unsafe { rdsys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
        if error != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        // SAFETY: librdkafka ends each name with a NUL and keeps name and value until the message is dropped.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // SAFETY: as above; null stands for a null value.
        let value = (!value.is_null()).then(|| unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) });
        visit(name, value);
    }
}

/// Record headers in librdkafka's form, freed unless a send took them over. They are built through the C interface because rdkafka's own
/// type takes only UTF-8 names, and copies each twice.
pub struct NativeHeaders(*mut rdsys::rd_kafka_headers_t);

// SAFETY: a list of its own, which nobody else points to and librdkafka ties to no thread.
unsafe impl Send for NativeHeaders {}

impl NativeHeaders {
    /// Copies names and values; a `None` is null.
    pub fn new<'a>(count: usize, headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Self {
        // SAFETY: librdkafka allocates, and aborts where it cannot.
        let native = unsafe { rdsys::rd_kafka_headers_new(count) };
        for (name, value) in headers {
            let (start, size) = value.map_or((std::ptr::null(), 0), |value| (value.as_ptr(), value.len()));
            // SAFETY: `native` is valid; librdkafka copies both within the call. It fails only for read-only headers.
            unsafe {
                rdsys::rd_kafka_header_add(
                    native,
                    name.as_ptr().cast(),
                    name.len() as isize,
                    start.cast(),
                    size as isize,
                )
            };
        }
        NativeHeaders(native)
    }

    pub fn as_ptr(&self) -> *mut rdsys::rd_kafka_headers_t {
        self.0
    }

    /// A send succeeded: librdkafka owns them now, and frees them.
    pub fn taken_over(self) {
        std::mem::forget(self);
    }
}

impl Drop for NativeHeaders {
    fn drop(&mut self) {
        // SAFETY: no send took them over, so they are ours to free.
        unsafe { rdsys::rd_kafka_headers_destroy(self.0) }
    }
}
