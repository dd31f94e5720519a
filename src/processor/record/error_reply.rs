//! The replies that a processor writes itself, since there is no answer of a backend to pass on.

use bytes::Bytes;

use crate::error::{PROBLEM_JSON, RequestError};
use crate::wire::correlation::id_text;
use crate::wire::{Fields, Record, ReplyError, Response, headers};

/// The reply for an error: its status and a problem document (RFC 9457).
pub fn error_response(correlation_id: Bytes, error: ReplyError) -> Response {
    let request_error = RequestError::from(error);
    let body = request_error.problem(Some(&id_text(&correlation_id)));
    let mut fields: Fields = vec![(headers::CONTENT_TYPE.into(), PROBLEM_JSON.into())];
    let retry_after = request_error.retry_after();
    fields.extend(retry_after.map(|seconds| (headers::RETRY_AFTER.into(), seconds.to_string().into())));
    Response {
        correlation_id,
        status: request_error.status().as_u16(),
        headers: fields,
        body: body.into(),
        error: Some(error),
    }
}

/// The small reply that takes the place of one too large for its topic; `None` where `reply` is that already.
pub fn too_large(reply: &Record) -> Option<Record> {
    let (format, id) = reply.format_and_id()?;
    let smaller = format.encode_response(error_response(id.clone(), ReplyError::ResponseTooLarge));
    (smaller.encoded_size() < reply.encoded_size()).then_some(smaller)
}
