//! What one instance saw of one request.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::exchange::phase::Phases;
use crate::exchange::role::Role;
use crate::exchange::trace::Trace;
use crate::process::masked::MASK;
use crate::wire::correlation::{MAX_ID_TEXT, id_text};
use crate::wire::{CorrelationId, RawRecord, ReplyError};

/// Texts that a client chooses are cut to so many bytes: a thousand of these records are kept for people to look at.
const MAX_TEXT: usize = 512;
/// Longer methods than this are cut; those of RFC 9110 have at most 7 bytes.
const MAX_METHOD: usize = 32;
/// An id of others is cut to so many bytes: one more than are shown as they are, so that a longer one is still seen to be longer.
const MAX_ID: usize = MAX_ID_TEXT + 1;

/// What one instance saw of one request, from its beginning to its end there. Bodies, header fields and credentials are not in it.
#[derive(Debug)]
pub struct Exchange {
    /// As what this instance saw it.
    pub role: Role,
    pub correlation_id: Id,
    /// The `X-Request-ID` that travels with it; `None`: the correlation id.
    pub request_id: Option<String>,
    /// The trace that it belongs to; `None`: it came with none, and none was begun.
    pub trace: Option<Trace>,
    /// When it began, by this machine's clock.
    pub at: SystemTime,
    /// The same by the clock that its phases are measured with.
    pub began: Instant,
    /// How long it took here, in all.
    pub took: Duration,
    /// Who sent it, as far as it is known.
    pub client: Option<IpAddr>,
    /// The name that the client has proven.
    pub principal: Option<String>,
    /// Empty where it could not be read.
    pub method: Cow<'static, str>,
    /// The path. Its query is masked, unless `log.query` shows it.
    pub path: String,
    /// Where its record went, or was read from; `None`: it got no topic. A proxy knows the topic alone.
    pub request: Option<RecordPosition>,
    /// The key of its record. Kept for traces alone.
    pub key: Option<Box<[u8]>>,
    /// Where its reply was read from, or written to.
    pub reply: Option<RecordPosition>,
    /// The calls of the backend. A proxy makes none.
    pub attempts: Vec<Attempt>,
    pub ending: Ending,
    /// What its idempotency key made of it; `None`: it has none, or that is not known here.
    pub by_key: Option<ByKey>,
    /// Bytes of its body.
    pub request_bytes: u64,
    /// Bytes of its answer's body, as far as they went.
    pub response_bytes: u64,
    pub phases: Phases,
}

/// A correlation id. Text is made of it where it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    Ours(CorrelationId),
    /// Of whoever else writes requests.
    Others(Box<[u8]>),
    /// It could not be read.
    Unknown,
}

impl Id {
    /// The one that a record has; empty: none.
    pub fn of(id: &[u8]) -> Self {
        match CorrelationId::from_bytes(id) {
            Some(id) => Id::Ours(id),
            None if id.is_empty() => Id::Unknown,
            None => Id::Others(copied(id, MAX_ID)),
        }
    }
}

/// As HTTP shows it; empty where it is not known.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Ours(id) => id.fmt(f),
            Id::Others(id) => f.write_str(&id_text(id)),
            Id::Unknown => Ok(()),
        }
    }
}

/// Where a record lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPosition {
    pub topic: Arc<str>,
    /// `None`: not known here.
    pub partition: Option<i32>,
    /// As `partition`.
    pub offset: Option<i64>,
}

impl RecordPosition {
    /// One that is known by its topic alone.
    pub fn of(topic: &Arc<str>) -> Self {
        RecordPosition {
            topic: topic.clone(),
            partition: None,
            offset: None,
        }
    }

    /// Where a record was read.
    pub fn of_record(record: &RawRecord) -> Self {
        RecordPosition {
            topic: record.topic.clone(),
            partition: Some(record.partition),
            offset: Some(record.offset),
        }
    }
}

/// One call of the backend.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub began: Instant,
    /// `None`: it was cut off, since nobody waited for it any more or its partition went elsewhere.
    pub took: Option<Duration>,
    /// What the backend answered.
    pub status: Option<u16>,
    /// Why there is no answer: a code of [`ReplyError`].
    pub error: Option<&'static str>,
    /// Its span, which the backend was told of; 0: none.
    pub span: u64,
}

impl Attempt {
    /// One that begins now, as this span; 0: none.
    pub fn begin(span: u64) -> Self {
        Attempt {
            began: Instant::now(),
            took: None,
            status: None,
            error: None,
            span,
        }
    }

    /// It ends now, with the status of an answer or the reason why there is none.
    pub fn ended(&mut self, outcome: Result<u16, ReplyError>) {
        self.took = Some(self.began.elapsed());
        match outcome {
            Ok(status) => self.status = Some(status),
            Err(error) => self.error = Some(error.as_str()),
        }
    }
}

/// What an idempotency key made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByKey {
    /// It was executed, and is remembered.
    Remembered,
    /// It was executed, or was to be, and the next one with its key is again.
    NotRemembered,
    /// It got what the first one got.
    Replayed,
    /// It was not executed because of its key.
    Refused,
}

impl ByKey {
    /// As the access log and the console call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ByKey::Remembered => "remembered",
            ByKey::NotRemembered => "not-remembered",
            ByKey::Replayed => "replayed",
            ByKey::Refused => "refused",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Of the answer; `None`: there is none.
    pub status: Option<u16>,
    /// The code of an error, or a word for why there is no answer or not all of it. `None`: the answer is whole, and the backend's.
    pub code: Option<&'static str>,
}

