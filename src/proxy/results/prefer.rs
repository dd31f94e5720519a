//! What a client would rather have: the `Prefer` header field (RFC 7240).

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::header::HeaderMap;

use crate::wire::{Fields, headers};

/// The preferences that are understood here. Others are passed over, as RFC 7240 2 asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preferences {
    /// The client need not have the answer now.
    pub respond_async: bool,
    /// How long it would wait.
    pub wait: Option<Duration>,
}

const RESPOND_ASYNC: &str = "respond-async";
const WAIT: &str = "wait";

impl Preferences {
    /// Those of a request.
    pub fn of(fields: &HeaderMap) -> Self {
        let fields = fields.get_all(headers::PREFER);
        Preferences::read(fields.filter_map(|value| value.to_str().ok()))
    }

    /// Several fields count as one. The first of several preferences with the same name counts, and no other.
    fn read<'a>(fields: impl Iterator<Item = &'a str>) -> Self {
        let (mut found, mut has_wait, mut has_async) = (Preferences::default(), false, false);
        for preference in fields.flat_map(|field| split(field, ',')) {
            // Parameters follow; none is known of these preferences.
            let Some(head) = split(preference, ';').next() else {
                continue;
            };
            let (name, value) = head.split_once('=').unwrap_or((head, ""));
            let (name, value) = (name.trim(), unquoted(value.trim()));
            if name.eq_ignore_ascii_case(RESPOND_ASYNC) && !has_async {
                has_async = true;
                // An empty value is none; with any other it is not the preference that is known.
                found.respond_async = value.is_empty();
            } else if name.eq_ignore_ascii_case(WAIT) && !has_wait {
                has_wait = true;
                found.wait = seconds(&value);
            }
        }
        found
    }

    /// Leaves out of a request what is applied here: a backend that applied it too would answer that it will answer.
    pub fn leave_out(&self, fields: &mut Fields) {
        fields.retain_mut(|(name, value)| {
            if name != headers::PREFER {
                return true;
            }
            let text = String::from_utf8_lossy(value).into_owned();
            let is_other = |preference: &&str| {
                let head = split(preference, ';').next().unwrap_or_default();
                let name = head.split_once('=').map_or(head, |(name, _)| name).trim();
                !name.eq_ignore_ascii_case(RESPOND_ASYNC) && !name.eq_ignore_ascii_case(WAIT)
            };
            let others: Vec<&str> = split(&text, ',').filter(is_other).map(str::trim).collect();
            *value = others.join(", ").into();
            !value.is_empty()
        });
    }

    /// What `Preference-Applied` says; `None`: no preference was applied.
    pub fn applied(respond_async: bool, wait: Option<Duration>) -> Option<String> {
        let wait = wait.map(|wait| format!("{WAIT}={}", wait.as_secs()));
        let applied: Vec<String> = respond_async
            .then(|| RESPOND_ASYNC.to_owned())
            .into_iter()
            .chain(wait)
            .collect();
        (!applied.is_empty()).then(|| applied.join(", "))
    }
}

/// `delta-seconds` (RFC 9111 1.2.2): digits only. A number that is too large is a very long time.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse::<u32>().unwrap_or(u32::MAX).into()))
}

/// The parts between separators that stand in no quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !quoted && character == separator
    })
}

/// A quoted string without its quotes and escapes; anything else as it is.
fn unquoted(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    let mut characters = inner.chars();
    let mut plain = String::with_capacity(inner.len());
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' {
            characters.next()
        } else {
            Some(character)
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(fields: &[&str]) -> (bool, Option<u64>) {
        let found = Preferences::read(fields.iter().copied());
        (found.respond_async, found.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn the_forms_of_rfc_7240() {
        for (fields, expected) in [
            (&[][..], (false, None)),
            (&["respond-async"], (true, None)),
            (&["Respond-Async"], (true, None)),
            (&["respond-async, wait=10"], (true, Some(10))),
            (&["wait=10,respond-async"], (true, Some(10))),
            (&["respond-async", "wait=10"], (true, Some(10))),
            (&["wait=10"], (false, Some(10))),
            (&["WAIT = \"10\""], (false, Some(10))),
            // RFC 7240 2: empty or zero-length values are as no value.
            (&["respond-async=\"\"; x=\"\""], (true, None)),
            (&["respond-async=; foo; bar=1"], (true, None)),
            // The first of its name counts.
            (&["wait=5, wait=9"], (false, Some(5))),
            (&["wait=x, wait=9"], (false, None)),
            (&["respond-async=no, respond-async"], (false, None)),
            // Others are passed over, and nothing in quotes is a preference.
            (&["foo; respond-async", "return=minimal"], (false, None)),
            (&["foo=\"a, respond-async\", wait=3"], (false, Some(3))),
            (&["foo=\"\\\", respond-async\", wait=3"], (false, Some(3))),
            (&["handling=lenient, wait=100, respond-async"], (true, Some(100))),
            // What is no number of seconds is no time.
            (&["wait"], (false, None)),
            (&["wait=-1"], (false, None)),
            (&["wait=1.5"], (false, None)),
            (&["wait=99999999999"], (false, Some(u64::from(u32::MAX)))),
            (&[",, ,respond-async,"], (true, None)),
            (&["respond-asynchronously"], (false, None)),
        ] {
            assert_eq!(read(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_is_applied_here_does_not_go_on() {
        let left = |prefer: &[&'static str]| {
            let fields = prefer.iter().map(|value| (headers::PREFER.into(), (*value).into()));
            let mut fields: Fields = fields.chain([("accept".into(), "respond-async".into())]).collect();
            Preferences::default().leave_out(&mut fields);
            let left = fields
                .iter()
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned());
            left.collect::<Vec<_>>()
        };
        assert_eq!(left(&["respond-async, wait=5"]), ["respond-async"]);
        let others = ["return=minimal, Respond-Async; x, handling=\"a, wait=1\""];
        assert_eq!(
            left(&others),
            ["return=minimal, handling=\"a, wait=1\"", "respond-async"]
        );
    }

    #[test]
    fn what_was_applied_reads_as_it_was_asked() {
        let ten = Some(Duration::from_secs(10));
        assert_eq!(
            Preferences::applied(true, ten).as_deref(),
            Some("respond-async, wait=10")
        );
        assert_eq!(Preferences::applied(false, ten).as_deref(), Some("wait=10"));
        assert_eq!(Preferences::applied(false, None), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_what_is_asked_is_found(noise in "[a-z=\"\\\\;, ]{0,30}", wait: u32) {
            let _ = read(&[&noise]);
            let asked = format!("respond-async;{}, wait={wait}", noise.replace(['"', '\\', ','], ""));
            prop_assert_eq!(read(&[&asked]), (true, Some(u64::from(wait))));
        }
    }
}
