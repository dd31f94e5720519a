//! The control topic: small records without a value, by which requesters steer the answers that are streamed to them, and both sides show
//! that they live. Alive records go to reply topics as well.

use bytes::Bytes;

use crate::wire::beside::InstanceId;
use crate::wire::frame::{Own, VERSION, check_frame, number};
use crate::wire::headers;
use crate::wire::message::{Fields, RawRecord, Record};
use crate::wire::stream::StreamId;

const CANCEL: &[u8] = b"cancel";
const CREDIT: &[u8] = b"credit";
const ALIVE: &[u8] = b"alive";

/// What a record of the control topic says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Nobody reads this answer: the call ends. `stream`: only this call of it, for a second one that nobody follows.
    Cancel {
        correlation_id: Bytes,
        stream: Option<StreamId>,
    },
    /// So many bytes of the body may have been sent so far: a total, so that a repeat or a loss does no harm.
    Credit {
        correlation_id: Bytes,
        stream: StreamId,
        total: u64,
    },
    /// This process lives.
    Alive { instance: InstanceId },
}

/// True if a record is one of these.
pub fn is_control(record: &RawRecord) -> bool {
    record.header(headers::KHP_CONTROL).is_some()
}

impl Control {
    /// Writes it.
    pub fn encode(self) -> Record {
        let mut own = Own(Fields::with_capacity(5));
        own.put(headers::KHP_VERSION, Bytes::from_static(VERSION));
        let mut put = |kind: &'static [u8]| own.put(headers::KHP_CONTROL, Bytes::from_static(kind));
        match self {
            Control::Cancel { correlation_id, stream } => {
                put(CANCEL);
                own.put(headers::KAFKA_CORRELATION_ID, correlation_id);
                own.put_some(headers::KHP_STREAM, stream.map(StreamId::to_bytes));
            }
            Control::Credit {
                correlation_id,
                stream,
                total,
            } => {
                put(CREDIT);
                own.put(headers::KAFKA_CORRELATION_ID, correlation_id);
                own.put(headers::KHP_STREAM, stream.to_bytes());
                own.put(headers::KHP_CREDIT, total.to_string());
            }
            Control::Alive { instance } => {
                put(ALIVE);
                own.put(headers::KHP_INSTANCE, instance.to_bytes());
            }
        }
        Record {
            key: None,
            value: Bytes::new(),
            headers: own.0,
        }
    }

    /// Whether that is the kind of a cancel.
    pub fn is_cancel(kind: &[u8]) -> bool {
        kind == CANCEL
    }

    /// Reads it.
    ///
    /// # Errors
    /// The record is malformed, or says what is not known here.
    pub fn decode(record: &RawRecord) -> Result<Self, String> {
        check_frame(record)?;
        let id = || {
            let id = record.header(headers::KAFKA_CORRELATION_ID).filter(|id| !id.is_empty());
            id.cloned()
                .ok_or_else(|| format!("no {}", headers::KAFKA_CORRELATION_ID))
        };
        let stream = record
            .header(headers::KHP_STREAM)
            .map(|id| StreamId::from_bytes(id).ok_or_else(|| format!("{} is not 8 bytes", headers::KHP_STREAM)))
            .transpose()?;
        match record.header(headers::KHP_CONTROL).map(|kind| &kind[..]) {
            Some(CANCEL) => Ok(Control::Cancel {
                correlation_id: id()?,
                stream,
            }),
            Some(CREDIT) => Ok(Control::Credit {
                correlation_id: id()?,
                stream: stream.ok_or_else(|| format!("no {}", headers::KHP_STREAM))?,
                total: record
                    .header(headers::KHP_CREDIT)
                    .and_then(|total| number(total))
                    .ok_or_else(|| format!("{} is not a number", headers::KHP_CREDIT))?,
            }),
            Some(ALIVE) => {
                let instance = record.header(headers::KHP_INSTANCE);
                let instance = instance.and_then(|instance| InstanceId::from_bytes(instance));
                instance
                    .map(|instance| Control::Alive { instance })
                    .ok_or_else(|| format!("{} is not 16 bytes", headers::KHP_INSTANCE))
            }
            _ => Err(format!("unknown {}", headers::KHP_CONTROL)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::invariants::sent;

    #[test]
    fn each_is_read_as_it_was_written() {
        let (correlation_id, stream) = (Bytes::from_static(b"id"), StreamId::new());
        for control in [
            Control::Cancel {
                correlation_id: correlation_id.clone(),
                stream: None,
            },
            Control::Cancel {
                correlation_id: correlation_id.clone(),
                stream: Some(stream),
            },
            Control::Credit {
                correlation_id,
                stream,
                total: u64::MAX,
            },
            Control::Alive {
                instance: InstanceId::new(),
            },
        ] {
            let record = sent(control.clone().encode());
            assert!(is_control(&record) && record.value.as_ref().is_some_and(Bytes::is_empty));
            assert_eq!(Control::decode(&record), Ok(control));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for kind in [&b"cancel"[..], b"credit", b"alive", b"", b"Cancel"] {
            let record = RawRecord {
                headers: vec![(
                    Bytes::from_static(headers::KHP_CONTROL.as_bytes()),
                    Some(Bytes::copy_from_slice(kind)),
                )],
                ..RawRecord::empty(&"orders-requests-control".into())
            };
            assert!(Control::decode(&record).is_err(), "{}", kind.escape_ascii());
        }
    }
}
