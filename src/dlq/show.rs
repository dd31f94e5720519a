//! `dlq show`: one letter in full, less what is secret.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::dlq::body::{self, Kept};
use crate::dlq::error::DlqError;
use crate::dlq::harmless::{MASK, is_harmless, is_harmless_member, without_query};
use crate::dlq::letter::Letter;
use crate::dlq::letters::Letters;
use crate::dlq::options::Show;
use crate::dlq::printable::{line, lines, value};
use crate::process::output;
use crate::settings::Settings;
use crate::wire::beside::BodyPlace;
use crate::wire::correlation::id_text;
use crate::wire::hex::hex;
use crate::wire::sealing::is_sealed;
use crate::wire::{Format, RawRecord, headers};

/// Of a body, unless all of it is asked for.
const BODY_SHOWN: usize = 4096;

pub fn run(settings: &Settings, show: &Show) -> Result<(), DlqError> {
    let shown = find(settings, show)?;
    let none = || DlqError::Usage(format!("there is no letter at {}; `dlq list` names them", show.place));
    output::print(shown.ok_or_else(none)?.text())?;
    Ok(())
}

/// A letter as it may be shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// `PARTITION:OFFSET`.
    place: String,
    /// When it was given up, RFC 3339.
    given_up: String,
    key: Option<String>,
    /// Names and values, in their order.
    headers: Vec<(String, String)>,
    /// As text, where it is text, with a note of its length.
    body: String,
    /// What is known of a body that is not in the letter.
    beside: Option<String>,
}

/// The letter at one place; `None`: there is none.
///
/// # Errors
/// Kafka does not answer, or refuses.
pub fn find(settings: &Settings, show: &Show) -> Result<Option<Shown>, DlqError> {
    let Some(letters) = Letters::open(settings)? else {
        return Ok(None);
    };
    let Some(record) = letters.at(show.place)? else {
        return Ok(None);
    };
    let letter = Letter {
        opened: letters.opened(&record),
        record,
        redriven: false,
    };
    let beside = body::place(&letter).map(|place| {
        let named = letter.original_topic().unwrap_or_default();
        let topic = body::topic_of(settings, &named);
        beside(place, &topic, letters.has_body(&topic, place))
    });
    Ok(Some(Shown {
        beside,
        ..shown(&letter, show)
    }))
}

/// What is told of a body that is not in the letter.
fn beside(place: BodyPlace, topic: &str, kept: Kept) -> String {
    let kept = match kept {
        Kept::Whole => "still there",
        Kept::Gone => "no longer there: the letter cannot be redriven",
        Kept::Unknown => "Kafka does not tell whether it is still there",
    };
    let BodyPlace {
        partition,
        first,
        last,
        length,
    } = place;
    let topic = line(topic);
    format!("(a body of {length} bytes in {topic}, partition {partition}, offsets {first} to {last}: {kept})\n")
}

impl Shown {
    fn text(&self) -> String {
        let mut text = format!("letter     {}\ngiven up   {}\n", self.place, self.given_up);
        if let Some(key) = &self.key {
            text += &format!("key        {key}\n");
        }
        text += "\n";
        for (name, shown) in &self.headers {
            text += &format!("{name}: {shown}\n");
        }
        text + "\n" + &self.body + self.beside.as_deref().unwrap_or_default()
    }
}

fn shown(letter: &Letter, show: &Show) -> Shown {
    let record = &letter.record;
    let content = letter.content();
    // Of an opened one the authenticated headers stand in both.
    let beside = |(name, _): &&(Bytes, _)| {
        letter
            .opened
            .as_ref()
            .is_none_or(|opened| opened.headers_named(&String::from_utf8_lossy(name)).next().is_none())
    };
    let sealed = letter.opened.iter().flat_map(|opened| &opened.headers);
    let headers = record.headers.iter().filter(beside).chain(sealed);
    let headers = headers.map(|(name, content)| {
        let shown = match content {
            None => "(null)".into(),
            Some(content) if show.reveal => header(name, content),
            Some(content) => harmless_header(name, content),
        };
        (value(name), shown)
    });
    let is_closed = is_sealed(record) && letter.opened.is_none();
    Shown {
        place: letter.place().to_string(),
        given_up: letter.time(),
        // A route takes it from a header or a query.
        key: (content.key.as_ref()).map(|key| if show.reveal { value(key) } else { MASK.into() }),
        headers: headers.collect(),
        body: match is_closed {
            true => {
                let size = record.value.as_ref().map_or(0, Bytes::len);
                format!("({size} bytes, sealed; no key of sealing.keys opens them)\n")
            }
            false => body_of(content, show),
        },
        beside: None,
    }
}

