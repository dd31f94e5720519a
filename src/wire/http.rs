//! What an HTTP message can carry: the rules that both formats' decoders share, whatever a record claims.

use std::borrow::Cow;

use bytes::Bytes;

use crate::wire::headers;
use crate::wire::message::Fields;

/// The most headers a record may have, ours included. HTTP/1 parsers stop well before (actix-http at 96): more is no
/// honest message.
pub const MAX_HEADERS: usize = 1_000;

/// The year 9999, in ms: later deadlines (`Long.MAX_VALUE` for "never") count as this one, so that sums with them do not
/// overflow.
pub const MAX_TIME_MS: i64 = 253_402_300_799_999;

/// Checks what becomes the request line: nothing in it may end it, or make one request two (RFC 9112 3, 11.2).
pub fn check_target(method: &str, path: &str) -> Result<(), String> {
    // CONNECT has no path (RFC 9110 9.3.6), and what follows its answer would be a tunnel.
    if !headers::name_is_legal(method) || method == "CONNECT" {
        return Err(":method is not a legal method".into());
    }
    if !(path.starts_with('/') || (path == "*" && method == "OPTIONS")) {
        return Err(":path does not begin with a slash".into());
    }
    match path.bytes().any(|byte| byte <= b' ' || byte == b'#' || byte == 0x7f) {
        true => Err(":path has a fragment, a space or a control byte".into()),
        false => Ok(()),
    }
}

/// True if a status ends a request: an interim (1xx) response is not an answer.
pub fn is_final_status(status: &u16) -> bool {
    (200..=599).contains(status)
}

/// Collects the end-to-end fields, names in lower case; reserved ones and those of one hop are left out.
pub fn read_fields<'a>(raw: impl Iterator<Item = (&'a [u8], &'a Bytes)> + Clone) -> Result<Fields, String> {
    let mut fields = Fields::with_capacity(raw.size_hint().0);
    for (name, value) in raw.clone() {
        let problem = |what| format!("header {}: {what}", name[..name.len().min(64)].escape_ascii());
        let text = std::str::from_utf8(name).map_err(|_| problem("its name is not UTF-8"))?;
        if headers::is_reserved(text) {
            continue;
        }
        if !headers::name_is_legal(text) {
            return Err(problem("its name is not a token"));
        }
        if !headers::value_is_legal(value) {
            return Err(problem("its value has control bytes"));
        }
        if !headers::is_hop_by_hop(text) {
            fields.push((Cow::Owned(text.to_ascii_lowercase()), value.clone()));
        }
    }
    let connection = raw.filter(|(name, _)| name.eq_ignore_ascii_case(headers::CONNECTION.as_bytes()));
    let listed = headers::connection_options(connection.map(|(_, value)| &value[..]));
    if listed.len() > MAX_HEADERS {
        return Err("connection lists too many names".into());
    }
    if !listed.is_empty() {
        fields.retain(|(name, _)| !listed.iter().any(|option| option.eq_ignore_ascii_case(name.as_bytes())));
    }
    Ok(fields)
}