impl Ending {
    /// The client left before its answer, or before the end of it.
    pub const CLIENT_LEFT: &str = "client-left";
    /// The record had no end here: its worker was replaced, or its process ended.
    pub const INTERRUPTED: &str = "interrupted";

    /// The backend's answer.
    pub const fn answered(status: u16) -> Self {
        Ending {
            status: Some(status),
            code: None,
        }
    }

    /// An error of ours.
    pub const fn error(status: u16, code: &'static str) -> Self {
        Ending {
            status: Some(status),
            code: Some(code),
        }
    }

    /// There is no answer, for this reason.
    pub const fn unanswered(why: &'static str) -> Self {
        Ending {
            status: None,
            code: Some(why),
        }
    }

    /// Not what the client came for: no whole answer of the backend, or one from 500 on.
    pub fn is_failure(&self) -> bool {
        self.code.is_some() || self.status.is_none_or(|status| status >= 500)
    }
}

impl Exchange {
    /// One that begins now, of which nothing is known but its role.
    pub fn begin(role: Role) -> Self {
        let why = match role {
            Role::Proxy => Ending::CLIENT_LEFT,
            Role::Processor => Ending::INTERRUPTED,
        };
        Exchange {
            role,
            correlation_id: Id::Unknown,
            request_id: None,
            trace: None,
            at: SystemTime::now(),
            began: Instant::now(),
            took: Duration::ZERO,
            client: None,
            principal: None,
            method: Cow::Borrowed(""),
            path: String::new(),
            request: None,
            key: None,
            reply: None,
            attempts: Vec::new(),
            ending: Ending::unanswered(why),
            by_key: None,
            request_bytes: 0,
            response_bytes: 0,
            phases: Phases::default(),
        }
    }

    /// Notes method and target. `shows_query`: otherwise the query is masked, since credentials travel there.
    pub fn asks(&mut self, method: &str, target: &str, shows_query: bool) {
        self.method = known_method(method);
        self.path = match target.split_once('?') {
            Some((path, query)) if !shows_query && !query.is_empty() => [cut(path, MAX_TEXT), "?", MASK].concat(),
            _ => cut(target, MAX_TEXT).to_owned(),
        };
    }

    /// Notes who has proven to be who.
    pub fn asked_by(&mut self, principal: Option<&str>) {
        self.principal = principal.map(|principal| cut(principal, MAX_TEXT).to_owned());
    }

    /// Notes the `X-Request-ID`.
    pub fn called(&mut self, request_id: &[u8]) {
        let text = String::from_utf8_lossy(request_id);
        self.request_id = Some(cut(&text, MAX_TEXT).to_owned());
    }

    /// Notes the key of its record.
    pub fn keyed(&mut self, key: Option<&[u8]>) {
        self.key = key.map(|key| copied(key, MAX_TEXT));
    }
}

/// The method, without an allocation for those of RFC 9110.
fn known_method(method: &str) -> Cow<'static, str> {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"];
    match KNOWN.into_iter().find(|known| *known == method) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(cut(method, MAX_METHOD).to_owned()),
    }
}

/// A copy of the beginning of what a record holds: a piece that shares its memory would keep all of it.
fn copied(bytes: &[u8], most: usize) -> Box<[u8]> {
    bytes[..bytes.len().min(most)].into()
}

/// The beginning of a text, of at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    match text.len() <= most {
        true => text,
        false => &text[..(0..=most).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str, shows_query: bool) -> String {
        let mut exchange = Exchange::begin(Role::Proxy);
        exchange.asks("GET", target, shows_query);
        exchange.path
    }

    #[test]
    fn queries_are_masked_and_texts_have_a_limit() {
        assert_eq!(path("/a?token=secret", false), "/a?***");
        assert_eq!(path("/a?token=secret", true), "/a?token=secret");
        assert_eq!((path("/a?", false), path("*", false)), ("/a?".into(), "*".into()));
        let long = format!("/{}", "ä".repeat(40_000));
        for target in [long.clone(), format!("{long}?{long}")] {
            for shows_query in [true, false] {
                assert!(path(&target, shows_query).len() <= MAX_TEXT + 1 + MASK.len());
            }
        }
        let mut exchange = Exchange::begin(Role::Proxy);
        exchange.asks(&"X".repeat(60_000), "/", false);
        exchange.asked_by(Some(&"p".repeat(60_000)));
        assert!(exchange.method.len() == MAX_METHOD && exchange.principal.unwrap().len() == MAX_TEXT);
    }

    #[test]
    fn nothing_of_a_record_is_kept_and_an_id_reads_the_same_when_it_is_cut() {
        let mut exchange = Exchange::begin(Role::Processor);
        exchange.keyed(Some(&[b'k'; 60_000]));
        assert_eq!(exchange.key.map(|key| key.len()), Some(MAX_TEXT));
        let (whole, long) = ("i".repeat(MAX_ID_TEXT), "i".repeat(60_000));
        for id in [
            whole.as_bytes(),
            long.as_bytes(),
            "ä".repeat(1000).as_bytes(),
            &[0xff; 40],
        ] {
            let kept = Id::of(id);
            assert_eq!(kept.to_string(), id_text(id));
            assert!(matches!(&kept, Id::Others(kept) if kept.len() <= MAX_ID), "{kept:?}");
        }
    }

    #[test]
    fn whatever_is_no_whole_answer_is_a_failure() {
        assert!(!Ending::answered(200).is_failure() && !Ending::answered(404).is_failure());
        assert!(Ending::answered(500).is_failure() && Ending::unanswered("expired").is_failure());
        assert!(Ending::error(429, "rate-limited").is_failure());
    }
}