/// A header's value, masked unless its name is known.
fn harmless_header(name: &[u8], content: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    match std::str::from_utf8(content) {
        Ok(path) if name.eq_ignore_ascii_case(headers::PATH) => value(without_query(path).as_bytes()),
        _ if is_harmless(&name) => header(name.as_bytes(), content),
        _ => MASK.into(),
    }
}

/// A header's value as people read it: ours that are numbers or ids in bytes are translated.
fn header(name: &[u8], content: &[u8]) -> String {
    let is = |own: &str| name.eq_ignore_ascii_case(own.as_bytes());
    let number = match (content.len(), content) {
        (4, _)
            if is(headers::DLT_ORIGINAL_PARTITION)
                || is(headers::KAFKA_REPLY_PARTITION)
                || is(headers::KHP_BODY_PARTITION) =>
        {
            content
                .try_into()
                .ok()
                .map(|bytes| i64::from(i32::from_be_bytes(bytes)))
        }
        (8, _)
            if is(headers::DLT_ORIGINAL_OFFSET)
                || is(headers::DLT_ORIGINAL_TIMESTAMP)
                || is(headers::KHP_BODY_FIRST)
                || is(headers::KHP_BODY_LAST) =>
        {
            content.try_into().ok().map(i64::from_be_bytes)
        }
        _ => None,
    };
    match number {
        Some(number) => number.to_string(),
        None if is(headers::KAFKA_CORRELATION_ID) => line(&id_text(content)),
        None => value(content),
    }
}

fn body_of(record: &RawRecord, show: &Show) -> String {
    let Some(value) = record.value.as_deref() else {
        return "(no value: null)\n".into();
    };
    let masked = match Format::of(record) {
        Format::Json if !show.reveal => match masked_envelope(value) {
            Some(envelope) => Cow::Owned(envelope.into_bytes()),
            // Headers of a request may be in there, where no mask finds them.
            None if value.trim_ascii_start().starts_with(b"{") => {
                return format!("({} bytes of a broken envelope; --reveal shows them)\n", value.len());
            }
            None => Cow::Borrowed(value),
        },
        _ => Cow::Borrowed(value),
    };
    let limit = if show.full { usize::MAX } else { BODY_SHOWN };
    let mut text = match std::str::from_utf8(&masked) {
        Ok(text) if !text.contains('\0') => lines(&text[..boundary(text, limit)]),
        _ => format!("0x{}", hex(&masked[..masked.len().min(limit)])),
    };
    if !text.is_empty() {
        text += "\n";
    }
    match masked.len().saturating_sub(limit) {
        0 => text += &format!("({} bytes)\n", value.len()),
        more => text += &format!("({more} bytes more of {}; --full shows them)\n", value.len()),
    }
    text
}

