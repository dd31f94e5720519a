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

/// True if a text is a host with an optional port, as `Host` and the authority of a target must be (RFC 9110 7.2, RFC 3986 3.2.2).
pub fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((literal, port)) => return is_ip_literal(literal) && is_port(port),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    !host.is_empty() && is_reg_name(host.as_bytes()) && is_port(port)
}

/// Nothing, or a colon and digits, of which there may be none.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some("") => true,
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => text.is_empty(),
    }
}

/// An address of IPv6, without a zone, which means nothing on another machine. Later versions do not exist.
fn is_ip_literal(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Unreserved and percent-encoded characters, and sub-delimiters.
fn is_reg_name(mut text: &[u8]) -> bool {
    loop {
        text = match text {
            [] => return true,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
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
        let is_listed = |name: &str| listed.iter().any(|option| option.eq_ignore_ascii_case(name.as_bytes()));
        fields.retain(|(name, _)| !(is_listed(name) && headers::may_be_dropped(name)));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        for text in [
            "shop.example",
            "shop.example:8080",
            "127.0.0.1",
            "[::1]",
            "[2001:db8::1]:443",
            "a_b",
            "shop:",
            "%41.example",
            "a,b",
            "xn--caf-dma.example",
        ] {
            assert!(is_authority(text), "{text}");
        }
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "a?b",
            "a#b",
            "a\\b",
            "<a>",
            "\"a\"",
            "a:b",
            "a:80:90",
            "a:65536",
            "a:-1",
            "a:+1",
            "::1",
            "[::1",
            "[::1]x",
            "[a]",
            "[fe80::1%25eth0]",
            "%4",
            "%zz",
            "caf\u{e9}",
            "a\tb",
            "http://a",
            "a:80/",
        ] {
            assert!(!is_authority(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_authority_holds_nothing_that_ends_it(text in "\\PC{0,20}") {
            if is_authority(&text) {
                let ends = |c: char| "/?#@\\ <>\"".contains(c) || c.is_control() || !c.is_ascii();
                prop_assert!(!text.contains(ends), "{text}");
                prop_assert!(format!("http://{text}/").parse::<actix_web::http::Uri>().is_ok() || text.ends_with(':'), "{text}");
            }
        }
    }
}
