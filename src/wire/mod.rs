//! Records as bytes, and nothing else: functions between what HTTP carries and what a Kafka record holds.
//!
//! Bytes stay bytes, repeats and order are kept, and no decoder panics on any input.
//!
//! - [`message`]: an HTTP message as it travels, and the record that carries it.
//! - [`headers`]: every header's name, and which fields pass from end to end.
//! - [`format`](mod@format): which of the two formats a record has; encoding and decoding in either.
//! - [`beside`]: what a request says beside HTTP.
//! - [`frame`]: what every native record has in common.
//! - [`native`]: the body is the value, the rest are record headers.
//! - [`idempotency`]: requests that run once for each key, and what is remembered of them.
//! - [`json`]: the envelope of kafka-http-proxy 1.0.1.
//! - [`http`]: what an HTTP message can carry, whatever a record claims.
//! - [`correlation`]: what pairs a reply with its request.
//! - [`reply_error`]: why a processor answered instead of its backend.
//! - [`stream`]: an answer in several records.
//! - [`control`]: what requesters and repliers tell each other about streams.
//! - [`body_pieces`]: a request's body in records of its own.
//! - [`dead_letter`]: a record that was given up.
//! - [`redrive`]: a dead letter on its way back.
//! - [`sealing`]: records that only who has the key can read or write.
//! - [`arena`]: one allocation for many small pieces.
//! - [`trace_parent`]: which trace a request belongs to.
//! - [`path`]: dot segments of a path.
//! - [`hex`]: bytes as hexadecimal text.
//! - [`clock`]: the time that deadlines are written in.

pub mod arena;
pub mod beside;
pub mod body_pieces;
pub mod clock;
pub mod control;
pub mod correlation;
pub mod dead_letter;
pub mod format;
pub mod frame;
pub mod headers;
pub mod hex;
pub mod http;
pub mod idempotency;
#[cfg(any(test, fuzzing))]
pub mod invariants;
pub mod json;
pub mod message;
pub mod native;
pub mod path;
pub mod redrive;
pub mod reply_error;
pub mod sealing;
pub mod stream;
pub mod trace_parent;

pub use arena::Arena;
pub use clock::now_ms;
pub use correlation::CorrelationId;
pub use format::{Format, decode_request, decode_response, reply_address};
pub use http::{check_target, is_authority, is_final_status};
pub use message::{Fields, RawFields, RawRecord, Record, Request, Response, WireError};
pub use reply_error::ReplyError;
pub use sealing::{Sealing, SharedSealing};