/// The last place at or before `limit` where a character begins.
fn boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len()))
        .rfind(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The envelope with its members in alphabetical order, and what is not known to be harmless masked.
fn masked_envelope(value: &[u8]) -> Option<String> {
    let mut envelope: Value = serde_json::from_slice(value).ok().filter(Value::is_object)?;
    let masked = |value: &mut Value| *value = MASK.into();
    for (name, content) in envelope.as_object_mut().into_iter().flatten() {
        match (name.as_str(), content) {
            ("path", Value::String(path)) => *path = without_query(path).into_owned(),
            ("headers", Value::Object(fields)) => {
                let secret = fields.iter_mut().filter(|(name, _)| !is_harmless(name));
                secret.for_each(|(_, content)| masked(content));
            }
            ("header_list", Value::Array(fields)) => fields.iter_mut().for_each(|field| {
                let is_harmless = field.get(0).and_then(Value::as_str).is_some_and(is_harmless);
                match field.get_mut(1) {
                    Some(content) if !is_harmless => masked(content),
                    _ => {}
                }
            }),
            ("query_params", Value::Object(parameters)) => parameters.values_mut().for_each(masked),
            (_, Value::Null) => {}
            (name, _) if is_harmless_member(name) => {}
            (_, content) => masked(content),
        }
    }
    serde_json::to_string_pretty(&envelope).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::tests::record;

    fn shown_text(record: &RawRecord, reveal: bool, full: bool) -> String {
        let show = Show {
            place: "3:17".parse().unwrap(),
            reveal,
            full,
        };
        let letter = Letter {
            record: record.clone(),
            opened: None,
            redriven: false,
        };
        shown(&letter, &show).text()
    }

    #[test]
    fn headers_are_readable_and_credentials_masked() {
        let letter = record(
            &[
                (
                    "kafka_correlationId",
                    &[
                        0x24, 0x89, 0xe9, 0xad, 0x2e, 0xe2, 0x8e, 0, 0x8e, 0xc9, 0x32, 0xd5, 0xf6, 0x91, 0x81, 0xc0,
                    ],
                ),
                (":path", b"/x?access_token=s3cret"),
                ("Authorization", b"Bearer s3cret"),
                ("cookie", b"sid=s3cret"),
                ("x-whatever", b"s3cret"),
                ("user-agent", b"\0\xff"),
                ("kafka_dlt-original-offset", &[0, 0, 0, 0, 0, 0, 1, 2]),
            ],
            b"line 1\nline 2\x1b[2J",
        );
        let text = shown_text(&letter, false, false);
        for part in [
            "kafka_correlationId: 2489e9ad-2ee2-8e00-8ec9-32d5f69181c0\n",
            ":path: /x?***",
            "user-agent: 0x00ff\n",
            "kafka_dlt-original-offset: 258\n",
            "line 1\nline 2\\u{1b}[2J\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("key        ***"), "{text}");
        let revealed = shown_text(&letter, true, false);
        assert_eq!(revealed.matches("s3cret").count(), 4);
        assert!(revealed.contains("key        k\n"), "{revealed}");
    }

    #[test]
    fn credentials_in_an_envelope_are_masked_too() {
        let envelope = br#"{"method":"GET","path":"/a?k=s3cret","query":"k=s3cret","query_params":{"k":"s3cret"},"whatever":["s3cret"],"query_null":null,"headers":{"authorization":"s3cret","accept":"seen"},"header_list":[["Cookie","s3cret"],["x",{"base64":"s3cret"}]],"body":"seen too"}"#;
        let letter = record(&[("correlation_id", b"1")], envelope);
        let text = shown_text(&letter, false, false);
        assert!(!text.contains("s3cret") && text.contains("seen\""), "{text}");
        assert!(text.contains("/a?***") && text.contains("seen too"), "{text}");
        assert_eq!(shown_text(&letter, true, false).matches("s3cret").count(), 7);
        let broken = record(&[], br#"{"headers":{"authorization":"s3cret""#);
        assert!(!shown_text(&broken, false, true).contains("s3cret"));
    }

    #[test]
    fn bodies_are_bounded_unless_asked_for() {
        let long = record(&[("khp-version", b"1")], "ä".repeat(3000).as_bytes());
        assert!(shown_text(&long, false, false).contains("(1904 bytes more of 6000; --full shows them)"));
        assert!(shown_text(&long, false, true).contains(&"ä".repeat(3000)));
        let binary = record(&[("khp-version", b"1")], &[0xff; 5000]);
        assert!(shown_text(&binary, false, false).contains(&"ff".repeat(4096)));
        let null = RawRecord { value: None, ..binary };
        assert!(shown_text(&null, false, false).ends_with("(no value: null)\n"));
    }
}
