//! What a route is made of: its pattern, methods, record key and prefix. Parsers as in `value`.

use regex_lite::Regex;

use crate::settings::model::RecordKey;
use crate::settings::parse::value::Parsed;
use crate::wire::headers::name_is_legal;

/// As many as actix-router captures; it panics at more.
const MAX_SEGMENTS: usize = 16;

/// Methods are case-sensitive, so one of these in lower case would never match.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"];

/// A pattern of actix-router, checked so that `ResourceDef::new`, which panics at a bad one, takes it.
pub fn pattern(text: &str) -> Parsed<String> {
    const ALLOWED: &str = r#"a path such as "/orders", "/orders/{id}", "/orders/{id:[0-9]+}" or "/files/{tail}*" (ASCII, percent-encoded as clients send it)"#;
    let sound = text.starts_with('/') && parts(text).is_some_and(|parts| compiles(&parts));
    sound.then(|| text.to_owned()).ok_or(ALLOWED)
}

/// A method that a route takes.
pub fn method(text: &str) -> Parsed<String> {
    let miscased = METHODS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(text) && *known != text);
    let sound = name_is_legal(text) && text != "CONNECT" && !miscased;
    sound
        .then(|| text.to_owned())
        .ok_or("a method such as GET (upper and lower case differ; CONNECT is always refused)")
}

/// Where the key of a route's records comes from.
pub fn record_key(text: &str) -> Parsed<RecordKey> {
    match text.split_once(':') {
        Some(("header", name)) if name_is_legal(name) => Ok(RecordKey::Header(name.to_ascii_lowercase())),
        Some(("query", name)) if !name.is_empty() => Ok(RecordKey::Query(name.to_owned())),
        Some(("segment", name)) if !name.is_empty() => Ok(RecordKey::Segment(name.to_owned())),
        _ => Err("header:NAME, query:NAME or segment:NAME"),
    }
}

/// The beginning of a path, up to a slash that stays.
pub fn prefix(text: &str) -> Parsed<String> {
    let prefix = text.trim_end_matches('/');
    let sound = prefix.starts_with('/') && is_literal(prefix);
    sound
        .then(|| prefix.to_owned())
        .ok_or(r#"the beginning of a path such as "/api""#)
}

/// A path before others, with slashes around it.
pub fn folder(text: &str) -> Parsed<String> {
    let sound = text.starts_with('/') && text.ends_with('/') && text.len() > 1 && is_literal(text);
    sound
        .then(|| text.to_owned())
        .ok_or(r#"a path that begins and ends with a slash, such as "/.khp/results/""#)
}

/// Does every path of `pattern` begin with `prefix`, and go on with a slash or not at all?
pub fn begins_with(pattern: &str, prefix: &str) -> bool {
    let literal = &pattern[..pattern.find('{').unwrap_or(pattern.len())];
    pattern == prefix || literal.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// Has `pattern` a segment of this name?
pub fn has_segment(pattern: &str, wanted: &str) -> bool {
    let mut parts = parts(pattern).unwrap_or_default().into_iter();
    parts.any(|part| matches!(part, Part::Segment { name, .. } if name == wanted))
}

/// A piece of a pattern.
enum Part<'a> {
    Literal(&'a str),
    Segment { name: &'a str, regex: &'a str },
}

/// Takes a pattern apart where actix-router does.
fn parts(pattern: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let Some(braced) = rest.strip_prefix('{') else {
            let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            parts.push(Part::Literal(literal));
            rest = after;
            continue;
        };
        let (inner, after) = braced.split_at(closing_brace(braced)?);
        let after = &after[1..];
        let (name, regex, after) = match inner.split_once(':') {
            Some((name, regex)) => (name, regex, after),
            None if after == "*" => (inner, ".*", ""),
            None => (inner, "[^/]+", after),
        };
        parts.push(Part::Segment { name, regex });
        rest = after;
    }
    Some(parts)
}

/// The brace that closes the one before `text`; a regex may hold pairs of its own.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    text.find(|c| {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        open == 0
    })
}

