//! Converts librdkafka's messages to our records, and our headers to its own. The only place that reads a message's headers.

use std::ffi::CStr;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::message::BorrowedMessage;
use rdkafka_sys as rdsys;
use rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;

use crate::wire::{Arena, RawFields, RawRecord, headers};

/// What is kept of a record that is too large: enough to say what it was, and to answer whoever waits for it.
const KEPT: usize = 64 << 10;

/// A message as it lies in librdkafka's buffers.
///
/// Headers are read through the C interface, as bytes: rdkafka's own reader panics on a name that is not UTF-8 (its `message.rs:284`), and
/// one foreign record must not kill a worker.
#[derive(Clone, Copy)]
pub struct Fetched<'a>(&'a rdsys::rd_kafka_message_t);

/// A record that was copied out of librdkafka's buffers.
pub struct Copied {
    pub record: RawRecord,
    /// Its bytes, where they are more than is taken: then the record is cut, and says so (`khp-truncated`).
    pub oversized: Option<usize>,
}

impl<'a> From<&'a BorrowedMessage<'_>> for Fetched<'a> {
    fn from(message: &'a BorrowedMessage<'_>) -> Self {
        // SAFETY: the pointer is never null, and what it points to lives as long as the message.
        Fetched(unsafe { &*message.ptr() })
    }
}

impl<'a> Fetched<'a> {
    /// # Safety
    /// The message, and the event that it came with, live as long as `'a`.
    pub unsafe fn new(message: &'a rdsys::rd_kafka_message_t) -> Self {
        Fetched(message)
    }

    pub fn topic(&self) -> &'a str {
        // SAFETY: a message has its topic, whose name ends with a NUL and lives as long as the client.
        let name = unsafe { CStr::from_ptr(rdsys::rd_kafka_topic_name(self.0.rkt)) };
        // Names of topics are ASCII.
        name.to_str().unwrap_or_default()
    }

    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka's pointer and length belong together, and live as long as the message.
        unsafe { part(self.0.key, self.0.key_len) }
    }

    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: as in `key`.
        unsafe { part(self.0.payload, self.0.len) }
    }

    /// Unix time in ms, where it has one.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives, and so does the out pointer.
        let ms = unsafe { rdsys::rd_kafka_message_timestamp(self.0, &mut kind) };
        (ms != -1 && kind != rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(ms)
    }

    /// How many headers there are, and the bytes of key, value and headers.
    fn measure(&self) -> (usize, usize) {
        let (mut count, mut size) = (0, length(self.key()) + length(self.value()));
        self.visit_headers(|name, value| {
            count += 1;
            size += name.len() + length(value);
        });
        (count, size)
    }

    /// Copies it, into one allocation. One of more than `limit` bytes is cut before anything is copied: it takes `KEPT` bytes.
    pub fn copy(&self, topic: &Arc<str>, limit: usize) -> Copied {
        // A large value needs no look at the headers, which librdkafka copies to show them.
        let (count, size) = match length(self.value()).saturating_add(length(self.key())) {
            size if size > limit => (0, size),
            _ => self.measure(),
        };
        match size > limit {
            true => Copied {
                record: self.cut(topic),
                oversized: Some(size),
            },
            false => Copied {
                record: self.whole(topic, count, size),
                oversized: None,
            },
        }
    }

    fn whole(&self, topic: &Arc<str>, count: usize, size: usize) -> RawRecord {
        let mut arena = Arena::with_capacity(size);
        let mut headers = Vec::with_capacity(count);
        self.visit_headers(|name, value| headers.push((arena.copy(name), value.map(|value| arena.copy(value)))));
        let (key, value) = (self.key(), self.value());
        self.record(
            topic,
            key.map(|key| arena.copy(key)),
            value.map(|value| arena.copy(value)),
            headers,
        )
    }

    /// Headers as far as they fit, then the beginning of the value.
    fn cut(&self, topic: &Arc<str>) -> RawRecord {
        let mut room = KEPT;
        let mut headers = Vec::new();
        self.visit_headers(|name, value| {
            let size = name.len() + length(value);
            if size <= room {
                room -= size;
                headers.push((Bytes::copy_from_slice(name), value.map(Bytes::copy_from_slice)));
            }
        });
        let key = self.key().filter(|key| key.len() <= room).map(Bytes::copy_from_slice);
        room -= length(key.as_deref());
        let value = self
            .value()
            .map(|value| Bytes::copy_from_slice(&value[..value.len().min(room)]));
        headers.push((
            Bytes::from_static(headers::KHP_TRUNCATED.as_bytes()),
            Some(length(self.value()).to_string().into()),
        ));
        self.record(topic, key, value, headers)
    }

    fn record(&self, topic: &Arc<str>, key: Option<Bytes>, value: Option<Bytes>, headers: RawFields) -> RawRecord {
        RawRecord {
            topic: topic.clone(),
            partition: self.partition(),
            offset: self.offset(),
            timestamp: self.timestamp(),
            key,
            value,
            headers,
        }
    }

    /// Whether it has more bytes than `limit`. Nothing is copied of one with a large value.
    pub fn exceeds(&self, limit: usize) -> bool {
        length(self.value()) + length(self.key()) > limit || self.measure().1 > limit
    }

    /// The first value of header `name`, if the message has one.
    pub fn header<R>(&self, name: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let mut read = Some(read);
        let mut found = None;
        self.visit_headers(|key, value| {
            if key == name
                && let (Some(value), Some(read)) = (value, read.take())
            {
                found = Some(read(value));
            }
        });
        found
    }

    /// Shows each header, in order.
    pub fn visit_headers(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the message outlives this call, and so do the headers, which stay its own.
        let error = unsafe { rdsys::rd_kafka_message_headers(self.0, &mut headers) };
        if error != NO_ERROR || headers.is_null() {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: `headers` is valid as above; librdkafka answers NOENT past the last header.
            let error = unsafe { rdsys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
            if error != NO_ERROR {
                return;
            }
            // SAFETY: librdkafka ends each name with a NUL and keeps name and value until the message is dropped.
            let name = unsafe { CStr::from_ptr(name) }.to_bytes();
            // SAFETY: as above; null stands for a null value.
            let value = (!value.is_null()).then(|| unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) });
            visit(name, value);
        }
    }
}

/// Copies a consumed message out of librdkafka's buffers, however large it is.
pub fn raw_record(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> RawRecord {
    Fetched::from(message).copy(topic, usize::MAX).record
}

fn length(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

/// # Safety
/// Pointer and length belong together, and live as long as `'a`.
unsafe fn part<'a>(pointer: *const std::ffi::c_void, size: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise; null stands for null.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) })
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
