//! Which letters are meant: `FIELD=VALUE` (exactly) or `FIELD~GLOB` (`*`, `?`, `[…]`, `{a,b}`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use crate::dlq::letter::Letter;
use crate::wire::correlation::id_text;
use crate::wire::headers;

/// The help text of `--filter`.
pub const HELP: &str = "Only letters that pass; several must all hold.
FIELD=VALUE: exactly this; FIELD~GLOB: a pattern of *, ?, [...] and {a,b}. Case counts. FIELD is one of
  id           the correlation id, as the client got it
  topic        the topic the letter came from
  error        khp-error, as in backend-unreachable
  exception    what went wrong, in words
  attempts     how often the backend was tried
  redrive      how often the letter was redriven (0 = never)
  partition    of the dead letter topic
  method       of the request
  path         of the request, query included
  key          the record's key
  header:NAME  any value of this header, of the request or the record";

/// What a filter looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Id,
    Topic,
    Error,
    Exception,
    Attempts,
    Redrive,
    Partition,
    Method,
    Path,
    Key,
    Header(String),
}

impl Field {
    const NAMES: [(&str, Field); 10] = [
        ("id", Field::Id),
        ("topic", Field::Topic),
        ("error", Field::Error),
        ("exception", Field::Exception),
        ("attempts", Field::Attempts),
        ("redrive", Field::Redrive),
        ("partition", Field::Partition),
        ("method", Field::Method),
        ("path", Field::Path),
        ("key", Field::Key),
    ];

    fn named(name: &str) -> Option<Self> {
        match name.split_once(':') {
            Some(("header", header)) if !header.is_empty() => Some(Field::Header(header.to_owned())),
            _ => Self::NAMES
                .into_iter()
                .find_map(|(known, field)| (known == name).then_some(field)),
        }
    }