/// Builds the regex that actix-router builds, with the engine that it uses; a group that a segment's own regex names would be one
/// more segment.
fn compiles(parts: &[Part<'_>]) -> bool {
    let mut regex = String::from("((?s-m)^");
    let mut segments = 0;
    for part in parts {
        match part {
            Part::Literal(literal) if !is_literal(literal) => return false,
            Part::Literal(literal) => regex.push_str(&regex_lite::escape(literal)),
            // On its own as well: `x)|(y` would reach beyond its segment.
            Part::Segment { regex: own, .. } if Regex::new(own).is_err() => return false,
            Part::Segment { name, regex: own } => {
                segments += 1;
                regex.push_str(&format!("(?P<{name}>{own})"));
            }
        }
    }
    regex.push_str(")$");
    segments <= MAX_SEGMENTS
        && Regex::new(&regex).is_ok_and(|regex| regex.capture_names().flatten().count() == segments)
}

/// Characters that a path can hold unescaped. A star has a meaning only after the last segment.
fn is_literal(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"{}*?#".contains(&byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use actix_router::ResourceDef;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for text in [
            "/",
            "/orders",
            "/orders/",
            "/orders/{id}",
            "/orders/{id}/lines/{line}",
            r"/orders/{id:\d{4}}.json",
            "/files/{tail}*",
            "/{tail}*",
            "/a%20b//c/../{x}",
        ] {
            assert_eq!(pattern(text).as_deref(), Ok(text));
            let _ = ResourceDef::new(text);
        }
        for text in [
            "",
            "orders",
            "*",
            "/files/*",
            "/files/{a}*/b",
            "/{a",
            "/a}",
            "/{}",
            "/{1a}",
            "/{a b}",
            "/{a}/{a}",
            "/{a:[}",
            "/{a:x)(y}",
            "/{a:x)|(y}",
            "/{a:(?P<b>x)}",
            "/{a:(?x)#}",
            "/{a:.*}*",
            "/a b",
            "/ä",
            "/a?b=1",
            "/a#b",
            &"/{a}".repeat(17),
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
        let many: String = (0..16).map(|number| format!("/{{s{number}}}")).collect();
        assert!(pattern(&many).is_ok());
    }

    proptest! {
        /// `ResourceDef::new` panics at what it does not take.
        #[test]
        fn what_is_accepted_makes_a_resource(text in r"/([a-z*]|\{|\}|:|\{[a-c]\}|\{[a-c]:|[()\[\]|?P<>#^$\\d.+]|/){0,12}") {
            if pattern(&text).is_ok() {
                let _ = ResourceDef::new(text.as_str());
            }
        }
    }

    #[test]
    fn methods_are_told_apart_by_case() {
        assert!(["GET", "PURGE", "purge"].iter().all(|text| method(text).is_ok()));
        assert!(
            ["", "get", "Post", "CONNECT", "A B"]
                .iter()
                .all(|text| method(text).is_err())
        );
    }

    #[test]
    fn record_keys() {
        assert_eq!(
            record_key("header:X-Customer"),
            Ok(RecordKey::Header("x-customer".into()))
        );
        assert_eq!(record_key("query:a:b"), Ok(RecordKey::Query("a:b".into())));
        assert_eq!(record_key("segment:id"), Ok(RecordKey::Segment("id".into())));
        for text in ["", "id", "header:", "header:a b", "query:", "segment:", "cookie:a"] {
            assert!(record_key(text).is_err(), "{text}");
        }
        assert!(has_segment("/a/{id:[0-9]{2}}/{tail}*", "id") && has_segment("/a/{tail}*", "tail"));
        assert!(!has_segment("/a/{id}", "a"));
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix("/api/").as_deref(), Ok("/api"));
        assert!(
            ["", "/", "api", "/{a}", "/a b"]
                .iter()
                .all(|text| prefix(text).is_err())
        );
        assert!(begins_with("/api", "/api") && begins_with("/api/{tail}*", "/api") && begins_with("/api/", "/api"));
        assert!(!begins_with("/apis", "/api") && !begins_with("/api{x}", "/api") && !begins_with("/{x}", "/api"));
        assert!(!begins_with("/ap", "/api"));
    }
}
