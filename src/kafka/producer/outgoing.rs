//! A record in the form that librdkafka takes. The only place that calls its produce function.

use std::ffi::CString;

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::util::IntoOpaque;
use rdkafka_sys as rdsys;

use crate::kafka::record::NativeHeaders;
use crate::wire::dead_letter::DeadLetter;
use crate::wire::{RawFields, Record};

/// `RD_KAFKA_PARTITION_UA`: the partitioner chooses.
const PARTITION_UNASSIGNED: i32 = -1;

/// A record for Kafka, with the ticket that comes back with its delivery report.
pub struct Outgoing<T> {
    topic: CString,
    partition: Option<i32>,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: NativeHeaders,
    bytes: usize,
    ticket: T,
}

impl<T: IntoOpaque> Outgoing<T> {
    /// `partition` `None`: by key, else any. Key and value are shared, headers are copied.
    ///
    /// # Errors
    /// That is no topic's name; the ticket comes back.
    pub fn record(topic: &str, partition: Option<i32>, record: &Record, ticket: T) -> Result<Self, T> {
        let fields = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), Some(&value[..])));
        let headers = NativeHeaders::new(record.headers.len(), fields);
        let (key, value) = (record.key.clone(), Some(record.value.clone()));
        Self::new(topic, partition, (key, value), headers, record.encoded_size(), ticket)
    }

    /// A record whose header names and nulls are kept as they were read.
    ///
    /// # Errors
    /// As `record`.
    pub fn dead_letter(topic: &str, letter: &DeadLetter, ticket: T) -> Result<Self, T> {
        let parts = (letter.key.clone(), letter.value.clone());
        Self::raw(topic, None, parts, &letter.headers, ticket)
    }

    /// Any bytes and nulls.
    ///
    /// # Errors
    /// As `record`.
    pub fn raw(
        topic: &str,
        partition: Option<i32>,
        (key, value): (Option<Bytes>, Option<Bytes>),
        headers: &RawFields,
        ticket: T,
    ) -> Result<Self, T> {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let of_headers: usize = headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        let bytes = length(&key) + length(&value) + of_headers;
        let fields = headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
        let headers = NativeHeaders::new(headers.len(), fields);
        Self::new(topic, partition, (key, value), headers, bytes, ticket)
    }

    fn new(
        topic: &str,
        partition: Option<i32>,
        (key, value): (Option<Bytes>, Option<Bytes>),
        headers: NativeHeaders,
        bytes: usize,
        ticket: T,
    ) -> Result<Self, T> {
        let Ok(topic) = CString::new(topic) else {
            return Err(ticket);
        };
        Ok(Outgoing {
            topic,
            partition,
            key,
            value,
            headers,
            bytes,
            ticket,
        })
    }

    /// Its approximate size in a batch.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives it up, without sending it.
    pub fn into_ticket(self) -> T {
        self.ticket
    }

    /// Queues it in librdkafka, which copies it; never blocks.
    ///
    /// # Errors
    /// Nothing was sent, and the ticket comes back: librdkafka's queue is full, the record is too large, the topic or partition is not
    /// known, or the client is dead.
    pub fn produce<C: ClientContext>(self, client: &Client<C>) -> Result<(), (RDKafkaErrorCode, T)> {
        use rdsys::rd_kafka_vtype_t as V;
        let part = |bytes: &Option<Bytes>| {
            bytes
                .as_ref()
                .map_or((std::ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()))
        };
        let ((key, key_size), (value, value_size)) = (part(&self.key), part(&self.value));
        let opaque = self.ticket.into_ptr();
        // SAFETY: the arguments are those rd_kafka_producev documents for each tag, and live through the call; F_COPY makes librdkafka
        // copy key and value. A dangling pointer of an empty slice is not read, and tells empty from null.
        let code = unsafe {
            rdsys::rd_kafka_producev(
                client.native_ptr(),
                V::RD_KAFKA_VTYPE_TOPIC,
                self.topic.as_ptr(),
                V::RD_KAFKA_VTYPE_PARTITION,
                self.partition.unwrap_or(PARTITION_UNASSIGNED),
                V::RD_KAFKA_VTYPE_MSGFLAGS,
                rdsys::RD_KAFKA_MSG_F_COPY,
                V::RD_KAFKA_VTYPE_KEY,
                key,
                key_size,
                V::RD_KAFKA_VTYPE_VALUE,
                value,
                value_size,
                V::RD_KAFKA_VTYPE_HEADERS,
                self.headers.as_ptr(),
                V::RD_KAFKA_VTYPE_OPAQUE,
                opaque,
                V::RD_KAFKA_VTYPE_END,
            )
        };
        if code == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            self.headers.taken_over();
            return Ok(());
        }
        // SAFETY: made by `into_ptr` above, and librdkafka did not take it.
        Err((code.into(), unsafe { T::from_ptr(opaque) }))
    }
}