    /// The values that a letter has there; a filter passes where one of them does.
    fn values<'a>(&self, letter: &'a Letter) -> Vec<Cow<'a, str>> {
        let one = |value: Option<Cow<'a, str>>| value.into_iter().collect();
        match self {
            Field::Id => one(letter.request().map(|request| id_text(&request.correlation_id).into())),
            Field::Topic => one(letter.original_topic()),
            Field::Error => one(letter.text(headers::KHP_ERROR)),
            Field::Exception => one(letter.text(headers::DLT_EXCEPTION_MESSAGE)),
            Field::Attempts => one(letter.text(headers::KHP_ATTEMPTS)),
            Field::Redrive => vec![letter.rounds().to_string().into()],
            Field::Partition => vec![letter.record.partition.to_string().into()],
            Field::Key => one(letter.content().key.as_deref().map(String::from_utf8_lossy)),
            // A malformed native record can still have the header.
            Field::Method => one(letter
                .request()
                .map(|request| request.method.into())
                .or_else(|| letter.text(headers::METHOD))),
            Field::Path => one(letter
                .request()
                .map(|request| request.path.into())
                .or_else(|| letter.text(headers::PATH))),
            Field::Header(name) => {
                let request = letter.request().map(|request| request.headers).unwrap_or_default();
                let of_request = request
                    .into_iter()
                    .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| Cow::Owned(String::from_utf8_lossy(&value).into_owned()));
                let of_record = letter.all(name).map(|value| String::from_utf8_lossy(value));
                of_record.chain(of_request).collect()
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Wanted {
    Exactly(String),
    Like(GlobMatcher),
}

/// One condition.
#[derive(Debug, Clone)]
pub struct Filter {
    field: Field,
    wanted: Wanted,
}

impl Filter {
    pub fn passes(&self, letter: &Letter) -> bool {
        self.field.values(letter).iter().any(|value| match &self.wanted {
            Wanted::Exactly(wanted) => value == wanted,
            Wanted::Like(glob) => glob.is_match(&**value),
        })
    }
}

/// Do all of them hold?
pub fn pass(filters: &[Filter], letter: &Letter) -> bool {
    filters.iter().all(|filter| filter.passes(letter))
}

/// The field that it looks at. The value may be anything of a request, and is not told.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Field::Header(name) => write!(f, "header:{name}"),
            field => {
                let known = Field::NAMES.iter().find(|(_, known)| known == field);
                f.write_str(known.map_or("", |(name, _)| name))
            }
        }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (at, operator) = text
            .match_indices(['=', '~'])
            .next()
            .ok_or("FIELD=VALUE or FIELD~GLOB")?;
        let (name, value) = (&text[..at], &text[at + 1..]);
        let field = Field::named(name).ok_or_else(|| {
            let known: Vec<&str> = Field::NAMES.iter().map(|(known, _)| *known).collect();
            format!("no field {name:?}; there are {}, header:NAME", known.join(", "))
        })?;
        let wanted = match operator {
            "=" => Wanted::Exactly(value.to_owned()),
            _ => {
                let glob = GlobBuilder::new(value).build().map_err(|error| error.to_string())?;
                Wanted::Like(glob.compile_matcher())
            }
        };
        Ok(Filter { field, wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::tests::record;

    fn letter() -> Letter {
        Letter {
            record: record(
                &[
                    ("khp-version", b"1"),
                    ("kafka_correlationId", b"id-1"),
                    (":method", b"POST"),
                    (":path", b"/orders/7?x=1"),
                    ("x-tenant", b"a"),
                    ("x-tenant", b"b=c~d"),
                    ("kafka_dlt-original-topic", b"orders-requests"),
                    ("khp-error", b"backend-unreachable"),
                    ("khp-attempts", b"4"),
                    ("kafka_dlt-exception-message", b"connection refused"),
                ],
                b"body",
            ),
            redriven: false,
            opened: None,
        }
    }

    #[test]
    fn a_filter_is_logged_by_its_field_alone() {
        for (filter, logged) in [
            ("header:Authorization=Bearer secret", "header:Authorization"),
            ("path~/orders/secret*", "path"),
            ("key=secret", "key"),
        ] {
            assert_eq!(filter.parse::<Filter>().unwrap().to_string(), logged);
        }
    }

    #[test]
    fn each_field_passes_or_does_not() {
        for (filter, passes) in [
            ("id=id-1", true),
            ("id=id-2", false),
            ("topic=orders-requests", true),
            ("topic=orders", false),
            ("topic~orders-*", true),
            ("error=backend-unreachable", true),
            ("error~backend-{timeout,reset}", false),
            ("exception~*refused", true),
            ("attempts=4", true),
            ("redrive=0", true),
            ("redrive=1", false),
            ("partition=3", true),
            ("method=POST", true),
            ("method=post", false),
            ("path~/orders/*", true),
            ("path=/orders/7?x=1", true),
            ("path~/users*", false),
            ("key=k", true),
            ("header:x-tenant=a", true),
            ("header:X-Tenant=b=c~d", true),
            ("header:x-tenant~?=*", true),
            ("header:x-absent~*", false),
        ] {
            let parsed: Filter = filter.parse().unwrap();
            assert_eq!(parsed.passes(&letter()), passes, "{filter}");
        }
    }

    #[test]
    fn a_json_letter_is_asked_the_same_way() {
        let envelope = br#"{"correlation_id":"1","method":"PUT","path":"/a","headers":{"x-tenant":"z"}}"#;
        let letter = Letter {
            record: record(&[("correlation_id", b"1")], envelope),
            redriven: false,
            opened: None,
        };
        for filter in [
            "id=1",
            "method=PUT",
            "path=/a",
            "header:x-tenant=z",
            "header:correlation_id=1",
        ] {
            assert!(filter.parse::<Filter>().unwrap().passes(&letter), "{filter}");
        }
    }

    #[test]
    fn several_must_all_hold() {
        let filters = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Filter>>();
        assert!(pass(&filters(&["method=POST", "attempts=4"]), &letter()));
        assert!(!pass(&filters(&["method=POST", "attempts=5"]), &letter()));
        assert!(pass(&[], &letter()));
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for bad in ["", "topic", "colour=red", "header:=x", "path~[", "=x"] {
            assert!(bad.parse::<Filter>().is_err(), "{bad}");
        }
        let error = "colour=red".parse::<Filter>().unwrap_err();
        assert!(error.contains("\"colour\"") && error.contains("method"), "{error}");
    }
}
